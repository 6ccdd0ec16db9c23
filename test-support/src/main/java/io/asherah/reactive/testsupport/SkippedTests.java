package io.asherah.reactive.testsupport;

import java.util.Optional;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.TestWatcher;

/**
 * Prints why a test was skipped, which a runner only counts. JUnit finds this extension by itself
 * in every module that has this one among its test dependencies.
 */
public final class SkippedTests implements TestWatcher {

  /** Called by JUnit. */
  public SkippedTests() {}

  @Override
  public void testDisabled(ExtensionContext context, Optional<String> reason) {
    print(context, reason.orElse("no reason was given"));
  }

  @Override
  public void testAborted(ExtensionContext context, Throwable cause) {
    print(context, String.valueOf(cause.getMessage()));
  }

  private static void print(ExtensionContext context, String reason) {
    System.err.printf(
        "SKIPPED %s.%s: %s%n",
        context.getRequiredTestClass().getSimpleName(), context.getDisplayName(), reason);
  }
}
