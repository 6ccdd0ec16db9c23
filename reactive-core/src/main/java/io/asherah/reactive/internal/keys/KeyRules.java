package io.asherah.reactive.internal.keys;

import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.KeyRotation;
import java.time.Clock;
import java.time.Instant;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/** Decides from policy and clocks whether a key may be used for new data, and how it is dated. */
final class KeyRules {
  // From which part of the period on a key is looked up again ahead of time. Drawn for each key, so
  // that keys that were loaded together are not looked up together for ever.
  private static final double EARLIEST_REFRESH = 0.8;
  private static final double LATEST_REFRESH = 0.9;

  // After a failed refresh the next one waits for a second, or for a fiftieth of a short period;
  // then twice as long every time, up to a twentieth of the period. So several fit in what is left
  // of it.
  private static final long LONGEST_FIRST_BACKOFF = TimeUnit.SECONDS.toNanos(1);
  private static final int FIRST_BACKOFF_PART = 50;
  private static final int LAST_BACKOFF_PART = 20;

  private static final long FARTHEST_SECOND = 1_000_000_000_000_000L;

  private final Clock clock;
  private final LongSupplier ticker;
  private final long revokeCheckNanos;
  private final long expiryMillis;
  private final long precisionSeconds;
  private final boolean isQueued;

  KeyRules(CryptoPolicy policy, Timing timing) {
    this.clock = timing.clock();
    this.ticker = timing.ticker();
    this.revokeCheckNanos = policy.revokeCheckPeriod().toNanos();
    this.expiryMillis = policy.keyExpiry().toMillis();
    this.precisionSeconds = policy.createdPrecision().toSeconds();
    this.isQueued = policy.keyRotation() == KeyRotation.QUEUED;
  }

  /** The monotonic time in nanoseconds. */
  long tick() {
    return ticker.getAsLong();
  }

  /** The wall clock in milliseconds. */
  long millis() {
    return clock.millis();
  }

  /** Whether expired keys are used until they are replaced in the background. */
  boolean isQueued() {
    return isQueued;
  }

  // Validity.

  /** Whether new data may be sealed under the key, as far as the key itself is concerned. */
  boolean isUsable(CachedKey key, long tick, long millis) {
    return isFresh(key, tick)
        && !key.isRevoked()
        && !key.isUsedUp()
        && (isQueued || !isExpired(key.meta().created(), millis));
  }

  boolean isFresh(CachedKey key, long tick) {
    return tick - key.checkedAt() < revokeCheckNanos;
  }

  boolean isFresh(SealedKey key, long tick) {
    return tick - key.readAt() < revokeCheckNanos;
  }

  boolean isExpired(Instant created, long millis) {
    long seconds = Math.max(-FARTHEST_SECOND, Math.min(FARTHEST_SECOND, created.getEpochSecond()));
    return millis > seconds * 1_000 + expiryMillis;
  }

  /**
   * Whether a record may be used for new data, fresh as it is.
   *
   * @param renewing whether an expired key is to be replaced now, also where rotation is queued
   */
  boolean isValid(boolean isRevoked, Instant created, boolean renewing) {
    return !isRevoked && (isQueued && !renewing || !isExpired(created, millis()));
  }

  // Looking up again ahead of time.

  long refreshAfterNanos() {
    double part = ThreadLocalRandom.current().nextDouble(EARLIEST_REFRESH, LATEST_REFRESH);
    return (long) (revokeCheckNanos * part);
  }

  long backoffNanos(int attempts) {
    long first = Math.min(LONGEST_FIRST_BACKOFF, revokeCheckNanos / FIRST_BACKOFF_PART);
    long last = Math.max(first, revokeCheckNanos / LAST_BACKOFF_PART);
    long doubled = Math.min(last, first << Math.min(attempts, 20));
    return doubled / 2 + (long) (doubled / 2 * ThreadLocalRandom.current().nextDouble());
  }

  // Creation times.

  Instant now() {
    return Instant.ofEpochSecond(clock.instant().getEpochSecond());
  }

  /** The start of the minute, or of whatever the precision is, that a time lies in. */
  Instant rounded(Instant time) {
    long seconds = time.getEpochSecond();
    return Instant.ofEpochSecond(seconds - Math.floorMod(seconds, precisionSeconds));
  }

  /** When the precision window after that of a time begins. */
  Instant nextWindow(Instant time) {
    return rounded(time).plusSeconds(precisionSeconds);
  }

  /**
   * The creation time of a new key.
   *
   * @param latest that of the newest one there is, or null for none
   */
  Instant creationTime(@Nullable Instant latest) {
    Instant rounded = rounded(now());
    if (latest == null || latest.isBefore(rounded)) {
      return rounded;
    }
    Instant later = after(latest);
    return later.isAfter(latest) ? later : rounded;
  }

  /**
   * A creation time that sorts after that of a key which took the rounded one and may not be used:
   * it was revoked, say, in the minute it was made. Any whole second is legal. Not farther ahead
   * than the precision, so that one key that is dated in the future does not date all others.
   */
  Instant after(Instant latest) {
    Instant now = now();
    Instant next = latest.plusSeconds(1);
    return next.isAfter(now) && !next.isAfter(now.plusSeconds(precisionSeconds)) ? next : now;
  }
}
