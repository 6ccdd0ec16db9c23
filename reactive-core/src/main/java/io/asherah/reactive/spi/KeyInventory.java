package io.asherah.reactive.spi;

import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * What a {@link Metastore} implements besides where keys can be listed, revoked and deleted through
 * it. It is for administration and for {@link io.asherah.reactive.SessionFactory#shred}; no
 * operation on data needs it, and the credentials of a service need not allow it.
 *
 * <p>List before you revoke or delete: the same selector tells what would be changed. What is
 * sealed under a deleted key is lost for ever. Processes that have the key cached notice a
 * revocation within their revoke check period, and go on to read with a deleted key until they wipe
 * it from memory.
 *
 * <p>The same rules hold as for a {@link Metastore}: one attempt per subscription, failures as
 * {@link io.asherah.reactive.MetastoreException}, no blocking, cancellation at any moment, safe for
 * use by many threads.
 */
public interface KeyInventory {

  /**
   * Lists keys, the versions of each in the order of their creation.
   *
   * @param selector which keys
   * @return what is known of each of them, or empty where there is none
   */
  Flux<KeyInfo> list(KeySelector selector);

  /**
   * Marks keys as revoked.
   *
   * @param selector which keys
   * @return how many were changed; those that were revoked before do not count
   */
  Mono<Long> revoke(KeySelector selector);

  /**
   * Deletes keys.
   *
   * @param selector which keys
   * @return how many were deleted
   */
  Mono<Long> delete(KeySelector selector);
}
