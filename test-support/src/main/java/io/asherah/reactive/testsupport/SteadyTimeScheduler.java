package io.asherah.reactive.testsupport;

import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import reactor.test.scheduler.VirtualTimeScheduler;

/**
 * Virtual time that never goes back, and has come as far as it was advanced when that returns.
 * Reactor's is behind for a moment where another thread plans a task meanwhile.
 */
public final class SteadyTimeScheduler extends VirtualTimeScheduler {
  private final AtomicLong advancedNanos = new AtomicLong();
  private final AtomicLong seenNanos = new AtomicLong();

  /** Makes time that stands at zero. */
  public SteadyTimeScheduler() {
    super(false);
  }

  @Override
  public void advanceTimeBy(Duration delayTime) {
    long reached = advancedNanos.addAndGet(delayTime.toNanos());
    super.advanceTimeBy(delayTime);
    seenNanos.accumulateAndGet(reached, Math::max);
  }

  @Override
  public long now(TimeUnit unit) {
    return unit.convert(
        seenNanos.accumulateAndGet(super.now(TimeUnit.NANOSECONDS), Math::max),
        TimeUnit.NANOSECONDS);
  }
}
