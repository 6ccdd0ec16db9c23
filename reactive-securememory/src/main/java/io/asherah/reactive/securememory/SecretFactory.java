package io.asherah.reactive.securememory;

import io.asherah.reactive.securememory.internal.LockedSecretFactory;
import io.asherah.reactive.securememory.internal.MemorySettings;
import io.asherah.reactive.securememory.internal.platform.Platforms;
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
 * <p>Secrets share locked regions of 16 KiB, between pages that nobody may touch. A secret takes
 * its length rounded up to 32 bytes, so that 511 keys of 32 bytes fit into a region and more than
 * 100,000 into the common limit of 8 MiB; one of more than a quarter of a region gets one of its
 * own. Regions that are empty are returned to the system, the last of them after 30 seconds.
 *
 * <p>Where the platform is not supported or JNA cannot be loaded, the first creation signals {@link
 * UnsupportedPlatformException}, which says what to do; docs/secure-memory.md lists the platforms.
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
   * <p>The first subscription that succeeds makes the secret, and then, and only then, the array
   * has been filled with zeros; it must not change before the Mono has ended. One after that, by a
   * retry or repeat for instance, signals {@link IllegalStateException} and makes no secret of the
   * zeros. After cancellation the array may or may not have been wiped, and no secret is left
   * behind. Signals {@link MemoryLimitException} where the operating system refuses to lock more
   * memory, {@link SecureMemoryOverloadedException} where too many creations are waiting, {@link
   * NativeCallException} where a system call fails for another reason, {@link
   * SecretClosedException} after {@link #close()}.
   *
   * <p>The system calls run on {@link #scheduler()}; the secret is emitted on the continuation
   * scheduler. A secret that an operator downstream discards is the subscriber's to close: {@code
   * doOnDiscard(Secret.class, Secret::close)}.
   *
   * @param bytes what to protect, 1 to 2,147,483,584 bytes
   * @return the secret, which belongs to the subscriber
   * @throws IllegalArgumentException if the array is empty or too long
   */
  Mono<Secret> create(byte[] bytes);

  /**
   * Moves text into locked memory, as UTF-8 (RFC 3629), and fills the array with zero characters on
   * success; like {@link #create} in everything else. {@link Secret#withUtf8Chars} reads it.
   *
   * @param chars what to protect, at least one character
   * @return the secret, which belongs to the subscriber; signals {@link IllegalArgumentException}
   *     where half of a surrogate pair is missing
   * @throws IllegalArgumentException if the array is empty
   */
  Mono<Secret> createUtf8(char[] chars);

  /**
   * Makes a secret of random bytes, drawn from the JDK's Hash-DRBG (NIST SP 800-90A, 256 bits) on
   * {@link #scheduler()}; like {@link #create} in everything else.
   *
   * <p>Each subscription makes a secret of its own.
   *
   * @param length the number of bytes, at least 1
   * @return the secret, which belongs to the subscriber
   * @throws IllegalArgumentException if the length is less than 1
   */
  Mono<Secret> createRandom(int length);

  /**
   * Seals bytes into an enclave, which takes no locked memory. The first one makes this factory
   * lock two regions of one page for its own key.
   *
   * <p>The first subscription that succeeds makes the enclave; the array is filled with zeros and
   * cannot be sealed again, as {@link #create} has it. Errors, threads and cancellation are those
   * of {@link #create}.
   *
   * @param bytes what to seal, at least one byte
   * @return the enclave
   * @throws IllegalArgumentException if the array is empty
   */
  Mono<Enclave> seal(byte[] bytes);

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
   * Whether this factory was closed: by {@link #close()}, by {@link #purgeAll()}, or because the
   * JVM shuts down.
   *
   * @return true from then on
   */
  boolean isClosed();

  /**
   * Closes every secret of this factory and refuses new ones. Completes when all memory has been
   * wiped and returned to the operating system. Happens once, on the first subscription; later
   * subscribers only wait for the end. Cancelling stops the waiting, not the closing.
   *
   * @return completion on the continuation scheduler
   */
  Mono<Void> close();

  /**
   * Closes every factory of this process that holds locked memory, for instance when an intrusion
   * is noticed. From the subscription on no secret of theirs can be read; completes when all are
   * wiped, which waits for no reader, and returned, which waits for those in the middle of a copy.
   * Happens once for each factory. A factory that is made later works.
   *
   * <p>The same happens by itself when the JVM shuts down, which SIGTERM, SIGINT and SIGHUP make it
   * do: as soon as every factory is closed, or its {@link Builder#shutdownGrace} has passed.
   * SIGKILL and {@code Runtime.halt} leave it to the operating system to clear the memory before
   * another process gets it.
   *
   * @return completion on one of the continuation schedulers, or at once where nothing was held
   */
  static Mono<Void> purgeAll() {
    return LockedSecretFactory.closeAll();
  }

  /** Configures a {@link SecretFactory}. Not safe for use by several threads. */
  final class Builder {
    private static final long MAX_BUDGET = 1L << 40;

    private Duration accessWindow = Duration.ofSeconds(1);
    private int maxPendingCreations = 1_024;
    private long memoryBudget;
    private LimitPolicy limitPolicy = LimitPolicy.FAIL;
    private MemfdSecret memfdSecret = MemfdSecret.OFF;
    private Duration shutdownGrace = Duration.ofSeconds(5);
    private boolean experimentalPlatform;
    private LongSupplier ticker = System::nanoTime;
    private Scheduler continuationScheduler = Schedulers.parallel();

    private Builder() {}

    /**
     * How long memory stays readable after its last use; at most a quarter of it, or a millisecond,
     * longer. Zero is the strict mode: the memory is readable only while a copy is made, and every
     * read costs two system calls on another thread, which reads that wait together share.
     *
     * @param accessWindow zero to one hour; default one second
     * @return this builder
     */
    public Builder accessWindow(Duration accessWindow) {
      this.accessWindow = upToOneHour("accessWindow", accessWindow);
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
     * How many bytes of secrets this factory is expected to hold at once, each secret rounded up to
     * 32. The first creation finds out whether the system grants that much, by locking the regions
     * it takes once and letting them go again; so a limit that is too low shows when a service
     * starts and not when it has many keys. It is no upper bound.
     *
     * @param bytes at least 0, for instance 32 for each key. Default 0: nothing is tried beyond the
     *     first region
     * @return this builder
     */
    public Builder memoryBudget(long bytes) {
      if (bytes < 0 || bytes > MAX_BUDGET) {
        throw new IllegalArgumentException(
            "memoryBudget must be between 0 and %d bytes, was %d".formatted(MAX_BUDGET, bytes));
      }
      this.memoryBudget = bytes;
      return this;
    }

    /**
     * What happens where the system does not grant the {@link #memoryBudget}.
     *
     * @param limitPolicy default {@link LimitPolicy#FAIL}
     * @return this builder
     */
    public Builder limitPolicy(LimitPolicy limitPolicy) {
      this.limitPolicy = Objects.requireNonNull(limitPolicy, "limitPolicy");
      return this;
    }

    /**
     * Whether secrets lie in pages that the kernel itself cannot reach.
     *
     * @param memfdSecret default {@link MemfdSecret#OFF}
     * @return this builder
     */
    public Builder memfdSecret(MemfdSecret memfdSecret) {
      this.memfdSecret = Objects.requireNonNull(memfdSecret, "memfdSecret");
      return this;
    }

    /**
     * How long a shutdown of the JVM waits for this factory to be closed before it wipes all
     * secrets, so that a server can finish what it was asked. A JVM whose factories are closed, or
     * hold no secret, does not wait, and no secret can be made after that.
     *
     * @param shutdownGrace zero to one hour; default five seconds
     * @return this builder
     */
    public Builder shutdownGrace(Duration shutdownGrace) {
      this.shutdownGrace = upToOneHour("shutdownGrace", shutdownGrace);
      return this;
    }

    /**
     * Lets the factory work where the operating system's constants are known but nobody has run
     * them: FreeBSD, OpenBSD, NetBSD, illumos, Windows on arm64.
     *
     * @param experimentalPlatform default false
     * @return this builder
     */
    public Builder experimentalPlatform(boolean experimentalPlatform) {
      this.experimentalPlatform = experimentalPlatform;
      return this;
    }

    private static Duration upToOneHour(String option, Duration given) {
      if (given.isNegative() || given.compareTo(Duration.ofHours(1)) > 0) {
        throw new IllegalArgumentException(
            "%s must be between zero and one hour, was %s".formatted(option, given));
      }
      return given;
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
     * The scheduler on which work goes on after a system call was needed. It must hand tasks to
     * threads of its own: with one that runs them at once ({@code Schedulers.immediate()})
     * functions run on the threads of {@link SecretFactory#scheduler()} and hold up everything
     * there.
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
          Platforms.memory(experimentalPlatform),
          new MemorySettings(
              accessWindow,
              maxPendingCreations,
              memoryBudget,
              limitPolicy,
              memfdSecret,
              shutdownGrace),
          ticker,
          null,
          continuationScheduler);
    }
  }
}
