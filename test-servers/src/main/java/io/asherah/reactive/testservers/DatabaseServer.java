package io.asherah.reactive.testservers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import javax.sql.DataSource;

/**
 * A real database server of this test JVM, on 127.0.0.1 and a free port. It needs no installation,
 * runs as root and as any other user, and is gone with its data when it is closed or the JVM ends.
 * Its zone is UTC unless another is asked for.
 *
 * <p>All methods block.
 */
public abstract class DatabaseServer implements AutoCloseable {
  static final String HOST = "127.0.0.1";

  /** The administrator, whose connections are not counted. */
  static final String ADMIN = "admin";

  static final String USER = "asherah";
  static final String PASSWORD = "Passw0rd-of-tests";
  static final String DATABASE = "asherah";

  private static final Duration START = Duration.ofSeconds(60);
  private static final AtomicInteger SERVERS = new AtomicInteger();

  private final AtomicInteger databases = new AtomicInteger();
  private final Distribution distribution;
  private final boolean shared;
  private final List<String> options;
  private final Path directory;
  private final Path data;
  private final Path log;
  private int port;
  private ServerProcess process;
  private boolean closed;

  DatabaseServer(Distribution distribution, boolean shared, List<String> options) {
    this.distribution = distribution;
    this.shared = shared;
    this.options = new ArrayList<>(options);
    Path template = distribution.data();
    String name =
        "%s-%d-%d"
            .formatted(
                getClass().getSimpleName(),
                ProcessHandle.current().pid(),
                SERVERS.incrementAndGet());
    directory = distribution.base().resolve(name);
    data = directory.resolve("data");
    log = directory.resolve("log");
    ServerProcess.deleteAtExit(directory);
    try {
      Directories.delete(directory);
      Files.createDirectories(directory);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    Directories.copy(template, data);
    distribution.own(directory);
  }

  // What differs among the servers.

  /** The command without the options that the test gave. */
  abstract List<String> command(Path programs, Path data, int port);

  abstract String stopSignal();

  /**
   * Removes from the data directory what keeps a server from starting after one that was killed.
   */
  abstract void clean(Path data) throws IOException;

  /** The file in the data directory with what a client has to trust. */
  abstract String certificateName();

  abstract DataSource dataSource(String database, String user) throws SQLException;

  /** The database in which the administrator works. */
  abstract String adminDatabase();

  /** Asks for the data directory. */
  abstract String dataDirectoryQuery();

  abstract String createDatabase(String name);

  abstract List<Client> clients(Statement admin) throws SQLException;

  abstract void killConnection(Statement admin, long id) throws SQLException;

  /** A connection that is not one of the administrator's, and what it executes or null. */
  record Client(long id, String statement) {}

  // Life and death.

  /** Starts it for the first time. */
  final synchronized void begin() {
    for (int attempt = 1; ; attempt++) {
      port = freePort();
      try {
        startProcess();
        return;
      } catch (IllegalStateException e) {
        boolean portTaken = log().toLowerCase(Locale.ROOT).contains("address already in");
        if (!portTaken || attempt == 5) {
          discard();
          throw e;
        }
      }
    }
  }

  private void startProcess() {
    List<String> command = new ArrayList<>(distribution.prefix());
    command.addAll(command(distribution.programs(), data, port));
    command.addAll(options);
    try {
      clean(data);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    ServerProcess started =
        ServerProcess.start(command, directory, distribution.base(), log, stopSignal());
    process = started;
    long deadline = System.nanoTime() + START.toNanos();
    try {
      while (!accepts()) {
        if (!started.isAlive()) {
          throw new IllegalStateException(command + " ended: " + log());
        }
        if (System.nanoTime() - deadline > 0) {
          throw new IllegalStateException(command + " does not accept connections: " + log());
        }
        ServerProcess.pause();
      }
    } catch (RuntimeException | Error e) {
      started.kill();
      throw e;
    }
  }

  /** Whether this server accepts a connection, and not another one that has taken its port. */
  private boolean accepts() {
    try (Connection connection = dataSource(adminDatabase(), ADMIN).getConnection();
        Statement statement = connection.createStatement();
        ResultSet row = statement.executeQuery(dataDirectoryQuery())) {
      return row.next() && Files.isSameFile(Path.of(row.getString(1)), data);
    } catch (SQLException | IOException e) {
      return false;
    }
  }

  /** A port from which the system takes none for outgoing connections, so that it stays ours. */
  static int freePort() {
    for (int attempt = 0; attempt < 1000; attempt++) {
      int port = ThreadLocalRandom.current().nextInt(15_000, 32_000);
      try (ServerSocket socket = new ServerSocket(port, 1, InetAddress.getByName(HOST))) {
        return socket.getLocalPort();
      } catch (IOException e) {
        // Taken.
      }
    }
    throw new IllegalStateException("no port is free");
  }

  private String log() {
    try {
      String text = Files.readString(log, StandardCharsets.ISO_8859_1);
      return text.substring(Math.max(0, text.length() - 4000));
    } catch (IOException e) {
      return e.toString();
    }
  }

  /**
   * Kills the server and all of its processes with SIGKILL, and returns when they are gone: further
   * connections are refused. Its data remain for {@link #restart()}.
   */
  public final synchronized void kill() {
    checkOpen();
    process.kill();
  }

  /** Starts the server again, on the same port and with the same data; kills it where it runs. */
  public final synchronized void restart() {
    checkOpen();
    process.kill();
    startProcess();
  }

  /** Ends the server and deletes its data; for the shared one it does nothing. */
  @Override
  public final synchronized void close() {
    if (!shared && !closed) {
      discard();
    }
  }

  private void discard() {
    closed = true;
    if (process != null) {
      process.stop();
    }
    ServerProcess.delete(directory);
  }

  private void checkOpen() {
    if (closed) {
      throw new IllegalStateException("the server is closed");
    }
  }

  /** Adds an option for {@link #restart()}. */
  final synchronized void addOption(String option) {
    options.add(option);
  }

  final Path data() {
    return data;
  }

  // How to reach it.

  /**
   * Where the server listens.
   *
   * @return 127.0.0.1
   */
  public final String host() {
    return HOST;
  }

  /**
   * Where the server listens.
   *
   * @return the same for the whole life of this object
   */
  public final synchronized int port() {
    return port;
  }

  /**
   * A user that may do everything in the databases, and nothing to the server.
   *
   * @return the user's name
   */
  public final String user() {
    return USER;
  }

  /**
   * What the server asks this user for.
   *
   * @return the user's password
   */
  public final String password() {
    return PASSWORD;
  }

  /**
   * The database that exists from the start.
   *
   * @return its name
   */
  public final String database() {
    return DATABASE;
  }

  /**
   * Creates a database for a test that shares the server with others.
   *
   * @return its name
   */
  public final String newDatabase() {
    String name = "test_" + databases.incrementAndGet();
    execute(createDatabase(name));
    return name;
  }

  /**
   * Connections by JDBC, without a pool.
   *
   * @param database where they lead
   * @return opens one as {@link #user()}
   */
  public final DataSource dataSource(String database) {
    try {
      return dataSource(database, USER);
    } catch (SQLException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * What a client has to trust to know the server by TLS, which every server speaks with who asks
   * for it. Those of MariaDB and PostgreSQL are for localhost and 127.0.0.1, that of MySQL for no
   * host.
   *
   * @return a file with a certificate in PEM
   */
  public final Path certificate() {
    return data.resolve(certificateName());
  }

  // What the administrator does.

  interface AdminAction<T> {
    T with(Statement statement) throws SQLException;
  }

  final <T> T asAdmin(AdminAction<T> action) {
    try (Connection connection = dataSource(adminDatabase(), ADMIN).getConnection();
        Statement statement = connection.createStatement()) {
      return action.with(statement);
    } catch (SQLException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * Executes a statement as the administrator of the server, for instance to change a setting of
   * it.
   *
   * @param sql one statement
   */
  public final void execute(String sql) {
    asAdmin(statement -> statement.execute(sql));
  }

  /**
   * What the server executes at this moment, by its own account.
   *
   * @return the statements, without those of this object
   */
  public final List<String> runningStatements() {
    return asAdmin(this::clients).stream()
        .map(Client::statement)
        .filter(statement -> statement != null)
        .toList();
  }

  /**
   * How many connections there are, by the server's own account.
   *
   * @return their number, without those of this object
   */
  public final int connections() {
    return asAdmin(this::clients).size();
  }

  /** Has the server end all connections that there are, as an administrator may do at any time. */
  public final void killConnections() {
    asAdmin(
        statement -> {
          for (Client client : clients(statement)) {
            killConnection(statement, client.id());
          }
          return null;
        });
  }
}
