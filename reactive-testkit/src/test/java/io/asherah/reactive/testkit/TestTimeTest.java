package io.asherah.reactive.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.scheduler.VirtualTimeScheduler;

class TestTimeTest {
  private static final Instant START = Instant.parse("2026-03-12T12:58:20Z");

  private final TestTime time = TestTime.startingAt(START);

  @Test
  void time_standsStill() {
    assertThat(time.clock().instant()).isEqualTo(START);
    assertThat(time.clock().getZone()).isEqualTo(ZoneOffset.UTC);
    assertThat(time.ticker().getAsLong()).isZero();
    assertThat(time).hasToString("TestTime[2026-03-12T12:58:20Z]");
  }

  @Test
  void advance_movesAllThree() {
    time.advance(Duration.ofMillis(1_500));
    time.advance(Duration.ofNanos(1));

    Duration passed = Duration.ofMillis(1_500).plusNanos(1);
    assertThat(time.clock().instant()).isEqualTo(START.plus(passed));
    assertThat(time.ticker().getAsLong()).isEqualTo(passed.toNanos());
    assertThat(time.scheduler().now(TimeUnit.NANOSECONDS)).isEqualTo(passed.toNanos());
  }

  @Test
  void advance_runsWhatIsDue_eachAtItsTime() {
    List<Instant> ran = new ArrayList<>();
    for (int seconds : new int[] {5, 1, 3}) {
      time.scheduler().schedule(() -> ran.add(time.clock().instant()), seconds, TimeUnit.SECONDS);
    }

    time.advance(Duration.ofSeconds(3));
    assertThat(ran).containsExactly(START.plusSeconds(1), START.plusSeconds(3));
    time.advance(Duration.ofHours(1));
    assertThat(ran).last().isEqualTo(START.plusSeconds(5));
  }

  @Test
  void advance_timesOutWhatIsTimedByTheScheduler() {
    StepVerifier.create(Mono.never().timeout(Duration.ofDays(1), time.scheduler()))
        .expectSubscription()
        .then(() -> time.advance(Duration.ofDays(1)))
        .verifyError(TimeoutException.class);
  }

  @Test
  void advanceBack_isRefused() {
    assertThatThrownBy(() -> time.advance(Duration.ofNanos(-1)))
        .isInstanceOf(IllegalArgumentException.class);
    time.advance(Duration.ZERO);
    assertThat(time.ticker().getAsLong()).isZero();
  }

  @Test
  void shiftedWallClock_leavesTickerAndScheduler() {
    List<String> ran = new ArrayList<>();
    time.scheduler().schedule(() -> ran.add("task"), 1, TimeUnit.HOURS);

    time.shiftWallClock(Duration.ofDays(2));
    assertThat(time.clock().instant()).isEqualTo(START.plus(Duration.ofDays(2)));
    time.shiftWallClock(Duration.ofDays(-3));
    assertThat(time.clock().instant()).isEqualTo(START.minus(Duration.ofDays(1)));

    assertThat(time.ticker().getAsLong()).isZero();
    assertThat(ran).isEmpty();
    time.advance(Duration.ofHours(1));
    assertThat(ran).containsExactly("task");
    assertThat(time.clock().instant()).isEqualTo(START.minus(Duration.ofHours(23)));
  }

  @Test
  void clockOfAnotherZone_showsTheSameInstant() {
    var clock = time.clock().withZone(ZoneId.of("Asia/Tokyo"));
    time.advance(Duration.ofSeconds(1));
    assertThat(clock.getZone()).isEqualTo(ZoneId.of("Asia/Tokyo"));
    assertThat(clock.instant()).isEqualTo(START.plusSeconds(1));
  }

  @Test
  void advance_whileAnotherThreadPlans_hasArrivedWhenItReturns() throws Exception {
    AtomicBoolean stopped = new AtomicBoolean();
    Thread planner =
        new Thread(
            () -> {
              while (!stopped.get()) {
                time.scheduler().schedule(() -> {}, 1, TimeUnit.DAYS).dispose();
              }
            });
    planner.start();
    try {
      for (int i = 1; i <= 300_000; i++) {
        time.advance(Duration.ofNanos(1));
        assertThat(time.ticker().getAsLong()).isEqualTo(i);
      }
    } finally {
      stopped.set(true);
      planner.join();
    }
  }

  @Test
  void scheduler_isNotInstalledForOthers() {
    assertThat(VirtualTimeScheduler.isFactoryEnabled()).isFalse();
  }

  @Test
  void ticker_neverGoesBack_whileOthersAdvance() {
    // Tasks that take a moment, during which the scheduler shows a time before the one it goes to.
    time.scheduler()
        .schedulePeriodically(
            () -> IntStream.range(0, 200).forEach(i -> time.ticker().getAsLong()),
            1,
            1,
            TimeUnit.MILLISECONDS);
    AtomicBoolean isOver = new AtomicBoolean();
    Mono<Void> advancing =
        Flux.range(0, 20_000)
            .doOnNext(i -> time.advance(Duration.ofMillis(3)))
            .doFinally(end -> isOver.set(true))
            .then()
            .subscribeOn(Schedulers.parallel());
    Mono<Long> wentBack =
        Mono.fromSupplier(
                () -> {
                  long times = 0;
                  for (long before = 0; !isOver.get(); ) {
                    long now = time.ticker().getAsLong();
                    times += now < before ? 1 : 0;
                    before = now;
                  }
                  return times;
                })
            .subscribeOn(Schedulers.parallel());

    StepVerifier.create(Mono.zip(wentBack, advancing.thenReturn(true)))
        .assertNext(results -> assertThat(results.getT1()).isZero())
        .verifyComplete();
    assertThat(time.ticker().getAsLong()).isEqualTo(Duration.ofSeconds(60).toNanos());
  }
}
