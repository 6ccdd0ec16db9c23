package io.asherah.reactive.testservers;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.List;
import javax.sql.DataSource;
import org.mariadb.jdbc.MariaDbDataSource;

/** What MariaDB and MySQL have in common. */
abstract class MySqlFamily extends DatabaseServer {
  private static final int UNKNOWN_THREAD = 1094;

  MySqlFamily(Distribution distribution, boolean shared, List<String> options) {
    super(distribution, shared, options);
    begin();
  }

  /** The options of both, for making the data directory and for running on it. */
  static List<String> options(Path programs, Path data) {
    return List.of(
        "--no-defaults",
        // Heeded for root only, which it refuses to run as unless told.
        "--user=" + System.getProperty("user.name"),
        "--basedir=" + programs,
        "--datadir=" + data,
        "--lc-messages-dir=" + programs.resolve("share"),
        "--skip-log-bin",
        "--innodb-buffer-pool-size=32M");
  }

  @Override
  List<String> command(Path programs, Path data, int port) {
    List<String> command = new ArrayList<>();
    command.addAll(options(programs, data));
    // The files are relative to the data directory: the name of a socket must be short.
    command.addAll(
        List.of(
            "--bind-address=" + HOST,
            "--port=" + port,
            "--socket=socket",
            "--pid-file=pid",
            "--skip-name-resolve",
            "--performance-schema=OFF",
            "--innodb-flush-log-at-trx-commit=2"));
    return command;
  }

  @Override
  String stopSignal() {
    return "KILL";
  }

  @Override
  void clean(Path data) throws IOException {
    for (String file : List.of("socket", "socket.lock", "pid")) {
      Files.deleteIfExists(data.resolve(file));
    }
  }

  @Override
  DataSource dataSource(String database, String user) throws SQLException {
    MariaDbDataSource dataSource =
        new MariaDbDataSource(
            "jdbc:mariadb://%s:%d/%s?sslMode=disable&allowPublicKeyRetrieval=true"
                .formatted(HOST, port(), database));
    dataSource.setUser(user);
    dataSource.setPassword(PASSWORD);
    return dataSource;
  }

  @Override
  String adminDatabase() {
    return "mysql";
  }

  @Override
  String dataDirectoryQuery() {
    return "SELECT @@datadir";
  }

  @Override
  String createDatabase(String name) {
    return "CREATE DATABASE " + name;
  }

  @Override
  List<Client> clients(Statement admin) throws SQLException {
    List<Client> clients = new ArrayList<>();
    try (ResultSet rows = admin.executeQuery("SHOW FULL PROCESSLIST")) {
      while (rows.next()) {
        String user = rows.getString("User");
        String command = rows.getString("Command");
        if (!List.of(ADMIN, "system user", "event_scheduler").contains(user)) {
          boolean executes = List.of("Query", "Execute").contains(command);
          clients.add(new Client(rows.getLong("Id"), executes ? rows.getString("Info") : null));
        }
      }
    }
    return clients;
  }

  @Override
  void killConnection(Statement admin, long id) throws SQLException {
    try {
      admin.execute("KILL " + id);
    } catch (SQLException e) {
      if (e.getErrorCode() != UNKNOWN_THREAD) {
        throw e;
      }
    }
  }

  /**
   * Makes the server know zones by their names, which it does not from the start. They are those of
   * this JVM.
   *
   * @param zones for instance {@code America/New_York}
   */
  public final void loadTimeZones(ZoneId... zones) {
    for (ZoneId zone : zones) {
      asAdmin(
          statement -> {
            for (String sql : TimeZoneTables.insert(zone)) {
              statement.execute(sql);
            }
            return null;
          });
    }
  }

  /** Makes the zone that of a session which chooses none, now and after a restart. */
  final void setDefaultZone(ZoneId zone) {
    loadTimeZones(zone);
    execute("SET GLOBAL time_zone = '" + zone.getId() + "'");
    addOption("--default-time-zone=" + zone.getId());
  }
}
