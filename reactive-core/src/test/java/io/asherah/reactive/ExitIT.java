package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.ChildJvm;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.publisher.Mono;

/**
 * Ends a JVM in which sixteen threads encrypt. Whatever record a thread was given before its keys
 * were wiped opens, here, with the keys that the child stored; after that each thread is told an
 * error.
 */
class ExitIT {
  private static final int THREADS = 16;
  private static final int PARTITIONS = 4;
  private static final long ENOUGH = 2_000;
  private static final String FILE = "records";

  /** Who ends the child, and how. */
  enum End {
    /** A signal, and nobody closes anything. */
    SIGNAL,
    /** A signal, and a hook of the program closes what it made, after more work. */
    SIGNAL_AND_HOOK,
    /** The program purges all secrets, and exits. */
    PURGE
  }

  /** Encrypts on many threads until that fails. */
  static final class Child {
    private static final int EXIT_CODE = 7;

    private static final AtomicLong written = new AtomicLong();

    public static void main(String[] arguments) throws Exception {
      End end = End.valueOf(arguments[0]);
      PrintStream records = new PrintStream(FILE, StandardCharsets.UTF_8);
      SecretFactory secrets =
          SecretFactory.builder()
              .shutdownGrace(
                  // With the hook, nobody need wait so long.
                  end == End.SIGNAL_AND_HOOK ? Duration.ofHours(1) : Duration.ofMillis(500))
              .build();
      SessionFactory factory =
          SessionFactory.builder("product", "service")
              .metastore(StoredKeys.telling(records::println))
              .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
              .secretFactory(secrets)
              .build();
      List<Thread> threads = new ArrayList<>();
      for (int i = 0; i < THREADS; i++) {
        int number = i;
        Thread thread = new Thread(() -> encrypt(factory, number, records));
        thread.setDaemon(true);
        threads.add(thread);
        thread.start();
      }
      Await.until(() -> written.get() > ENOUGH);
      Runtime.getRuntime()
          .addShutdownHook(
              new Thread(
                  () -> {
                    if (end == End.SIGNAL_AND_HOOK) {
                      long before = written.get();
                      Await.until(() -> written.get() > before + ENOUGH);
                      factory.close().then(secrets.close()).block(Await.TIMEOUT);
                    }
                    // So that they are heard before the JVM ends.
                    Await.until(() -> threads.stream().noneMatch(Thread::isAlive));
                    System.out.println("written " + written.get());
                    // What a purge ends is wiped on other threads.
                    Await.until(() -> secrets.stats().liveSecrets() == 0);
                    System.out.println("left " + secrets.stats().liveSecrets());
                  }));
      System.out.println("working");
      if (end == End.PURGE) {
        SecretFactory.purgeAll().block(Await.TIMEOUT);
        System.out.println("purged");
        System.exit(EXIT_CODE);
      }
      Mono.never().block();
    }

    private static void encrypt(SessionFactory factory, int thread, PrintStream records) {
      Session session = factory.session("p" + thread % PARTITIONS);
      DataRowRecord first = get(session.encrypt(utf8("first")));
      try {
        for (int i = 0; ; i++) {
          String payload = "payload-" + thread + "-" + i;
          DataRowRecord record = get(session.encrypt(utf8(payload)));
          records.println(payload + " " + new String(record.toJson(), StandardCharsets.UTF_8));
          written.incrementAndGet();
        }
      } catch (RuntimeException e) {
        System.out.println("ended " + describe(e));
        // And so is who comes later, whatever it asks for.
        System.out.println("decrypt " + describe(failureOf(session.decrypt(first))));
        System.out.println(
            "other " + describe(failureOf(factory.session("another").encrypt(utf8("too late")))));
      }
    }

    private static Throwable failureOf(Mono<?> late) {
      return get(
          late.<Throwable>map(result -> new AssertionError("it did not fail"))
              .onErrorResume(Mono::just));
    }

    private static String describe(Throwable e) {
      boolean isRetryable = e instanceof AppEncryptionException failure && failure.isRetryable();
      return e.getClass().getSimpleName()
          + (isRetryable ? ", retryable: " : ", for good: ")
          + e.getMessage();
    }
  }

  @Test
  void signal_wipesAfterTheGrace_andNoRecordWasSealedUnderWipedBytes(@TempDir Path directory)
      throws IOException {
    ChildJvm.Ended ended = endedBySignal(directory, End.SIGNAL);

    assertThat(ended.exitCode()).as("%s", ended).isEqualTo(143);
    assertThat(ended.err()).anyMatch(line -> line.contains("was not closed within PT0.5S"));
    assertEveryThreadWasTold(ended, KeyClosedException.class);
    assertEveryRecordOpens(directory, ended);
  }

  @Test
  void signal_waitsForTheHookThatClosesTheFactory(@TempDir Path directory) throws IOException {
    ChildJvm.Ended ended = endedBySignal(directory, End.SIGNAL_AND_HOOK);

    assertThat(ended.exitCode()).as("%s", ended).isEqualTo(143);
    assertThat(ended.err()).noneMatch(line -> line.contains("was not closed"));
    assertEveryThreadWasTold(ended, FactoryClosedException.class);
    assertEveryRecordOpens(directory, ended);
  }

  @Test
  void purge_leavesTheExitCodeToTheProgram(@TempDir Path directory) throws IOException {
    ChildJvm.Ended ended = ChildJvm.main(Child.class, End.PURGE.name()).run(directory);

    assertThat(ended.exitCode()).as("%s", ended).isEqualTo(Child.EXIT_CODE);
    assertThat(ended.out()).contains("purged");
    assertEveryThreadWasTold(ended, KeyClosedException.class);
    assertEveryRecordOpens(directory, ended);
  }

  private static ChildJvm.Ended endedBySignal(Path directory, End end) {
    try (ChildJvm.Running child = ChildJvm.main(Child.class, end.name()).start(directory)) {
      child.awaitLine("working");
      child.signal("TERM");
      return child.await();
    }
  }

  private static void assertEveryThreadWasTold(
      ChildJvm.Ended ended, Class<? extends AppEncryptionException> error) {
    for (String when : List.of("ended ", "decrypt ", "other ")) {
      assertThat(ended.out().stream().filter(line -> line.startsWith(when)))
          .hasSize(THREADS)
          .allMatch(line -> line.startsWith(when + error.getSimpleName() + ", for good: "));
    }
    System.err.printf(
        "ExitIT: %s%n",
        ended.out().stream().filter(line -> line.startsWith("ended ")).distinct().toList());
  }

  private static void assertEveryRecordOpens(Path directory, ChildJvm.Ended ended)
      throws IOException {
    assertThat(ended.crashReport()).isEmpty();
    StoredKeys stored = new StoredKeys();
    List<String> lines = Files.readAllLines(directory.resolve(FILE));
    lines.forEach(stored::read);
    long opened = 0;
    for (String line : lines) {
      if (line.startsWith("payload-")) {
        String[] parts = line.split(" ", 2);
        DataRowRecord record = DataRowRecord.fromJson(utf8(parts[1]));
        assertThat(new String(stored.payload(record), StandardCharsets.UTF_8)).isEqualTo(parts[0]);
        opened++;
      }
    }
    assertThat(opened).isGreaterThan(ENOUGH);
    assertThat(ended.out()).contains("written " + opened, "left 0");
  }
}
