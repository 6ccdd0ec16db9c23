package io.asherah.reactive.testsupport;

import java.time.Duration;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/** Waits for what happens on another thread. */
public final class Await {
  /** How long a test waits for anything before it fails; longer on an emulated processor. */
  public static final Duration TIMEOUT =
      Duration.ofSeconds(Boolean.getBoolean("test.emulated") ? 100 : 30);

  private Await() {}

  /**
   * Returns when the condition is true, or fails after {@link #TIMEOUT}.
   *
   * @param condition asked again and again
   */
  public static void until(BooleanSupplier condition) {
    until(TIMEOUT, condition);
  }

  /**
   * Returns when the condition is true, or fails.
   *
   * @param timeout how long it may take
   * @param condition asked again and again
   */
  public static void until(Duration timeout, BooleanSupplier condition) {
    long deadline = System.nanoTime() + timeout.toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() - deadline > 0) {
        throw new AssertionError("the condition did not come true within " + timeout);
      }
      LockSupport.parkNanos(100_000);
    }
  }
}
