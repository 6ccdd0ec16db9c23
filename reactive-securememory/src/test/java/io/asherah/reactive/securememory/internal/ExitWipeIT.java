package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.LimitPolicy;
import io.asherah.reactive.securememory.MemfdSecret;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.ChildJvm;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Schedulers;

/**
 * Ends a JVM while 16 threads read and create secrets, and looks for these in what it leaves: its
 * locked memory is that of a file.
 */
class ExitWipeIT {
  private static final int THREADS = 16;

  /** No secret has other bytes than these, over and over. */
  private static final byte[] WORD =
      ByteBuffer.allocate(8).order(ByteOrder.BIG_ENDIAN).putLong(0x5ec2e7_a11ce_0b0b1L).array();

  /** Signals that whoever started the tests ignores would be ignored by the child, too. */
  private static final String WITH_ALL_SIGNALS =
      "if env --default-signal=HUP true 2>/dev/null;"
          + " then exec env --default-signal=HUP,INT,TERM \"$@\"; else exec \"$@\"; fi";

  /** The program of the child. */
  static final class Child {
    private static byte[] secret(int length) {
      byte[] secret = new byte[length];
      for (int i = 0; i < length; i++) {
        secret[i] = WORD[i % WORD.length];
      }
      return secret;
    }

    private static SecretFactory factory(Path file, Duration grace) {
      return new LockedSecretFactory(
          new SharedFileMemory(file),
          new MemorySettings(
              Duration.ofMillis(1), 1_024, 0, LimitPolicy.FAIL, MemfdSecret.OFF, grace),
          System::nanoTime,
          null,
          Schedulers.parallel());
    }

    public static void main(String[] arguments) throws InterruptedException {
      Path directory = Path.of(arguments[1]);
      SecretFactory factory = factory(directory.resolve("memory"), Duration.parse(arguments[2]));
      List<Secret> secrets =
          new CopyOnWriteArrayList<>(
              Flux.range(0, 600)
                  .flatMapSequential(i -> factory.create(secret(i == 0 ? 40_000 : 32)))
                  .collectList()
                  .block(Await.TIMEOUT));
      for (int i = 0; i < THREADS; i++) {
        Thread thread = new Thread(() -> work(factory, secrets), "worker");
        thread.setDaemon(true);
        thread.start();
      }
      if (arguments[0].equals("purge")) {
        say("ready");
        Await.until(() -> Files.exists(directory.resolve("purge")));
        SecretFactory.purgeAll().block(Await.TIMEOUT);
        tellWhatIsLeft(factory, secrets);
        Await.until(() -> Files.exists(directory.resolve("end")));
        System.exit(7);
      }
      Secret first = secrets.get(0);
      Runtime.getRuntime()
          .addShutdownHook(
              new Thread(
                  () -> {
                    say("hook " + first.withBytes(copy -> copy.length).block(Await.TIMEOUT));
                    if (arguments[0].equals("close")) {
                      factory.close().block(Await.TIMEOUT);
                    }
                  }));
      say("ready");
      Thread.currentThread().join();
    }

    private static void tellWhatIsLeft(SecretFactory factory, List<Secret> secrets) {
      int closed = 0;
      int refused = 0;
      for (Secret secret : secrets) {
        closed += secret.isClosed() ? 1 : 0;
        try {
          secret.withBytes(copy -> copy.length).block(Await.TIMEOUT);
        } catch (SecretClosedException e) {
          refused++;
        }
      }
      SecretFactory later = SecretFactory.builder().build();
      Integer length =
          later
              .create(new byte[32])
              .flatMap(secret -> secret.withBytes(copy -> copy.length))
              .block(Await.TIMEOUT);
      later.close().block(Await.TIMEOUT);
      say(
          "purged of %d: closed %d, refused %d; live %d, locked %d; a later factory reads %d"
              .formatted(
                  secrets.size(),
                  closed,
                  refused,
                  factory.stats().liveSecrets(),
                  factory.stats().lockedBytes(),
                  length));
    }

    private static void work(SecretFactory factory, List<Secret> secrets) {
      try {
        while (true) {
          int length = ThreadLocalRandom.current().nextInt(100) == 0 ? 20_000 : 32;
          Secret created = factory.create(secret(length)).block(Await.TIMEOUT);
          secrets
              .get(ThreadLocalRandom.current().nextInt(secrets.size()))
              .withBytes(copy -> check(copy))
              .block(Await.TIMEOUT);
          created.close();
        }
      } catch (SecretClosedException e) {
        // As it should be.
      } catch (RuntimeException | Error e) {
        say("WRONG " + e);
      }
    }

