package io.asherah.reactive.spi;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.MetastoreException;
import java.time.Instant;
import reactor.core.publisher.Mono;

/**
 * Keeps wrapped keys by id and creation time. Ids are compared exactly, every character and every
 * space, and may be as long as a partition, a service and a product make them; a store that cannot
 * keep one whole signals an error.
 *
 * <p>An implementation makes one attempt per subscription and signals a failure as {@link
 * MetastoreException}; anything else it signals reaches the application wrapped in one that is not
 * retryable. A failure is never an empty result: absence is what lets a new key be made. It must
 * not block the subscribing thread, must tolerate being cancelled at any moment, and must be safe
 * for use by many threads. It must not join a transaction of the caller: a key is cached as soon as
 * it was stored.
 */
public interface Metastore {

  /**
   * Reads one version of a key.
   *
   * @param id the id of the key
   * @param created when the version was made, whole seconds
   * @return the record, or empty where it does not exist
   */
  Mono<EnvelopeKeyRecord> load(String id, Instant created);

  /**
   * Reads the newest version of a key.
   *
   * @param id the id of the key
   * @return the record with the greatest creation time, or empty where there is none
   */
  Mono<EnvelopeKeyRecord> loadLatest(String id);

  /**
   * Adds a version of a key unless it exists.
   *
   * @param id the id of the key
   * @param created when the version was made, whole seconds
   * @param record the wrapped key
   * @return true where it was added, false where there was one with this id and time, which stays
   *     as it is
   */
  Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record);

  /**
   * What metrics call this metastore.
   *
   * @return a short word in lower case, for instance {@code r2dbc}; {@code custom} unless
   *     overridden
   */
  default String name() {
    return "custom";
  }

  /**
   * The suffix of the key ids that are written through this metastore, usually the name of a region
   * whose tables are replicated to others.
   *
   * @return the suffix without underscore, or the empty string for none
   */
  default String keySuffix() {
    return "";
  }
}
