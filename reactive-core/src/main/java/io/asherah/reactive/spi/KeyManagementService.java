package io.asherah.reactive.spi;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.securememory.Secret;
import reactor.core.publisher.Mono;

/**
 * Wraps and unwraps system keys with a master key that it does not give away.
 *
 * <p>An implementation makes one attempt per subscription and classifies its failures as {@link
 * KmsException}; anything else it signals reaches the application wrapped in one of kind {@link
 * KmsException.Kind#OTHER}. It must not block the subscribing thread, must tolerate being cancelled
 * at any moment, and must be safe for use by many threads. An empty Mono is an error.
 */
public interface KeyManagementService {

  /**
   * Wraps a system key.
   *
   * @param systemKey the key, 32 bytes in locked memory; it belongs to the caller, who keeps it
   *     open until the Mono has ended. Its bytes are read with {@link Secret#withBytes} in one
   *     synchronous step
   * @return the wrapped key, in a form that {@link #decryptKey} understands
   */
  Mono<byte[]> encryptKey(Secret systemKey);

  /**
   * Unwraps a system key.
   *
   * @param encryptedKey what {@link #encryptKey} returned, here or in another implementation of
   *     Asherah; it must not be modified
   * @return the key, which belongs to the subscriber
   */
  Mono<CryptoKey> decryptKey(byte[] encryptedKey);

  /**
   * What metrics call this service.
   *
   * @return a short word in lower case, for instance {@code aws}; {@code custom} unless overridden
   */
  default String name() {
    return "custom";
  }
}
