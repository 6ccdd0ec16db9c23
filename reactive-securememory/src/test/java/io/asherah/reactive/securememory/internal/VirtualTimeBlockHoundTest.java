package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Schedulers;
import reactor.test.scheduler.VirtualTimeScheduler;

/** The virtual time of tests is no blocking call of the library, though its queue has a lock. */
class VirtualTimeBlockHoundTest {

  @Test
  void planningAndCancellingOnEventLoops_whileTimePasses_isNotReported() {
    VirtualTimeScheduler time = VirtualTimeScheduler.create();
    AtomicBoolean done = new AtomicBoolean();
    Flux.range(0, 4)
        .parallel(4)
        .runOn(Schedulers.parallel())
        .doOnNext(
            i -> {
              for (int round = 0; round < 50_000; round++) {
                time.schedule(() -> {}, round, TimeUnit.SECONDS).dispose();
              }
            })
        .sequential()
        .doOnTerminate(() -> done.set(true))
        .subscribe();

    long deadline = System.nanoTime() + Await.TIMEOUT.toNanos();
    while (!done.get() && System.nanoTime() - deadline < 0) {
      time.advanceTimeBy(Duration.ofMillis(1));
    }

    assertThat(done).isTrue();
  }
}
