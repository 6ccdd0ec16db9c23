package io.asherah.reactive.internal.keys;

import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import com.github.benmanes.caffeine.cache.Scheduler;
import io.asherah.reactive.KeyMeta;
import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.function.LongConsumer;
import java.util.function.LongSupplier;
import java.util.function.Predicate;
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
 *
 * <p>Changes are made one at a time: a writer that loses the processor while it hands its change to
 * Caffeine's policy hides those of all others from it, and with them how many keys there are.
 */
final class KeyCache {
  /** How often at most Caffeine is told that a ring is in use. */
  private static final long USE_NANOS = TimeUnit.SECONDS.toNanos(1);

  private final Cache<String, KeyRing> rings;
  private final LongSupplier ticker;
  private final long useNanos;
  private final long maxKeys;
  private final Consumer<KeyMeta> evicted;
  private final LongConsumer used;
  private boolean closed;

  KeyCache(
      long maxKeys,
      Duration idleTime,
      LongSupplier ticker,
      Executor maintenance,
      Consumer<KeyMeta> evicted,
      LongConsumer used) {
    this.maxKeys = maxKeys;
    this.evicted = evicted;
    this.used = used;
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
                    ring.names().forEach(evicted);
                  }
                })
            .build();
  }

  /**
   * Reads a ring. Caffeine schedules maintenance after every few reads that it records, which a
   * warm operation is not to pay for; so a use is recorded once a second, and that is enough to
   * keep what is in use.
   */
  private @Nullable KeyRing ring(String name, long now) {
    KeyRing ring = rings.policy().getIfPresentQuietly(name);
    if (ring == null || !ring.isUsedAgainAfter(useNanos, now)) {
      return ring;
    }
    used.accept(now);
    return rings.getIfPresent(name);
  }

  /** Notes that the keys of a ring are used, though not read. */
  void used(String ringName, long now) {
    ring(ringName, now);
  }

  @Nullable CachedKey latest(String ringName) {
    return latest(ringName, ticker.getAsLong());
  }

  /** The same where the time is known already. */
  @Nullable CachedKey latest(String ringName, long now) {
    KeyRing ring = ring(ringName, now);
    return ring == null ? null : ring.latest();
  }

  @Nullable CachedKey get(String ringName, KeyMeta meta) {
    KeyRing ring = ring(ringName, ticker.getAsLong());
    return ring == null ? null : ring.get(meta);
  }

  /**
   * Takes over a key. Where the ring has the same one, that stays and the new one is closed; where
   * it has another one of that name, that is closed. Where the ring was forgotten while the key was
   * loaded, the key is closed, and whoever waits for it finds it closed and looks it up again. A
   * ring that alone would be too large loses the key that was read longest ago.
   *
   * @return the key to use
   */
  synchronized CachedKey add(String ringName, CachedKey key, BooleanSupplier forgotten) {
    Set<CachedKey> dropped = new HashSet<>();
    KeyRing ring =
        rings
            .asMap()
            .compute(
                ringName,
                (name, current) -> {
                  dropped.clear();
                  if (closed || forgotten.getAsBoolean()) {
                    return current;
                  }
                  KeyRing before = current == null ? KeyRing.empty(ticker.getAsLong()) : current;
                  CachedKey namesake = before.get(key.meta());
                  if (namesake != null && namesake.isSameAs(key)) {
                    return before;
                  }
                  KeyRing after = before.with(key);
                  if (namesake != null) {
                    dropped.add(namesake);
                  } else if (after.size() > maxKeys && after.size() > 1) {
                    CachedKey oldest = after.oldestBut(key);
                    dropped.add(oldest);
                    after = after.without(oldest);
                  }
                  return after;
                });
    for (CachedKey old : dropped) {
      old.close();
      evicted.accept(old.meta());
    }
    // Not left to the executor: where Caffeine has to put off a part of its maintenance, it may be
    // until the next use of the cache, and the bound is one on locked memory.
    rings.cleanUp();
    CachedKey kept = ring == null ? null : ring.get(key.meta());
    if (kept == key) {
      return key;
    }
    key.close();
    if (kept == null || !kept.isSameAs(key)) {
      return key;
    }
    kept.checkedLike(key);
    return kept;
  }

  /**
   * Makes a key of the ring the one that new data is sealed under, unless it is older than the one
   * that a read which was sent later found.
   */
  void pointLatest(String ringName, CachedKey key) {
    pointLatest(
        ringName,
        key,
        latest ->
            key.checkedAt() - latest.checkedAt() >= 0
                || key.meta().created().isAfter(latest.meta().created()));
  }

  /** The same for a key that may not be the newest there is: unless the ring has a newer one. */
  void pointLatestIfNewest(String ringName, CachedKey key) {
    pointLatest(ringName, key, latest -> key.meta().created().isAfter(latest.meta().created()));
  }

  private synchronized void pointLatest(
      String ringName, CachedKey key, Predicate<CachedKey> replaces) {
    rings
        .asMap()
        .computeIfPresent(
            ringName,
            (name, ring) -> {
              CachedKey latest = ring.latest();
              boolean isPointed =
                  ring.get(key.meta()) == key && (latest == null || replaces.test(latest));
              return isPointed ? ring.withLatest(key) : ring;
            });
  }

  /** Closes and removes the keys of a ring. */
  synchronized void forget(String ringName) {
    KeyRing ring = rings.asMap().remove(ringName);
    if (ring != null) {
      ring.close();
    }
  }

  /** Closes and removes all keys; those that come later are closed on arrival. */
  synchronized void close() {
    closed = true;
    rings.asMap().keySet().forEach(this::forget);
    // Those whose time is over are not among them.
    rings.cleanUp();
  }

  /** How many keys are cached; an estimate while keys come and go. */
  long size() {
    return rings.asMap().values().stream().mapToLong(KeyRing::size).sum();
  }
}
