package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.LimitPolicy;
import io.asherah.reactive.securememory.MemfdSecret;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.SteadyTimeScheduler;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import reactor.core.scheduler.Schedulers;

/** A secret factory on recorded memory, whose time passes only when the test says so. */
final class Memory implements AutoCloseable {

  final RecordingMemory recording = new RecordingMemory();
  final SteadyTimeScheduler time = new SteadyTimeScheduler();
  final LockedSecretFactory factory;
  private final MemorySettings settings;

  Memory(Duration accessWindow) {
    this(accessWindow, 1_024);
  }

  Memory(Duration accessWindow, int maxPendingCreations) {
    this(settings(accessWindow, maxPendingCreations));
  }

  Memory(MemorySettings settings) {
    this.settings = settings;
    factory =
        new LockedSecretFactory(
            recording.memory(),
            settings,
            () -> time.now(TimeUnit.NANOSECONDS),
            time,
            Schedulers.parallel());
  }

  static MemorySettings settings(Duration accessWindow, int maxPendingCreations) {
    return new MemorySettings(
        accessWindow, maxPendingCreations, 0, LimitPolicy.FAIL, MemfdSecret.OFF, Duration.ZERO);
  }

  static MemorySettings settings(Duration accessWindow, long budget, LimitPolicy policy) {
    return new MemorySettings(accessWindow, 1_024, budget, policy, MemfdSecret.OFF, Duration.ZERO);
  }

  static MemorySettings settings(Duration accessWindow, MemfdSecret memfdSecret) {
    return new MemorySettings(accessWindow, 1_024, 0, LimitPolicy.FAIL, memfdSecret, Duration.ZERO);
  }

  /** Waits until nothing is under way. */
  void settle() {
    Await.until(
        () ->
            factory.stats().queueDepth() == 0
                && factory.stats().pendingCreations() == 0
                && factory.stats().queueDepth() == 0);
  }

  /** Lets enough time pass for all regions to be closed. */
  void letTheWindowPass() {
    time.advanceTimeBy(Duration.ofNanos(settings.accessWindow().toNanos() * 5 / 4 + 1));
    Await.until(() -> factory.stats().openRegions() == 0);
  }

  /** Lets the time pass for which an empty region is kept. */
  void returnIdleRegions() {
    Await.until(
        () -> {
          time.advanceTimeBy(Duration.ofSeconds(30));
          return factory.stats().lockedBytes() == 0;
        });
  }

  @Override
  public void close() {
    factory.close().block(Await.TIMEOUT);
    if (factory.stats().lockedBytes() != 0 || factory.stats().liveSecrets() != 0) {
      throw new AssertionError("memory is left after close(): " + factory.stats());
    }
  }
}
