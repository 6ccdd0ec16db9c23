package io.asherah.reactive.internal.keys;

import io.asherah.reactive.KeyMeta;
import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A key together with what is known of its record, and when that was read.
 *
 * <p>The cache owns its bytes. Users need no lease: reading a key that was closed signals {@code
 * SecretClosedException}, and they look it up again.
 */
final class CachedKey {
  /** Up to this bound every use is compared with it, beyond it about one in a thousand. */
  private static final long EXACT_USES = 1 << 20;

  private static final int INEXACT_MASK = (1 << 10) - 1;

  private final KeyMeta meta;
  private final byte[] sealed;
  private final KeyMaterial material;
  private final AtomicReference<State> state;
  private final long refreshAfter;
  private final Task refresh;
  private final Task rotation;
  private final LongAdder uses = new LongAdder();
  private volatile boolean usedUp;

  /**
   * What the metastore said last.
   *
   * @param revoked whether the key may no longer be used for new data
   * @param checkedAt when the read that said so was sent, on the ticker
   * @param parent the system key that wraps an intermediate key, null for a system key
   */
  private record State(boolean revoked, long checkedAt, @Nullable CachedKey parent) {

    /** Of two that were sent at once, the one that says more is right. */
    boolean replaces(State other) {
      long later = checkedAt - other.checkedAt;
      return later > 0 || later == 0 && (revoked || !other.revoked);
    }
  }

  /**
   * Makes a key.
   *
   * @param refreshAfter for how many nanoseconds after a read there is no need for another one
   */
  CachedKey(SealedKey record, KeyMaterial material, @Nullable CachedKey parent, long refreshAfter) {
    long checkedAt = record.readAt();
    this.meta = record.meta();
    this.sealed = record.encryptedKey();
    this.material = material;
    this.state = new AtomicReference<>(new State(record.isRevoked(), checkedAt, parent));
    this.refreshAfter = refreshAfter;
    this.refresh = new Task(checkedAt + refreshAfter);
    this.rotation = new Task(checkedAt);
  }

  KeyMeta meta() {
    return meta;
  }

  boolean isRevoked() {
    return state().revoked;
  }

  long checkedAt() {
    return state().checkedAt;
  }

  @Nullable CachedKey parent() {
    return state().parent;
  }

  private State state() {
    return Objects.requireNonNull(state.get());
  }

  /**
   * Whether a record is that of this key. Another one of its name takes its place when a key was
   * deleted and made again within one window of creation times.
   */
  boolean isOf(SealedKey record) {
    return meta.equals(record.meta()) && Arrays.equals(sealed, record.encryptedKey());
  }

  boolean isSameAs(CachedKey other) {
    return meta.equals(other.meta) && Arrays.equals(sealed, other.sealed);
  }

  /**
   * Takes over what a read of the record said, unless a read that was sent later has answered.
   *
   * @return whether it was this answer that revoked the key
   */
  boolean checked(SealedKey record, @Nullable CachedKey parent) {
    return isOf(record) && update(new State(record.isRevoked(), record.readAt(), parent));
  }

  /** Takes over what another one of the same record knows. */
  void checkedLike(CachedKey other) {
    update(other.state());
  }

  /**
   * Takes over that a read found the key revoked.
   *
   * @return whether it was this answer that revoked the key
   */
  boolean foundRevoked(long checkedAt) {
    return update(new State(true, checkedAt, parent()));
  }

  private boolean update(State answer) {
    State before =
        Objects.requireNonNull(
            state.getAndUpdate(current -> answer.replaces(current) ? answer : current));
    if (!answer.replaces(before)) {
      return false;
    }
    refresh.restart(answer.checkedAt + refreshAfter);
    return answer.revoked && !before.revoked;
  }

  /** What has to be done about a key some day, by one of those who use it then. */
  static final class Task {
    private final AtomicLong dueAt;
    private final AtomicInteger attempts = new AtomicInteger();

    private Task(long dueAt) {
      this.dueAt = new AtomicLong(dueAt);
    }

    boolean isDue(long now) {
      return now - dueAt.get() >= 0;
    }

    /** Gives the task to the caller, if it is due and no other one got it first. */
    boolean claim(long now, Backoff backoff) {
      long due = dueAt.get();
      if (now - due < 0
          || !dueAt.compareAndSet(due, now + backoff.nanosAfter(attempts.getPlain()))) {
        return false;
      }
      attempts.incrementAndGet();
      return true;
    }

    /** How often it was claimed since it was done last. */
    int attempts() {
      return attempts.get();
    }

    private void restart(long at) {
      attempts.set(0);
      dueAt.set(at);
    }
  }

  /** How long to leave a task alone that was begun. */
  @FunctionalInterface
  interface Backoff {
    long nanosAfter(int attempts);
  }

  /** To look the record up again before it is too old. */
  Task refresh() {
    return refresh;
  }

  /** To replace the key, which has expired. */
  Task rotation() {
    return rotation;
  }

  /**
   * Counts one use, unless there were that many.
   *
   * @return whether the key may be used
   */
  boolean tryUse(long maxUses) {
    if (usedUp) {
      return false;
    }
    uses.increment();
    boolean isCompared =
        maxUses <= EXACT_USES || (ThreadLocalRandom.current().nextInt() & INEXACT_MASK) == 0;
    if (isCompared && uses.sum() >= maxUses) {
      usedUp = true;
    }
    return true;
  }

  boolean isUsedUp() {
    return usedUp;
  }

  <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function) {
    return material.withBytes(function);
  }

  /** Whether the bytes are gone, with or without the cache having had it so. */
  boolean isClosed() {
    return material.isClosed();
  }

  void close() {
    material.close();
  }
}
