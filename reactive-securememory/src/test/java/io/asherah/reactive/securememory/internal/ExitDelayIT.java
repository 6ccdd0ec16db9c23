package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.ChildJvm;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Which programs the end of the JVM waits for, and what it leaves to those that go on meanwhile.
 */
class ExitDelayIT {
  private static final Duration GRACE = Duration.ofSeconds(20);

  /** The program of the child. */
  static final class Child {
    private enum What {
      LEFT_OPEN_BUT_EMPTY,
      CLOSED,
      FIRST_SECRET_DURING_SHUTDOWN,
      SECRET_AFTER_THE_WIPE
    }

    private static SecretFactory factory() {
      return SecretFactory.builder().shutdownGrace(GRACE).build();
    }

    private static Secret secret(SecretFactory factory) {
      return Objects.requireNonNull(factory.create(new byte[] {42}).block(Await.TIMEOUT));
    }

    private static void atShutdown(Runnable hook) {
      Runtime.getRuntime().addShutdownHook(new Thread(hook));
    }

    public static void main(String[] arguments) {
      switch (What.valueOf(arguments[0])) {
        case LEFT_OPEN_BUT_EMPTY -> secret(factory()).close();
        case CLOSED -> {
          SecretFactory factory = factory();
          secret(factory);
          factory.close().block(Await.TIMEOUT);
        }
        case FIRST_SECRET_DURING_SHUTDOWN -> {
          SecretFactory other = factory();
          Secret kept = secret(other);
          SecretFactory late = factory();
          CountDownLatch made = new CountDownLatch(1);
          atShutdown(
              () -> {
                Secret secret = secret(late);
                made.countDown();
                other.close().block(Await.TIMEOUT);
                // The hook of the library has had many looks at what is left.
                sleep(500);
                System.out.println("late " + secret.withBytes(b -> b[0]).block(Await.TIMEOUT));
                late.close().block(Await.TIMEOUT);
              });
          System.out.println("kept " + kept.length());
        }
        case SECRET_AFTER_THE_WIPE -> {
          SecretFactory factory = factory();
          secret(factory).close();
          SecretFactory unused = factory();
          atShutdown(
              () -> {
                Await.until(factory::isClosed);
                String refusal = "none";
                try {
                  secret(unused);
                } catch (RuntimeException e) {
                  refusal = e.getClass().getSimpleName();
                }
                System.out.println("refused " + refusal + ", closed " + unused.isClosed());
              });
        }
      }
      System.out.printf(Locale.ROOT, "main ends%n");
    }

    private static void sleep(long millis) {
      try {
        Thread.sleep(millis);
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }
  }

  private static ChildJvm.Ended run(Path directory, Child.What what) {
    long start = System.nanoTime();
    ChildJvm.Ended ended = ChildJvm.main(Child.class, what.name()).run(directory);
    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(GRACE);
    assertThat(ended.err()).noneMatch(line -> line.contains("was not closed within"));
    return ended;
  }

  @Test
  void factoryWithoutSecrets_isNotWaitedFor(@TempDir Path directory) {
    run(directory, Child.What.LEFT_OPEN_BUT_EMPTY);
  }

  @Test
  void closedFactory_isNotWaitedFor(@TempDir Path directory) {
    run(directory, Child.What.CLOSED);
  }

  @Test
  void factoryThatGetsItsFirstSecretDuringTheShutdown_hasItsGraceToo(@TempDir Path directory) {
    assertThat(run(directory, Child.What.FIRST_SECRET_DURING_SHUTDOWN).out()).contains("late 42");
  }

  @Test
  void secretThatWouldNotBeWiped_isNotMade(@TempDir Path directory) {
    assertThat(run(directory, Child.What.SECRET_AFTER_THE_WIPE).out())
        .contains("refused SecretClosedException, closed true");
  }
}
