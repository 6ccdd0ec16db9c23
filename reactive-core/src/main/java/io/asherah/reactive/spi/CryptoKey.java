package io.asherah.reactive.spi;

import io.asherah.reactive.KmsException;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/**
 * The 32 plaintext bytes of a system key on their way from a key management service into locked
 * memory. It has one owner at a time, who either takes the bytes or closes it.
 *
 * <p>Safe for use by many threads: of several that take or close, one gets the bytes.
 */
public final class CryptoKey implements AutoCloseable {
  /** The length of every key in the hierarchy, in bytes: AES-256. */
  public static final int LENGTH = 32;

  private final AtomicReference<byte @Nullable []> bytes;

  private CryptoKey(byte[] bytes) {
    this.bytes = new AtomicReference<>(bytes);
  }

  /**
   * Wraps an array that the caller gives away and must not touch again.
   *
   * @param bytes the key; wiped by whoever ends up with it, and at once where its length is wrong
   * @return the owner of the array
   * @throws KmsException of kind {@link KmsException.Kind#INVALID_KEY} if the key is not 32 bytes
   *     long
   */
  public static CryptoKey takeOwnershipOf(byte[] bytes) {
    if (bytes.length != LENGTH) {
      Arrays.fill(bytes, (byte) 0);
      throw new KmsException(
          KmsException.Kind.INVALID_KEY,
          "a system key must be %d bytes long, was %d".formatted(LENGTH, bytes.length),
          null);
    }
    return new CryptoKey(bytes);
  }

  /**
   * Hands the bytes over to the caller, who wipes them.
   *
   * @return the array given to {@link #takeOwnershipOf}
   * @throws IllegalStateException if they were taken or closed before
   */
  public byte[] take() {
    byte[] taken = bytes.getAndSet(null);
    if (taken == null) {
      throw new IllegalStateException("the key was taken or closed before");
    }
    return taken;
  }

  /** Wipes the bytes unless they were taken. Calls after the first do nothing. */
  @Override
  public void close() {
    byte[] left = bytes.getAndSet(null);
    if (left != null) {
      Arrays.fill(left, (byte) 0);
    }
  }

  @Override
  public String toString() {
    return "CryptoKey[****]";
  }
}
