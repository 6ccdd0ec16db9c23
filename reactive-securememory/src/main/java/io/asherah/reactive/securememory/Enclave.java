package io.asherah.reactive.securememory;

import reactor.core.publisher.Mono;

/**
 * Bytes that are sealed on the ordinary heap, for what is needed seldom and should not take locked
 * memory meanwhile.
 *
 * <p><b>Security guarantees.</b> AES-256-GCM under a key of the factory that made it. That key is
 * never stored: its two halves lie in locked memory in regions of their own, neither says anything
 * without the other, and both are replaced every second. Tampering is detected.
 *
 * <p><b>Restrictions.</b> An enclave opens only while its factory is open, in the same process.
 * While it is sealed or opened, key and plaintext are on the heap for the time of one AES
 * operation, and are wiped.
 *
 * <p>Instances are immutable and safe for use by many threads.
 */
public interface Enclave {

  /**
   * The number of bytes that are sealed.
   *
   * @return the length in bytes, at least 1
   */
  int length();

  /**
   * Opens the enclave into a new secret; it can be opened any number of times.
   *
   * <p>Each subscription makes a secret, as {@link SecretFactory#create} does, with the same errors
   * and threads. The work, AES included, runs on the factory's scheduler. Signals {@link
   * SecretClosedException} where the factory was closed. Cancelling leaves no secret behind.
   *
   * @return the secret, which belongs to the subscriber
   */
  Mono<Secret> open();
}
