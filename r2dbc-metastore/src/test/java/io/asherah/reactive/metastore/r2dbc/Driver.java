package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testservers.MariaDbServer;
import io.asherah.reactive.testservers.MySqlServer;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryOptions;
import java.time.Duration;
import java.util.function.Supplier;

/** A driver, with a server for it. */
enum Driver {
  POSTGRESQL("postgresql", PostgreSqlServer::shared, () -> PostgreSqlServer.start()),
  MARIADB("mariadb", MariaDbServer::shared, () -> MariaDbServer.start()),
  /** That of asyncer. */
  MYSQL(
      "mysql",
      () -> hasMySql() ? MySqlServer.shared() : MariaDbServer.shared(),
      () -> hasMySql() ? MySqlServer.start() : MariaDbServer.start());

  private final String id;
  private final Supplier<DatabaseServer> shared;
  private final Supplier<DatabaseServer> start;

  Driver(String id, Supplier<DatabaseServer> shared, Supplier<DatabaseServer> start) {
    this.id = id;
    this.shared = shared;
    this.start = start;
  }

  private static boolean hasMySql() {
    return MySqlServer.unavailable().isEmpty();
  }

  /** That of the whole JVM. */
  DatabaseServer sharedServer() {
    return shared.get();
  }

  /** One that a test may harm. */
  DatabaseServer startServer() {
    return start.get();
  }

  ConnectionFactory connections(DatabaseServer server, String database) {
    return ConnectionFactories.get(Databases.options(id, server, database));
  }

  ConnectionFactory connections(
      DatabaseServer server, String database, int port, Duration connectTimeout) {
    return ConnectionFactories.get(
        Databases.options(id, server, database, port)
            .mutate()
            .option(ConnectionFactoryOptions.CONNECT_TIMEOUT, connectTimeout)
            .build());
  }
}
