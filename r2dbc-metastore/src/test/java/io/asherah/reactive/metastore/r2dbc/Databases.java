package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testservers.MySqlServer;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.netty.util.concurrent.EventExecutor;
import io.r2dbc.spi.ConnectionFactoryOptions;
import io.r2dbc.spi.Option;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import javax.sql.DataSource;
import reactor.netty.resources.LoopResources;
import reactor.netty.tcp.TcpResources;

/** How the drivers connect to the servers of the tests. */
final class Databases {
  private Databases() {}

  /** Options of a driver by its name, for one database of a server. */
  static ConnectionFactoryOptions options(String driver, DatabaseServer server, String database) {
    return options(driver, server, database, server.port());
  }

  /** The same through another port, for instance that of a proxy. */
  static ConnectionFactoryOptions options(
      String driver, DatabaseServer server, String database, int port) {
    ConnectionFactoryOptions.Builder options = ConnectionFactoryOptions.builder();
    if (isOldTls(driver, server)) {
      options.option(Option.valueOf("sslMode"), "disabled");
    }
    return options
        .option(ConnectionFactoryOptions.DRIVER, driver)
        .option(ConnectionFactoryOptions.HOST, server.host())
        .option(ConnectionFactoryOptions.PORT, port)
        .option(ConnectionFactoryOptions.USER, server.user())
        .option(ConnectionFactoryOptions.PASSWORD, server.password())
        .option(ConnectionFactoryOptions.DATABASE, database)
        .option(ConnectionFactoryOptions.CONNECT_TIMEOUT, Duration.ofSeconds(10))
        .build();
  }

  /** The same as text, for another JVM. */
  static String url(String driver, DatabaseServer server, String database) {
    String options = isOldTls(driver, server) ? "?sslMode=disabled" : "";
    return "r2dbc:%s://%s:%s@%s:%d/%s%s"
        .formatted(
            driver,
            server.user(),
            server.password(),
            server.host(),
            server.port(),
            database,
            options);
  }

  /**
   * This driver uses TLS where the server offers it; that of MySQL 8.0.15 has no cipher which the
   * driver and JDK 25 have too. {@link TlsIT} gives it one.
   */
  private static boolean isOldTls(String driver, DatabaseServer server) {
    return driver.equals("mysql") && server instanceof MySqlServer;
  }

  /** What JDBC connects with in another JVM. */
  static String jdbcUrl(DatabaseServer server, String database) {
    String options =
        server instanceof PostgreSqlServer
            ? "&sslmode=disable"
            : "&sslMode=disable&allowPublicKeyRetrieval=true";
    return "jdbc:%s://%s:%d/%s?user=%s&password=%s%s"
        .formatted(
            server instanceof PostgreSqlServer ? "postgresql" : "mariadb",
            server.host(),
            server.port(),
            database,
            server.user(),
            server.password(),
            options);
  }

  /** Makes the table that other implementations have. */
  static void createTable(DataSource database, String createdType, String recordType) {
    execute(
        database,
        "CREATE TABLE encryption_key (id VARCHAR(255) NOT NULL, created "
            + createdType
            + " NOT NULL DEFAULT CURRENT_TIMESTAMP, key_record "
            + recordType
            + " NOT NULL, PRIMARY KEY (id, created))");
  }

  static void execute(DataSource database, String sql) {
    try (Connection connection = database.getConnection();
        Statement statement = connection.createStatement()) {
      statement.execute(sql);
    } catch (SQLException e) {
      throw new AssertionError(e);
    }
  }

  /** The ids of all rows, in their order. */
  static List<String> ids(DataSource database) {
    try (Connection connection = database.getConnection();
        Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery("SELECT id FROM encryption_key ORDER BY id")) {
      List<String> ids = new ArrayList<>();
      while (rows.next()) {
        ids.add(rows.getString(1));
      }
      return ids;
    } catch (SQLException e) {
      throw new AssertionError(e);
    }
  }

  /** The times that are stored for each id, in their order, as a connection of JDBC shows them. */
  static Map<String, List<String>> times(DataSource database, String createdText) {
    Map<String, List<String>> times = new TreeMap<>();
    try (Connection connection = database.getConnection();
        Statement statement = connection.createStatement();
        ResultSet rows =
            statement.executeQuery(
                "SELECT id, " + createdText + " FROM encryption_key ORDER BY id, created")) {
      while (rows.next()) {
        times.computeIfAbsent(rows.getString(1), id -> new ArrayList<>()).add(rows.getString(2));
      }
    } catch (SQLException e) {
      throw new AssertionError(e);
    }
    return times;
  }

  /** Returns when the event loops of drivers have done what there was to do. */
  static void settleDrivers() {
    for (EventExecutor loop : TcpResources.get().onClient(LoopResources.DEFAULT_NATIVE)) {
      loop.submit(() -> {}).syncUninterruptibly();
    }
  }
}