    private static int check(byte[] copy) {
      if (!Arrays.equals(copy, secret(copy.length))) {
        say("WRONG bytes");
      }
      return copy.length;
    }

    private static synchronized void say(String line) {
      System.out.println(line);
      System.out.flush();
    }
  }

  private static ChildJvm.Running start(Path directory, String what, String grace) {
    ChildJvm.Running running =
        ChildJvm.main(Child.class, what, directory.toString(), grace)
            .through(WITH_ALL_SIGNALS)
            .start(directory);
    running.awaitLine("ready");
    assertThat(words(directory)).as("words of secrets while they are there").isGreaterThan(2_000);
    return running;
  }

  /** How many words of secrets lie in the memory of the child. */
  private static int words(Path directory) {
    byte[] memory;
    try {
      memory = Files.readAllBytes(directory.resolve("memory"));
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    int words = 0;
    for (int i = 0; i + WORD.length <= memory.length; i++) {
      if (memory[i] == WORD[0] && Arrays.equals(memory, i, i + WORD.length, WORD, 0, WORD.length)) {
        words++;
      }
    }
    return words;
  }

  private static void assertWiped(Path directory, ChildJvm.Ended ended, int exitCode) {
    assertThat(ended.exitCode()).as(ended.toString()).isEqualTo(exitCode);
    assertThat(ended.crashReport()).isEmpty();
    assertThat(ended.out()).noneMatch(line -> line.startsWith("WRONG"));
    assertThat(ended.err()).noneMatch(line -> line.contains("could not be wiped"));
    assertThat(words(directory)).as("words of secrets that are left").isZero();
  }

  @ParameterizedTest
  @CsvSource({"TERM, 143", "INT, 130", "HUP, 129"})
  void signal_wipesAllSecrets(String signal, int exitCode, @TempDir Path directory) {
    try (ChildJvm.Running running = start(directory, "wait", "PT0.1S")) {
      running.signal(signal);
      ChildJvm.Ended ended = running.await();

      assertWiped(directory, ended, exitCode);
      assertThat(ended.err())
          .filteredOn(line -> line.contains("was not closed within PT0.1S of the JVM's shutdown"))
          .hasSize(1);
    }
  }

  /** Without this one the others could be green because nothing is ever found. */
  @Test
  void kill_leavesThem(@TempDir Path directory) {
    try (ChildJvm.Running running = start(directory, "wait", "PT0.1S")) {
      running.signal("KILL");
      ChildJvm.Ended ended = running.await();

      assertThat(ended.exitCode()).isEqualTo(137);
      assertThat(words(directory)).isGreaterThan(2_000);
    }
  }

  @Test
  void factoryThatIsNotClosed_canBeReadForTheGrace_andNotLonger(@TempDir Path directory) {
    try (ChildJvm.Running running = start(directory, "wait", "PT3S")) {
      long start = System.nanoTime();
      running.signal("TERM");
      ChildJvm.Ended ended = running.await();
      Duration took = Duration.ofNanos(System.nanoTime() - start);

      assertWiped(directory, ended, 143);
      assertThat(ended.out()).contains("hook 40000");
      assertThat(took).isBetween(Duration.ofSeconds(3), Duration.ofSeconds(20));
    }
  }

  @Test
  void factoryThatIsClosedByAHook_isNotWaitedFor(@TempDir Path directory) {
    try (ChildJvm.Running running = start(directory, "close", "PT1H")) {
      long start = System.nanoTime();
      running.signal("TERM");
      ChildJvm.Ended ended = running.await();

      assertWiped(directory, ended, 143);
      assertThat(ended.out()).contains("hook 40000");
      assertThat(ended.err()).noneMatch(line -> line.contains("was not closed within"));
      assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(20));
    }
  }

  @Test
  void purgeAll_wipesAllSecrets_andTheProgramGoesOn(@TempDir Path directory) throws IOException {
    try (ChildJvm.Running running = start(directory, "purge", "PT1H")) {
      Files.createFile(directory.resolve("purge"));

      assertThat(running.awaitLine("purged"))
          .isEqualTo(
              "purged of 600: closed 600, refused 600; live 0, locked 0; a later factory reads 32");
      assertThat(words(directory)).as("words of secrets that are left").isZero();
      Files.createFile(directory.resolve("end"));
      assertWiped(directory, running.await(), 7);
    }
  }
}
