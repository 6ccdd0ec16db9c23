package io.asherah.reactive.testservers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.ChildJvm;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Servers of a JVM that ends. */
class ExitIT {
  /** Starts a server of every kind that it can; an argument makes it end by itself. */
  public static final class Servers {
    private Servers() {}

    public static void main(String[] arguments) throws InterruptedException {
      List<DatabaseServer> servers = shared();
      if (PostgreSqlServer.unavailable().isEmpty()) {
        servers.add(PostgreSqlServer.start());
      }
      servers.forEach(server -> System.out.println("DATA " + server.data()));
      System.out.println("READY");
      if (arguments.length == 0) {
        Thread.sleep(Long.MAX_VALUE);
      }
    }

    static List<DatabaseServer> shared() {
      List<DatabaseServer> servers = new ArrayList<>();
      if (PostgreSqlServer.unavailable().isEmpty()) {
        servers.add(PostgreSqlServer.shared());
      }
      if (MariaDbServer.unavailable().isEmpty()) {
        servers.add(MariaDbServer.shared());
      }
      if (MySqlServer.unavailable().isEmpty()) {
        servers.add(MySqlServer.shared());
      }
      return servers;
    }
  }

  // In the directory of the module, whose unpacked servers it uses.
  private static final Path DIRECTORY = Path.of("").toAbsolutePath();

  @BeforeAll
  static void unpackWhatTheFirstUseUnpacks() {
    Servers.shared();
  }

  @Test
  void aJvm_endsByItself_leavesNoServer() throws Exception {
    ChildJvm.Ended ended = ChildJvm.main(Servers.class, "end").run(DIRECTORY);

    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    for (String data : data(ended.out())) {
      assertThat(processes(data)).isEmpty();
      assertThat(Path.of(data).getParent()).doesNotExist();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"TERM", "KILL"})
  void aJvm_endsByASignal_leavesNoServer(String signal) throws Exception {
    try (ChildJvm.Running running = ChildJvm.main(Servers.class).start(DIRECTORY)) {
      running.awaitLine("READY");
      List<String> data = data(running.out());
      assumeTrue(!data.isEmpty(), "no server runs here");
      for (String one : data) {
        assertThat(processes(one)).isNotEmpty();
      }

      running.signal(signal);
      running.await();

      for (String one : data) {
        Await.until(() -> processes(one).isEmpty());
        Await.until(() -> !Files.exists(Path.of(one).getParent()));
      }
    }
  }

  private static List<String> data(List<String> lines) {
    return lines.stream()
        .filter(line -> line.startsWith("DATA "))
        .map(line -> line.substring("DATA ".length()))
        .toList();
  }

  private static List<String> processes(String data) {
    return DatabaseServerContract.processes(data);
  }
}
