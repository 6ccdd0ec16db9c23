package io.asherah.reactive.testkit;

import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.LongSupplier;
import reactor.test.scheduler.VirtualTimeScheduler;

/**
 * Time that stands still until a test lets it pass: a wall clock, a ticker and a scheduler that
 * agree with each other. For a session factory:
 *
 * <pre>{@code
 * TestTime time = TestTime.startingAt(Instant.parse("2026-03-12T12:58:20Z"));
 * SessionFactory.builder("product", "service")
 *     ...
 *     .clock(time.clock())
 *     .ticker(time.ticker())
 *     .timerScheduler(time.scheduler())
 *     .build();
 * time.advance(Duration.ofHours(1));
 * }</pre>
 *
 * <p>Safe for use by many threads. Two that advance at once add up.
 */
public final class TestTime {
  private final Instant start;
  private final VirtualTimeScheduler scheduler = VirtualTimeScheduler.create();
  private final AtomicLong advancedNanos = new AtomicLong();
  private final AtomicLong passedNanos = new AtomicLong();
  private final AtomicReference<Duration> wallClockShift = new AtomicReference<>(Duration.ZERO);

  private TestTime(Instant start) {
    this.start = start;
  }

  /**
   * Makes time that stands still.
   *
   * @param start what the wall clock shows at first
   * @return new time, on whose scheduler nothing is planned
   */
  public static TestTime startingAt(Instant start) {
    return new TestTime(Objects.requireNonNull(start, "start"));
  }

  /**
   * The wall clock: the start, and what has passed and was shifted since.
   *
   * @return a clock in UTC; all of them show the same
   */
  public Clock clock() {
    return new WallClock(ZoneOffset.UTC);
  }

  /**
   * The monotonic clock.
   *
   * @return what counts the nanoseconds that have passed, from zero; it never goes back
   */
  public LongSupplier ticker() {
    return this::passed;
  }

  /**
   * The scheduler: a task runs when the time it is planned for is reached, on the thread that calls
   * {@link #advance}; one without delay runs at once, on the thread that plans it. It is not the
   * scheduler of operators that name none; install it with {@link VirtualTimeScheduler#set} for
   * that.
   *
   * @return always the same scheduler, which must not be disposed
   */
  public VirtualTimeScheduler scheduler() {
    return scheduler;
  }

  /**
   * Lets time pass on clock, ticker and scheduler. Runs the tasks that become due, in order, each
   * at the time it is planned for, and returns after the last one; what a task throws is dealt with
   * as on every scheduler. Where another thread plans a task at that moment, tasks may run on that
   * thread instead, and after this has returned. While tasks run, other threads may see the time
   * already that is reached in the end; when this returns, clock and ticker show it.
   *
   * @param duration how much, zero or more
   * @throws IllegalArgumentException if it is negative
   */
  public void advance(Duration duration) {
    if (duration.isNegative()) {
      throw new IllegalArgumentException("time cannot go back, was to advance by " + duration);
    }
    long reached = advancedNanos.addAndGet(duration.toNanos());
    scheduler.advanceTimeBy(duration);
    // Where another thread plans a task meanwhile, the scheduler leaves it to that one to arrive.
    passedNanos.accumulateAndGet(reached, Math::max);
  }

  /**
   * Sets the wall clock forward or back, as an administrator or a time service may, while no time
   * passes: ticker and scheduler stay where they are.
   *
   * @param shift how much to add to what the wall clock shows; may be negative
   */
  public void shiftWallClock(Duration shift) {
    wallClockShift.accumulateAndGet(shift, Duration::plus);
  }

  /** The scheduler's own time goes back for a moment when it starts to run tasks. */
  private long passed() {
    return passedNanos.accumulateAndGet(scheduler.now(TimeUnit.NANOSECONDS), Math::max);
  }

  @Override
  public String toString() {
    return "TestTime[%s]".formatted(clock().instant());
  }

  private final class WallClock extends Clock {
    private final ZoneId zone;

    private WallClock(ZoneId zone) {
      this.zone = zone;
    }

    @Override
    public ZoneId getZone() {
      return zone;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      return new WallClock(Objects.requireNonNull(zone, "zone"));
    }

    @Override
    public Instant instant() {
      return start.plusNanos(passed()).plus(wallClockShift.get());
    }
  }
}
