package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import reactor.core.scheduler.Schedulers;
import reactor.test.scheduler.VirtualTimeScheduler;

/** A secret factory on recorded memory, whose time passes only when the test says so. */
final class Memory implements AutoCloseable {

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

  @Override
  public void close() {
    factory.close().block(Await.TIMEOUT);
    if (factory.stats().lockedBytes() != 0 || factory.stats().liveSecrets() != 0) {
      throw new AssertionError("memory is left after close(): " + factory.stats());
    }
  }
}
