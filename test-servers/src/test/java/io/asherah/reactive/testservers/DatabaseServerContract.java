package io.asherah.reactive.testservers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.asherah.reactive.testsupport.Await;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What is true of every server. */
abstract class DatabaseServerContract {
  abstract Optional<String> unavailable();

  abstract DatabaseServer shared();

  abstract DatabaseServer start(String... options);

  abstract String url(DatabaseServer server);

  abstract String sleep(int seconds);

  /** By TLS, with the certificate checked, and the host where the certificate names one. */
  abstract String verifiedUrl(DatabaseServer server);

  /** Asks for the cipher of the session. */
  abstract String cipher(Statement statement) throws SQLException;

  @BeforeEach
  void checkAvailable() {
    assumeTrue(unavailable().isEmpty(), () -> unavailable().orElse(""));
  }

  @Test
  void theSharedServer_isAskedForTwice_isTheSameAndStaysWhenClosed() throws SQLException {
    DatabaseServer server = shared();
    server.close();

    assertThat(shared()).isSameAs(server);
    assertThat(query(server, server.database(), "SELECT 1")).isEqualTo("1");
  }

  @Test
  void aDatabase_isNew_containsNothingOfAnother() throws SQLException {
    DatabaseServer server = shared();
    String one = server.newDatabase();
    String other = server.newDatabase();

    update(server, one, "CREATE TABLE t (a INT)");
    update(server, other, "CREATE TABLE t (a INT)");
    update(server, one, "INSERT INTO t VALUES (1)");

    assertThat(query(server, one, "SELECT COUNT(*) FROM t")).isEqualTo("1");
    assertThat(query(server, other, "SELECT COUNT(*) FROM t")).isEqualTo("0");
  }

  @Test
  void thePassword_isWrong_isRefused() throws SQLException {
    DatabaseServer server = shared();

    try (Connection connection =
        DriverManager.getConnection(url(server), server.user(), server.password())) {
      assertThat(connection.isValid(30)).isTrue();
    }
    for (String wrong : List.of("", "wrong")) {
      assertThatThrownBy(() -> DriverManager.getConnection(url(server), server.user(), wrong))
          .isInstanceOf(SQLException.class);
    }
    for (String administrator : List.of("root", "postgres", "admin")) {
      assertThatThrownBy(() -> DriverManager.getConnection(url(server), administrator, ""))
          .isInstanceOf(SQLException.class);
    }
  }

  @Test
  void theCertificate_isTrusted_connectionsAreVerifiedAndEncrypted() throws SQLException {
    DatabaseServer server = shared();

    try (Connection connection =
            DriverManager.getConnection(verifiedUrl(server), server.user(), server.password());
        Statement statement = connection.createStatement()) {
      assertThat(cipher(statement)).isNotEmpty();
    }
  }

  @Test
  void theServer_isKilled_refusesUntilItIsRestartedWithItsData() throws Exception {
    try (DatabaseServer server = start();
        Connection connection = server.dataSource(server.database()).getConnection();
        Statement statement = connection.createStatement()) {
      int port = server.port();
      statement.execute("CREATE TABLE t (a INT)");
      statement.execute("INSERT INTO t VALUES (7)");

      server.kill();

      assertThat(processes(server)).isEmpty();
      assertThatThrownBy(() -> new Socket(InetAddress.getByName(server.host()), port).close())
          .isInstanceOf(ConnectException.class);
      assertThatThrownBy(() -> statement.execute("INSERT INTO t VALUES (8)"))
          .isInstanceOf(SQLException.class);

      server.restart();

      assertThat(server.port()).isEqualTo(port);
      assertThat(query(server, server.database(), "SELECT MAX(a) FROM t")).isEqualTo("7");

      server.restart();

      assertThat(query(server, server.database(), "SELECT MAX(a) FROM t")).isEqualTo("7");
    }
  }

  @Test
  void theServer_isClosed_leavesNoProcessAndNoFile() throws Exception {
    DatabaseServer server = start();
    assertThat(processes(server)).isNotEmpty();

    server.close();

    assertThat(processes(server)).isEmpty();
    assertThat(server.data().getParent()).doesNotExist();
    assertThatThrownBy(server::restart).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aStatement_runs_isSeenAndKilledWithItsConnection() throws Exception {
    try (DatabaseServer server = start();
        Connection idle = server.dataSource(server.database()).getConnection();
        Connection busy = server.dataSource(server.database()).getConnection();
        Statement statement = busy.createStatement()) {
      // A login is one until the server has answered it.
      Await.until(() -> server.runningStatements().isEmpty());
      assertThat(server.connections()).isEqualTo(2);

      CompletableFuture<Throwable> failed = new CompletableFuture<>();
      Thread thread =
          new Thread(
              () -> {
                try {
                  statement.execute(sleep(60));
                  failed.complete(null);
                } catch (SQLException e) {
                  failed.complete(e);
                }
              });
      thread.start();
      Await.until(() -> !server.runningStatements().isEmpty());
      assertThat(server.runningStatements()).containsExactly(sleep(60));

      server.killConnections();

      thread.join(30_000);
      assertThat(failed.join()).isInstanceOf(SQLException.class);
      Await.until(() -> server.connections() == 0);
      assertThat(idle.isValid(1)).isFalse();
    }
  }

  @Test
  void theOptions_areInvalid_areReportedWithWhatTheServerSaid() {
    assertThatThrownBy(() -> start("--no-such-option=1"))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("no-such-option");
  }

  static List<String> processes(DatabaseServer server) {
    return processes(server.data().toString());
  }

  /** The servers that have this data directory among their arguments. */
  static List<String> processes(String data) {
    try (Stream<Path> all = Files.list(Path.of("/proc"))) {
      return all.map(process -> commandLine(process.resolve("cmdline")))
          .filter(line -> line.contains(data))
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String commandLine(Path file) {
    try {
      return Files.readString(file, StandardCharsets.ISO_8859_1);
    } catch (IOException e) {
      // No process, or one that has ended.
      return "";
    }
  }

  static void update(DatabaseServer server, String database, String sql) throws SQLException {
    try (Connection connection = server.dataSource(database).getConnection();
        Statement statement = connection.createStatement()) {
      statement.execute(sql);
    }
  }

  static String query(DatabaseServer server, String database, String sql) throws SQLException {
    try (Connection connection = server.dataSource(database).getConnection();
        Statement statement = connection.createStatement();
        ResultSet row = statement.executeQuery(sql)) {
      assertThat(row.next()).isTrue();
      return row.getString(1);
    }
  }
}
