package io.asherah.reactive.internal.crypto;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.InvalidRecordException;
import java.security.GeneralSecurityException;
import java.security.Provider;
import java.security.ProviderException;
import java.util.Arrays;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * AES-256-GCM as every Asherah implementation uses it: no associated data, and {@code ciphertext ‖
 * tag (16) ‖ nonce (12)}.
 *
 * <p>A {@code Cipher} is kept for each thread, since getting one costs more than sealing a small
 * payload. It remembers the last key it was given. So that this is never an intermediate or a
 * system key, payloads are sealed and opened after the key of the row was wrapped or unwrapped, and
 * wherever the order does not see to it, {@link #forgetKey} does.
 *
 * <p>Runs wholly on the calling thread. Safe for use by many threads.
 */
public final class Aes256Gcm {
  /** The length of every key, in bytes. */
  public static final int KEY_LENGTH = 32;

  private static final int NONCE_LENGTH = 12;
  private static final int TAG_LENGTH = 16;
  private static final int OVERHEAD = TAG_LENGTH + NONCE_LENGTH;

  private final @Nullable Provider provider;
  private final RandomSource random;
  private final Scheduler blocking;
  private final ThreadLocal<Cipher> ciphers = ThreadLocal.withInitial(this::newCipher);
  private volatile boolean loaded;

  /**
   * Uses the given JCA provider, or the platform's first choice where it is null.
   *
   * @param blocking where entropy is read and the provider loaded
   */
  public Aes256Gcm(@Nullable Provider provider, Scheduler blocking) {
    this.provider = provider;
    this.blocking = blocking;
    this.random = new RandomSource(blocking);
  }

  /**
   * Completes when the other methods can be called from a thread that must not block. Every way to
   * a first key passes here, so an operation that has a key need not ask.
   */
  public Mono<Void> ready() {
    return Mono.defer(
        () ->
            loaded
                ? Mono.empty()
                : random.ready().then(Mono.<Void>fromRunnable(this::load).subscribeOn(blocking)));
  }

  private void load() {
    forgetKey(newCipher());
    loaded = true;
  }

  /** A payload and the fresh key it was sealed under, itself sealed under another key. */
  public record SealedPayload(byte[] encryptedKey, byte[] data) {

    @Override
    public String toString() {
      return "SealedPayload[****]";
    }
  }

  /** Seals a payload under a fresh key, and that key under the given one. */
  public SealedPayload sealPayload(byte[] key, byte[] payload, int offset, int length) {
    Cipher cipher = ciphers.get();
    byte[] rowKey = new byte[KEY_LENGTH];
    byte[] nonces = new byte[2 * NONCE_LENGTH];
    boolean done = false;
    try {
      random.nextBytes(rowKey);
      random.nextBytes(nonces);
      byte[] encryptedKey = seal(cipher, key, rowKey, 0, KEY_LENGTH, nonces, 0);
      byte[] data = seal(cipher, rowKey, payload, offset, length, nonces, NONCE_LENGTH);
      done = true;
      return new SealedPayload(encryptedKey, data);
    } finally {
      Arrays.fill(rowKey, (byte) 0);
      if (!done) {
        forgetKey(cipher);
      }
    }
  }

  /**
   * Opens what {@link #sealPayload} made.
   *
   * @throws InvalidRecordException if it was not sealed under this key, or tampered with
   */
  public byte[] openPayload(byte[] key, byte[] encryptedKey, byte[] data) {
    Cipher cipher = ciphers.get();
    byte[] rowKey = new byte[0];
    boolean done = false;
    try {
      rowKey = open(cipher, key, encryptedKey, "data row key");
      requireKeyLength(rowKey);
      byte[] payload = open(cipher, rowKey, data, "payload");
      done = true;
      return payload;
    } finally {
      Arrays.fill(rowKey, (byte) 0);
      if (!done) {
        forgetKey(cipher);
      }
    }
  }

  /** Makes a key and seals it under another one; the plaintext is gone when this returns. */
  public byte[] sealNewKey(byte[] parentKey) {
    byte[] key = new byte[KEY_LENGTH];
    try {
      random.nextBytes(key);
      return sealKey(parentKey, key);
    } finally {
      Arrays.fill(key, (byte) 0);
    }
  }

  /** Seals a key under another one. */
  public byte[] sealKey(byte[] parentKey, byte[] key) {
    Cipher cipher = ciphers.get();
    byte[] nonce = new byte[NONCE_LENGTH];
    try {
      random.nextBytes(nonce);
      return seal(cipher, parentKey, key, 0, key.length, nonce, 0);
    } finally {
      forgetKey(cipher);
    }
  }

  /**
   * Opens a key that was sealed under another one. The caller wipes it.
   *
   * @param what what the key is, for the message of an error
   * @throws InvalidRecordException if it was not sealed under this key, tampered with, or is not 32
   *     bytes long
   */
  public byte[] openKey(byte[] parentKey, byte[] encryptedKey, String what) {
    Cipher cipher = ciphers.get();
    try {
      byte[] key = open(cipher, parentKey, encryptedKey, what);
      requireKeyLength(key);
      return key;
    } finally {
      forgetKey(cipher);
    }
  }

  /** Makes 32 random bytes that are to become a key. The caller wipes them. */
  public byte[] newKey() {
    byte[] key = new byte[KEY_LENGTH];
    random.nextBytes(key);
    return key;
  }

  static byte[] seal(
      Cipher cipher,
      byte[] key,
      byte[] plaintext,
      int offset,
      int length,
      byte[] nonces,
      int nonceOffset) {
    byte[] sealed = new byte[Math.addExact(length, OVERHEAD)];
    EphemeralKey ephemeral = new EphemeralKey(key);
    try {
      cipher.init(
          Cipher.ENCRYPT_MODE,
          ephemeral,
          new GCMParameterSpec(8 * TAG_LENGTH, nonces, nonceOffset, NONCE_LENGTH));
      int written = cipher.doFinal(plaintext, offset, length, sealed, 0);
      if (written != length + TAG_LENGTH) {
        throw failed(cipher, null);
      }
    } catch (GeneralSecurityException | ProviderException | IllegalStateException e) {
      throw failed(cipher, e);
    } finally {
      ephemeral.destroy();
    }
    System.arraycopy(nonces, nonceOffset, sealed, length + TAG_LENGTH, NONCE_LENGTH);
    return sealed;
  }

  static byte[] open(Cipher cipher, byte[] key, byte[] sealed, String what) {
    int nonceOffset = sealed.length - NONCE_LENGTH;
    if (sealed.length < OVERHEAD) {
      throw new InvalidRecordException(
          "the sealed %s is %d bytes long; at least %d are needed for tag and nonce"
              .formatted(what, sealed.length, OVERHEAD));
    }
    EphemeralKey ephemeral = new EphemeralKey(key);
    try {
      cipher.init(
          Cipher.DECRYPT_MODE,
          ephemeral,
          new GCMParameterSpec(8 * TAG_LENGTH, sealed, nonceOffset, NONCE_LENGTH));
      return cipher.doFinal(sealed, 0, nonceOffset);
    } catch (AEADBadTagException e) {
      throw new InvalidRecordException(
          "the %s was sealed under another key or tampered with".formatted(what));
    } catch (GeneralSecurityException | ProviderException | IllegalStateException e) {
      throw failed(cipher, e);
    } finally {
      ephemeral.destroy();
    }
  }

  private static void requireKeyLength(byte[] key) {
    if (key.length != KEY_LENGTH) {
      Arrays.fill(key, (byte) 0);
      throw new InvalidRecordException(
          "there are %d bytes sealed where a key of %d is expected"
              .formatted(key.length, KEY_LENGTH));
    }
  }

  /** Gives the cipher a key that is worth nothing in place of the one it remembers. */
  private void forgetKey(Cipher cipher) {
    try {
      // Decryption, for which no provider minds a key and nonce that it has seen before.
      cipher.init(
          Cipher.DECRYPT_MODE,
          new EphemeralKey(new byte[KEY_LENGTH]),
          new GCMParameterSpec(8 * TAG_LENGTH, new byte[NONCE_LENGTH]));
    } catch (GeneralSecurityException | RuntimeException e) {
      ciphers.remove();
    }
  }

  private Cipher newCipher() {
    try {
      return provider == null
          ? Cipher.getInstance("AES/GCM/NoPadding")
          : Cipher.getInstance("AES/GCM/NoPadding", provider);
    } catch (GeneralSecurityException e) {
      throw new AppEncryptionException(
          "the JCA provider %s has no AES/GCM/NoPadding"
              .formatted(provider == null ? "of this platform" : provider.getName()),
          e,
          false);
    }
  }

  private static AppEncryptionException failed(Cipher cipher, @Nullable Exception cause) {
    return new AppEncryptionException(
        "AES-GCM of the JCA provider %s failed".formatted(cipher.getProvider().getName()),
        cause,
        false);
  }
}
