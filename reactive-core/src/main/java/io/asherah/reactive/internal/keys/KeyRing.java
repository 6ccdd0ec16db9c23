package io.asherah.reactive.internal.keys;

import io.asherah.reactive.KeyMeta;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The cached keys of one partition, by id and creation time as written in records, and the one that
 * new data is sealed under. A change makes another ring, so that readers need no lock and the cache
 * can swap rings in one step.
 */
final class KeyRing {
  private final Map<KeyMeta, CachedKey> keys;
  private final @Nullable CachedKey latest;
  private volatile long usedAt;

  private KeyRing(Map<KeyMeta, CachedKey> keys, @Nullable CachedKey latest, long usedAt) {
    this.keys = keys;
    this.latest = latest;
    this.usedAt = usedAt;
  }

  static KeyRing empty(long now) {
    return new KeyRing(Map.of(), null, now);
  }

  @Nullable CachedKey latest() {
    return latest;
  }

  @Nullable CachedKey get(KeyMeta meta) {
    return keys.get(meta);
  }

  KeyRing with(CachedKey key) {
    Map<KeyMeta, CachedKey> more = new HashMap<>(keys);
    more.put(key.meta(), key);
    return new KeyRing(Map.copyOf(more), latest, usedAt);
  }

  KeyRing withLatest(CachedKey key) {
    return new KeyRing(keys, key, usedAt);
  }

  int size() {
    return keys.size();
  }

  /** Notes a use, and tells whether the last one that was noted is at least so long ago. */
  boolean isUsedAgainAfter(long interval, long now) {
    if (now - usedAt < interval) {
      return false;
    }
    usedAt = now;
    return true;
  }

  void close() {
    keys.values().forEach(CachedKey::close);
  }
}
