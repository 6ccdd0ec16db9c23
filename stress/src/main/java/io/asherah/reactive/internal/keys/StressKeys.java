package io.asherah.reactive.internal.keys;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.securememory.internal.StressSecrets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** Caches and keys for stress tests, and what a user made of a key. */
final class StressKeys {
  private StressKeys() {}

  /** A cache whose time stands still, and which does its maintenance on the calling thread. */
  static KeyCache cache(long maxKeys) {
    return new KeyCache(
        maxKeys, Duration.ofSeconds(1), () -> 0, Runnable::run, key -> {}, tick -> {});
  }

  /** A key in a locked region, all bytes of which are its number, which is its date too. */
  static CachedKey key(int number) {
    return key(meta(number), number);
  }

  static CachedKey key(KeyMeta meta, int number) {
    return new CachedKey(
        record(meta, false, number),
        KeyMaterial.of(StressSecrets.secret(number)),
        null,
        Long.MAX_VALUE / 2);
  }

  /** What a read that was sent at some time says of a key. */
  static SealedKey record(KeyMeta meta, boolean isRevoked, long readAt) {
    byte[] sealed = {(byte) meta.created().getEpochSecond()};
    return new SealedKey(
        meta, new EnvelopeKeyRecord(meta.created(), sealed, null, isRevoked), readAt);
  }

  static KeyMeta meta(int number) {
    return new KeyMeta("key", Instant.ofEpochSecond(number));
  }

  /** Loads that start and end on the calling thread and have no deadline. */
  static SharedLoads loads() {
    return new SharedLoads(
        StressSecrets.timer(),
        new Timing(Clock.systemUTC(), () -> 0, StressSecrets.timer(), Schedulers.immediate()),
        new LoadSettings(
            Duration.ofSeconds(1), Duration.ofSeconds(1), 1, Duration.ofSeconds(1), 1, Set.of()),
        () -> {});
  }

  static Mono<CachedKey> load(SharedLoads loads, KeyCache cache, String ring, CachedKey key) {
    return loads.join(
        new SharedLoads.Id<>(new SharedLoads.Kind<CachedKey>(1), ring, key.meta()),
        () -> cache.get(ring, key.meta()),
        forgotten -> Mono.fromSupplier(() -> cache.add(ring, key, forgotten)));
  }

  /** The name of the bytes of a key, "closed", or "none". */
  static String read(@Nullable CachedKey key) {
    return key == null ? "none" : StressSecrets.outcome(() -> key.withBytes(StressSecrets::nameOf));
  }

  static boolean notForgotten() {
    return false;
  }

  /** Where a key is in the end, and whether it can still be used. */
  static String fate(KeyCache cache, String ring, CachedKey key) {
    String place = cache.get(ring, key.meta()) == key ? "cached " : "gone ";
    return place + (read(key).equals("closed") ? "closed" : "open");
  }
}
