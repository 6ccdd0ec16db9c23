package io.asherah.reactive.micrometer;

import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import java.util.concurrent.TimeUnit;

/** A timer for what succeeded and one for what failed. */
record OutcomeTimer(Timer success, Timer error) {

  static OutcomeTimer register(MeterRegistry registry, String name, Tags tags, String description) {
    return new OutcomeTimer(
        timer(registry, name, tags.and("outcome", "success"), description),
        timer(registry, name, tags.and("outcome", "error"), description));
  }

  private static Timer timer(MeterRegistry registry, String name, Tags tags, String description) {
    return Timer.builder(name).description(description).tags(tags).register(registry);
  }

  void record(long nanos, boolean isSuccess) {
    (isSuccess ? success : error).record(nanos, TimeUnit.NANOSECONDS);
  }
}
