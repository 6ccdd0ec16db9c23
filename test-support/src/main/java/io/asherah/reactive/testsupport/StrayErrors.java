package io.asherah.reactive.testsupport;

import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import reactor.core.publisher.Hooks;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

/**
 * Fails a test during which a task of a scheduler failed or an error was dropped: such an error
 * reaches no subscriber, and a blocking call that BlockHound found there would go unnoticed. Also
 * gives every {@code StepVerifier} a time-out. JUnit finds this extension by itself in every module
 * that has this one among its test dependencies.
 */
public final class StrayErrors implements BeforeAllCallback, AfterEachCallback {
  private static final Queue<Throwable> errors = new ConcurrentLinkedQueue<>();

  /** Called by JUnit. */
  public StrayErrors() {}

  @Override
  public void beforeAll(ExtensionContext context) {
    Schedulers.onHandleError(StrayErrors.class.getName(), (thread, error) -> errors.add(error));
    Hooks.onErrorDropped(errors::add);
    StepVerifier.setDefaultTimeout(Await.TIMEOUT);
  }

  @Override
  public void afterEach(ExtensionContext context) {
    Throwable error = errors.poll();
    if (error != null) {
      errors.clear();
      throw new AssertionError(
          "an error reached nobody, in this test or one before it: " + error, error);
    }
  }
}
