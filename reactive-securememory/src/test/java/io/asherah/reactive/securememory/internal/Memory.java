package io.asherah.reactive.securememory.internal;

import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import reactor.core.scheduler.Schedulers;
import reactor.test.scheduler.VirtualTimeScheduler;

/** A secret factory on recorded memory, whose time passes only when the test says so. */
final class Memory implements AutoCloseable {
  static final Duration TIMEOUT = Duration.ofSeconds(30);

  final RecordingMemory recording = new RecordingMemory();
  final VirtualTimeScheduler time = VirtualTimeScheduler.create();
  final LockedSecretFactory factory;

  Memory(Duration accessWindow) {
    this(accessWindow, 1_024);
  }

  Memory(Duration accessWindow, int maxPendingCreations) {
    factory =
        new LockedSecretFactory(
            recording.memory(),
            accessWindow,
            maxPendingCreations,
            () -> time.now(TimeUnit.NANOSECONDS),
            time,
            Schedulers.parallel());
  }

  /** Waits for what happens on another thread. */
  static void await(BooleanSupplier condition) {
    long deadline = System.nanoTime() + TIMEOUT.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() - deadline > 0) {
        throw new AssertionError("the condition did not come true within " + TIMEOUT);
      }
      LockSupport.parkNanos(100_000);
    }
  }

  @Override
  public void close() {
    factory.close().block(TIMEOUT);
    if (factory.stats().lockedBytes() != 0 || factory.stats().liveSecrets() != 0) {
      throw new AssertionError("memory is left after close(): " + factory.stats());
    }
  }
}
