package io.asherah.reactive.securememory;

import io.asherah.reactive.securememory.internal.LockedSecretFactory;
import java.time.Duration;
import java.util.Objects;
import java.util.function.LongSupplier;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * Makes secrets in locked off-heap memory and owns the threads on which the blocking system calls
 * for them run.
 *
 * <p>Linux on a 64-bit processor is supported; elsewhere the first {@link #create} signals {@link
 * UnsupportedPlatformException}. Every secret takes one locked page of its own (4,096 bytes on most
 * machines) of the process's {@code RLIMIT_MEMLOCK}.
 *
 * <p>Instances are safe for use by many threads.
 */
public interface SecretFactory {

  /**
   * Starts the configuration of a factory.
   *
   * @return a builder with every option at its default
   */
  static Builder builder() {
    return new Builder();
  }

  /**
   * Moves bytes into locked memory.
   *
   * <p>Each subscription makes a new secret. On success, and only then, the array has been filled
   * with zeros; it must not change before the Mono has ended. After cancellation the array may or
   * may not have been wiped, and no secret is left behind. Signals {@link MemoryLimitException}
   * where the operating system refuses to lock more memory, {@link SecureMemoryOverloadedException}
   * where too many creations are waiting, {@link NativeCallException} where a system call fails for
   * another reason, {@link SecretClosedException} after {@link #close()}.
   *
   * <p>The system calls run on {@link #scheduler()}; the secret is emitted on the continuation
   * scheduler. A secret that an operator downstream discards is the subscriber's to close: {@code
   * doOnDiscard(Secret.class, Secret::close)}.
   *
   * @param bytes what to protect, at least one byte
   * @return the secret, which belongs to the subscriber
   * @throws IllegalArgumentException if the array is empty
   */
  Mono<Secret> create(byte[] bytes);

  /**
   * The bounded scheduler on which every system call for locked memory runs: two daemon threads
   * named {@code asherah-securememory-N}. It may be used for other short blocking work that belongs
   * to key handling, and must not be disposed. Its threads end when they were idle for a minute.
   *
   * @return the scheduler, never one whose threads must not block
   */
  Scheduler scheduler();

  /**
   * What this factory holds at this moment.
   *
   * @return a snapshot; its figures are exact while nothing changes
   */
  SecureMemoryStats stats();

  /**
   * Closes every secret of this factory and refuses new ones. Completes when all memory has been
   * wiped and returned to the operating system. Happens once, on the first subscription; later
   * subscribers only wait for the end. Cancelling stops the waiting, not the closing.
   *
   * @return completion on the continuation scheduler
   */
  Mono<Void> close();

  /** Configures a {@link SecretFactory}. Not safe for use by several threads. */
  final class Builder {
    private Duration accessWindow = Duration.ofSeconds(1);
    private int maxPendingCreations = 1_024;
    private LongSupplier ticker = System::nanoTime;
    private Scheduler continuationScheduler = Schedulers.parallel();

    private Builder() {}

    /**
     * How long memory stays readable after its last use. Zero is the strict mode: the memory is
     * opened and closed again around every single read, which then costs two system calls on
     * another thread.
     *
     * @param accessWindow zero to one hour; default one second
     * @return this builder
     */
    public Builder accessWindow(Duration accessWindow) {
      if (accessWindow.isNegative() || accessWindow.compareTo(Duration.ofHours(1)) > 0) {
        throw new IllegalArgumentException(
            "accessWindow must be between zero and one hour, was " + accessWindow);
      }
      this.accessWindow = accessWindow;
      return this;
    }

    /**
     * How many creations may wait for the scheduler at once before a further one is refused with
     * {@link SecureMemoryOverloadedException}. Reads and closing are never refused.
     *
     * @param maxPendingCreations at least 1; default 1,024
     * @return this builder
     */
    public Builder maxPendingCreations(int maxPendingCreations) {
      if (maxPendingCreations < 1) {
        throw new IllegalArgumentException(
            "maxPendingCreations must be at least 1, was " + maxPendingCreations);
      }
      this.maxPendingCreations = maxPendingCreations;
      return this;
    }

    /**
     * The monotonic clock, in nanoseconds, that measures the access window.
     *
     * @param ticker default {@link System#nanoTime()}
     * @return this builder
     */
    public Builder ticker(LongSupplier ticker) {
      this.ticker = Objects.requireNonNull(ticker, "ticker");
      return this;
    }

    /**
     * The scheduler on which work goes on after a system call was needed.
     *
     * @param scheduler default {@link Schedulers#parallel()}
     * @return this builder
     */
    public Builder continuationScheduler(Scheduler scheduler) {
      this.continuationScheduler = Objects.requireNonNull(scheduler, "scheduler");
      return this;
    }

    /**
     * Makes the factory. No memory is reserved and no library loaded before the first secret.
     *
     * @return a new factory
     */
    public SecretFactory build() {
      return new LockedSecretFactory(
          accessWindow, maxPendingCreations, ticker, continuationScheduler);
    }
  }
}
