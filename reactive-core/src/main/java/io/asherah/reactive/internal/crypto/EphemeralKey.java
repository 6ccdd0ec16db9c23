package io.asherah.reactive.internal.crypto;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.crypto.SecretKey;

/**
 * An AES key over an array of the caller's, without the copy that {@code SecretKeySpec} keeps and
 * cannot destroy. Copies that a provider asked for are wiped with {@link #destroy}, and not before
 * the operation has ended: a provider may come back for the key at {@code doFinal} (Conscrypt
 * does), and a key wiped too early would encrypt under zeros.
 */
final class EphemeralKey implements SecretKey {
  private static final long serialVersionUID = 1L;

  private final transient byte[] bytes;
  private final transient List<byte[]> copies = new ArrayList<>(2);

  EphemeralKey(byte[] bytes) {
    this.bytes = bytes;
  }

  @Override
  public String getAlgorithm() {
    return "AES";
  }

  @Override
  public String getFormat() {
    return "RAW";
  }

  @Override
  public byte[] getEncoded() {
    byte[] copy = bytes.clone();
    copies.add(copy);
    return copy;
  }

  /** Wipes the copies that were handed out; the caller's array stays the caller's. */
  @Override
  public void destroy() {
    copies.forEach(copy -> Arrays.fill(copy, (byte) 0));
    copies.clear();
  }
}
