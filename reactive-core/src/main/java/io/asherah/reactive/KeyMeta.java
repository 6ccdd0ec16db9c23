package io.asherah.reactive;

import io.asherah.reactive.internal.keys.Partition;
import java.time.Instant;

/**
 * Names one version of a system or intermediate key. Immutable and safe for use by many threads.
 *
 * @param id the id of the key, for instance {@code _SK_service_product}
 * @param created when this version was made, in whole seconds
 */
public record KeyMeta(String id, Instant created) {

  /**
   * Makes a name.
   *
   * @param id the id of the key, not empty
   * @param created when this version was made, in whole seconds
   * @throws IllegalArgumentException if the id is empty or cannot be written as UTF-8, or the time
   *     is not whole seconds
   */
  public KeyMeta {
    Partition.requireValid("the id of a key", id);
    if (created.getNano() != 0) {
      throw new IllegalArgumentException("created must be whole seconds, was " + created);
    }
  }

  /** Names a system key; of an intermediate key, whose id contains a partition, only its time. */
  @Override
  public String toString() {
    return "KeyMeta[id=%s, created=%s]".formatted(id.startsWith("_IK_") ? "_IK_****" : id, created);
  }
}
