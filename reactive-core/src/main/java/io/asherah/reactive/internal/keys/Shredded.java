package io.asherah.reactive.internal.keys;

import io.asherah.reactive.KeyMeta;
import java.time.Instant;
import java.util.Collections;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/**
 * Remembers which keys of partitions are being shredded, or may have been: a deletion whose answer
 * was lost may have happened. A new key must not get the id and time of a deleted one: old records
 * would then fail to open as if they had been tampered with, rather than because their key is gone.
 */
final class Shredded {
  private static final int MANY = 1_000;

  private final ConcurrentMap<String, Set<KeyMeta>> keys = new ConcurrentHashMap<>();

  /** Notes a key that is about to be deleted. */
  void add(String ring, KeyMeta key) {
    keys.compute(
        ring,
        (name, noted) -> {
          Set<KeyMeta> all = noted == null ? ConcurrentHashMap.newKeySet() : noted;
          all.add(key);
          return all;
        });
  }

  /** Those that were noted for a partition and not removed. */
  Set<KeyMeta> of(String ring) {
    return Set.copyOf(keys.getOrDefault(ring, Collections.emptySet()));
  }

  /** The creation time of that name, or the next one that makes a name which was not noted. */
  Instant firstFree(String ring, KeyMeta name) {
    Set<KeyMeta> noted = of(ring);
    KeyMeta free = name;
    while (noted.contains(free)) {
      free = new KeyMeta(free.id(), free.created().plusSeconds(1));
    }
    return free.created();
  }

  /**
   * Forgets what was noted for partitions whose shredding was never finished, once that cannot
   * matter to new keys any more, and only if there is much of it: those who shred again are told of
   * it.
   */
  void forgetBefore(Instant time) {
    if (keys.size() > MANY) {
      keys.values().removeIf(noted -> noted.stream().allMatch(key -> key.created().isBefore(time)));
    }
  }

  /** Forgets keys of a partition, whose names cannot come back any more. */
  void remove(String ring, Set<KeyMeta> gone) {
    keys.computeIfPresent(
        ring,
        (name, noted) -> {
          noted.removeAll(gone);
          return noted.isEmpty() ? null : noted;
        });
  }
}
