package io.asherah.reactive.internal.keys;

import io.asherah.reactive.KeyMeta;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The cached keys of one partition, by id and creation time as written in records, and the one that
 * new data is sealed under. A change makes another ring, so that readers need no lock and the cache
 * can swap rings in one step. A key whose bytes are gone, because its memory was found corrupt,
 * counts as missing.
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
    return ifOpen(latest);
  }

  @Nullable CachedKey get(KeyMeta meta) {
    return ifOpen(keys.get(meta));
  }

  private static @Nullable CachedKey ifOpen(@Nullable CachedKey key) {
    return key == null || key.isClosed() ? null : key;
  }

  KeyRing with(CachedKey key) {
    Map<KeyMeta, CachedKey> more = new HashMap<>(keys);
    CachedKey namesake = more.put(key.meta(), key);
    return new KeyRing(
        Map.copyOf(more), latest != null && latest == namesake ? null : latest, usedAt);
  }

  /** Drops a key; where it is the latest one, the ring has none any more. */
  KeyRing without(CachedKey key) {
    Map<KeyMeta, CachedKey> fewer = new HashMap<>(keys);
    fewer.remove(key.meta());
    return new KeyRing(Map.copyOf(fewer), latest == key ? null : latest, usedAt);
  }

  /**
   * The key that was read longest ago, of all but one, and not the latest one if there is another.
   */
  CachedKey oldestBut(CachedKey key) {
    return keys.values().stream()
        .filter(other -> other != key)
        .min(
            Comparator.comparing((CachedKey other) -> other == latest)
                .thenComparing((a, b) -> Long.signum(a.checkedAt() - b.checkedAt())))
        .orElseThrow();
  }

  KeyRing withLatest(CachedKey key) {
    return new KeyRing(keys, key, usedAt);
  }

  Set<KeyMeta> names() {
    return keys.keySet();
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
