package io.asherah.reactive.testsupport;

import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;

/**
 * Prints why a test, or a class of them, was skipped, which a runner only counts. JUnit finds this
 * listener by itself in every module that has this one among its test dependencies.
 */
public final class SkippedTests implements TestExecutionListener {

  /** Called by JUnit. */
  public SkippedTests() {}

  @Override
  public void executionSkipped(TestIdentifier test, String reason) {
    print(test, reason);
  }

  @Override
  public void executionFinished(TestIdentifier test, TestExecutionResult result) {
    if (result.getStatus() == TestExecutionResult.Status.ABORTED) {
      print(test, result.getThrowable().map(Throwable::getMessage).orElse("no reason was given"));
    }
  }

  private static void print(TestIdentifier test, String reason) {
    System.err.printf("SKIPPED %s: %s%n", name(test), reason);
  }

  private static String name(TestIdentifier test) {
    TestSource source = test.getSource().orElse(null);
    if (source instanceof MethodSource method) {
      return method.getJavaClass().getSimpleName() + "." + test.getDisplayName();
    }
    return source instanceof ClassSource type
        ? type.getJavaClass().getSimpleName()
        : test.getDisplayName();
  }
}
