package io.asherah.reactive.testservers;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import javax.sql.DataSource;
import org.postgresql.ds.PGSimpleDataSource;
import org.tukaani.xz.XZInputStream;

/** PostgreSQL. Logins are checked with SCRAM. */
public final class PostgreSqlServer extends DatabaseServer {
  private static final Binaries BINARIES = new Binaries();
  private static PostgreSqlServer shared;

  private PostgreSqlServer(boolean shared, List<String> options) {
    super(BINARIES, shared, options);
    begin();
  }

  /**
   * The server of all tests of this JVM that do not change it.
   *
   * @return started by the first call, stopped when the JVM ends
   */
  public static synchronized PostgreSqlServer shared() {
    if (shared == null) {
      shared = new PostgreSqlServer(true, List.of());
    }
    return shared;
  }

  /**
   * Starts a server for one test.
   *
   * @param serverOptions for instance {@code -c}, {@code max_connections=10}
   * @return to be closed by the test
   */
  public static PostgreSqlServer start(String... serverOptions) {
    return new PostgreSqlServer(false, List.of(serverOptions));
  }

  /**
   * Starts a server for one test, in which a session has this zone unless it chooses another. The
   * JDBC driver does: it tells the server the zone of the JVM.
   *
   * @param zone with its summer time
   * @return to be closed by the test
   */
  public static PostgreSqlServer startInZone(ZoneId zone) {
    return start("-c", "timezone=" + zone.getId());
  }

  /**
   * Whether it can be started here.
   *
   * @return why not, or nothing
   */
  public static Optional<String> unavailable() {
    return BINARIES.unavailable();
  }

  @Override
  List<String> command(Path programs, Path data, int port) {
    List<String> command = new ArrayList<>();
    command.add(programs.resolve("bin/postgres").toString());
    command.addAll(List.of("-D", data.toString()));
    for (String setting :
        List.of(
            "listen_addresses=" + HOST,
            "port=" + port,
            "unix_socket_directories=",
            "shared_buffers=16MB",
            "max_connections=100",
            "ssl=on",
            "ssl_key_file=" + ServerKey.KEY,
            "ssl_cert_file=" + ServerKey.CERTIFICATE,
            // Nothing of this loses data when only the processes die.
            "fsync=off",
            "full_page_writes=off")) {
      command.addAll(List.of("-c", setting));
    }
    return command;
  }

  @Override
  String stopSignal() {
    // An immediate shutdown, which also frees the shared memory.
    return "QUIT";
  }

  @Override
  void clean(Path data) {}

  @Override
  DataSource dataSource(String database, String user) {
    PGSimpleDataSource dataSource = new PGSimpleDataSource();
    dataSource.setServerNames(new String[] {HOST});
    dataSource.setPortNumbers(new int[] {port()});
    dataSource.setDatabaseName(database);
    dataSource.setUser(user);
    dataSource.setPassword(PASSWORD);
    dataSource.setSslMode("disable");
    return dataSource;
  }

  @Override
  String certificateName() {
    return ServerKey.CERTIFICATE;
  }

  @Override
  String adminDatabase() {
    return "postgres";
  }

  @Override
  String dataDirectoryQuery() {
    return "SHOW data_directory";
  }

  @Override
  String createDatabase(String name) {
    return "CREATE DATABASE " + name + " OWNER " + USER + " TEMPLATE template0";
  }

  @Override
  List<Client> clients(Statement admin) throws SQLException {
    List<Client> clients = new ArrayList<>();
    try (ResultSet rows =
        admin.executeQuery(
            "SELECT pid, CASE state WHEN 'active' THEN query END FROM pg_stat_activity"
                + " WHERE backend_type = 'client backend' AND usename IS DISTINCT FROM '"
                + ADMIN
                + "'")) {
      while (rows.next()) {
        clients.add(new Client(rows.getLong(1), rows.getString(2)));
      }
    }
    return clients;
  }

  @Override
  void killConnection(Statement admin, long id) throws SQLException {
    admin.execute("SELECT pg_terminate_backend(" + id + ", 5000)");
  }

  private static final class Binaries extends Distribution {
    private static final String NOBODY = "65534";
    private final List<String> prefix = new ArrayList<>();
    private Path base;

    Binaries() {
      super("/postgres-linux-x86_64.txz", "bin/postgres", "");
      if (isRoot()) {
        // As root it does not run. In a user namespace without names it is not root, and may still
        // write where root may.
        List<String> namespace = List.of("unshare", "-U");
        List<String> nobody =
            List.of("setpriv", "--reuid=" + NOBODY, "--regid=" + NOBODY, "--clear-groups");
        // To try the second where the first works.
        boolean noNamespace = Boolean.getBoolean("test.servers.no-namespace");
        prefix.addAll(noNamespace || !works(namespace) ? nobody : namespace);
      }
    }

    private static boolean isRoot() {
      try {
        return Integer.valueOf(0).equals(Files.getAttribute(Path.of("/proc/self"), "unix:uid"));
      } catch (IOException | UnsupportedOperationException e) {
        return false;
      }
    }

    private static boolean works(List<String> prefix) {
      List<String> command = new ArrayList<>(prefix);
      command.add("true");
      return Commands.tried(command).well();
    }

    private boolean asNobody() {
      return prefix.contains("setpriv");
    }

    @Override
    List<String> prefix() {
      return prefix;
    }

    @Override
    synchronized Path base() {
      if (base == null) {
        base = super.base();
        if (asNobody()) {
          // It may lie below a directory that only root may enter.
          try {
            base = Files.createTempDirectory("test-servers").toRealPath();
          } catch (IOException e) {
            throw new IllegalStateException("no directory for " + NOBODY, e);
          }
          ServerProcess.deleteAtExit(base);
          own(base);
        }
      }
      return base;
    }

    @Override
    void own(Path directory) {
      if (asNobody()) {
        Commands.run(List.of("chown", "-R", NOBODY + ":" + NOBODY, directory.toString()));
      }
    }

    @Override
    void unpack(URL resource, Path programs) throws IOException {
      try (InputStream input = new XZInputStream(resource.openStream())) {
        untar(input, programs);
      }
    }

    @Override
    void initialize(Path programs, Path data) throws IOException {
      Path password = Commands.temporary(".password");
      try {
        Files.writeString(password, PASSWORD);
        own(password);
        List<String> initdb = command(programs, "bin/initdb");
        initdb.addAll(List.of("-D", data.toString(), "-U", ADMIN, "--pwfile=" + password));
        initdb.addAll(List.of("-A", "scram-sha-256", "-E", "UTF8", "--locale=C"));
        initdb.addAll(List.of("--wal-segsize=1", "--no-sync"));
        Commands.run(initdb);
      } finally {
        Files.delete(password);
      }
      List<String> single = command(programs, "bin/postgres");
      single.addAll(List.of("--single", "-D", data.toString(), "-c", "fsync=off", "postgres"));
      String sql =
          """
          CREATE ROLE %1$s LOGIN PASSWORD '%2$s'
          CREATE DATABASE %3$s OWNER %1$s
          """
              .formatted(USER, PASSWORD, DATABASE);
      Commands.run(single, new ByteArrayInputStream(sql.getBytes(StandardCharsets.UTF_8)));
      ServerKey.make(data);
    }
  }
}
