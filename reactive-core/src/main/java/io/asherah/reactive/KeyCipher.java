package io.asherah.reactive;

import io.asherah.reactive.internal.crypto.Aes256Gcm;
import io.asherah.reactive.spi.CryptoKey;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Seals a system key under another key, as every Asherah does: AES-256-GCM without associated data,
 * 60 bytes, {@code ciphertext (32) ‖ tag (16) ‖ nonce (12)}, with a random nonce. It is for those
 * who implement {@link io.asherah.reactive.spi.KeyManagementService} with a key that they have in
 * memory for the moment, such as a data key of a cloud.
 *
 * <p>{@link #seal} and {@link #open} work on the calling thread and do not block, once {@link
 * #ready} has completed. Keys are neither kept nor wiped: an array stays its owner's, who must not
 * wipe it before the call has returned. Safe for use by many threads.
 */
public final class KeyCipher {
  private final Aes256Gcm aead = new Aes256Gcm(null, Schedulers.boundedElastic());

  private KeyCipher() {}

  /**
   * Makes a cipher with the first JCA provider of the platform that has {@code AES/GCM/NoPadding}.
   *
   * @return a cipher, which is worth keeping for as long as its user lives
   */
  public static KeyCipher create() {
    return new KeyCipher();
  }

  /**
   * Loads the provider and reads entropy on {@link Schedulers#boundedElastic()}, which is done
   * once.
   *
   * @return completes, on that scheduler or on the subscriber's thread, when the other methods can
   *     be called where nothing may block; signals {@link AppEncryptionException} where the
   *     platform has no AES-GCM
   */
  public Mono<Void> ready() {
    return aead.ready();
  }

  /**
   * Seals a key.
   *
   * @param wrappingKey the key to seal it under, 32 bytes
   * @param key what to seal, 32 bytes
   * @return 60 bytes, which belong to the caller
   * @throws IllegalArgumentException if a key is not 32 bytes long
   */
  public byte[] seal(byte[] wrappingKey, byte[] key) {
    requireLength("wrappingKey", wrappingKey);
    requireLength("key", key);
    return aead.sealKey(wrappingKey, key);
  }

  /**
   * Opens what {@link #seal} made, here or in another implementation of Asherah.
   *
   * @param wrappingKey the key it was sealed under, 32 bytes
   * @param sealed what was sealed, which stays as it is
   * @return the key, which belongs to the caller
   * @throws InvalidRecordException if it was sealed under another key, was tampered with, or is no
   *     key of 32 bytes
   * @throws IllegalArgumentException if the wrapping key is not 32 bytes long
   */
  public CryptoKey open(byte[] wrappingKey, byte[] sealed) {
    requireLength("wrappingKey", wrappingKey);
    return CryptoKey.takeOwnershipOf(aead.openKey(wrappingKey, sealed, "system key"));
  }

  private static void requireLength(String name, byte[] key) {
    if (key.length != CryptoKey.LENGTH) {
      throw new IllegalArgumentException(
          "%s must be %d bytes long, was %d".formatted(name, CryptoKey.LENGTH, key.length));
    }
  }
}
