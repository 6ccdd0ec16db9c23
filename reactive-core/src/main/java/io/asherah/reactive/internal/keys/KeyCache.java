package io.asherah.reactive.internal.keys;

import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import com.github.benmanes.caffeine.cache.Scheduler;
import io.asherah.reactive.KeyMeta;
import java.time.Duration;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Key rings by name, bounded by the number of keys in them and by idle time. A key that leaves is
 * closed at once.
 *
 * <p>Three rules keep event loops from parking in Caffeine and keys from being lost: any thread may
 * call {@link #latest} and {@link #get}; everything else, and Caffeine's own maintenance, runs on
 * the securememory scheduler; keys are closed by the eviction listener, which runs inside the
 * change that evicts them, and by whoever removes them, never by a removal listener, which runs
 * some time later if its executor has room.
 */
final class KeyCache {
  /** How often at most Caffeine is told that a ring is in use. */
  private static final long USE_NANOS = TimeUnit.SECONDS.toNanos(1);

  private final Cache<String, KeyRing> rings;
  private final LongSupplier ticker;
  private final long useNanos;
  private volatile boolean closed;

  KeyCache(long maxKeys, Duration idleTime, LongSupplier ticker, Executor maintenance) {
    this.ticker = ticker;
    this.useNanos = Math.min(USE_NANOS, idleTime.dividedBy(16).toNanos());
    this.rings =
        Caffeine.newBuilder()
            .maximumWeight(maxKeys)
            .weigher((String name, KeyRing ring) -> ring.size())
            .expireAfterAccess(idleTime)
            .ticker(ticker::getAsLong)
            .executor(maintenance)
            .scheduler(Scheduler.systemScheduler())
            .evictionListener(
                (name, ring, cause) -> {
                  if (ring != null) {
                    ring.close();
                  }
                })
            .build();
  }

  /**
   * Reads a ring. Caffeine schedules maintenance after every few reads that it records, which a
   * warm operation is not to pay for; so a use is recorded once a second, and that is enough to
   * keep what is in use.
   */
  private @Nullable KeyRing ring(String name) {
    KeyRing ring = rings.policy().getIfPresentQuietly(name);
    return ring != null && ring.isUsedAgainAfter(useNanos, ticker.getAsLong())
        ? rings.getIfPresent(name)
        : ring;
  }

  @Nullable CachedKey latest(String ringName) {
    KeyRing ring = ring(ringName);
    return ring == null ? null : ring.latest();
  }

  @Nullable CachedKey get(String ringName, KeyMeta meta) {
    KeyRing ring = ring(ringName);
    return ring == null ? null : ring.get(meta);
  }

  /**
   * Takes over a key. Where the ring has one of the same name, that one stays and the new one is
   * closed; where the ring was forgotten while the key was loaded, the key is closed, and whoever
   * waits for it finds it closed and looks it up again.
   *
   * @return the key to use
   */
  CachedKey add(String ringName, CachedKey key, BooleanSupplier forgotten) {
    KeyRing ring =
        rings
            .asMap()
            .compute(
                ringName,
                (name, current) -> {
                  if (closed || forgotten.getAsBoolean()) {
                    return current;
                  }
                  KeyRing before = current == null ? KeyRing.empty(ticker.getAsLong()) : current;
                  return before.get(key.meta()) == null ? before.with(key) : before;
                });
    // Not left to the executor: where Caffeine has to put off a part of its maintenance, it may be
    // until the next use of the cache, and the bound is one on locked memory.
    rings.cleanUp();
    CachedKey kept = ring == null ? null : ring.get(key.meta());
    if (kept == key) {
      return key;
    }
    key.close();
    if (kept == null) {
      return key;
    }
    kept.checked(key.isRevoked(), key.checkedAt(), key.parent());
    return kept;
  }

  /** Makes a key of the ring the one that new data is sealed under. */
  void pointLatest(String ringName, CachedKey key) {
    rings
        .asMap()
        .computeIfPresent(
            ringName, (name, ring) -> ring.get(key.meta()) == key ? ring.withLatest(key) : ring);
  }

  /** Closes and removes the keys of a ring. */
  void forget(String ringName) {
    KeyRing ring = rings.asMap().remove(ringName);
    if (ring != null) {
      ring.close();
    }
  }

  /** Closes and removes all keys; those that come later are closed on arrival. */
  void close() {
    closed = true;
    rings.asMap().keySet().forEach(this::forget);
  }

  /** How many keys are cached; an estimate while keys come and go. */
  long size() {
    return rings.asMap().values().stream().mapToLong(KeyRing::size).sum();
  }
}
