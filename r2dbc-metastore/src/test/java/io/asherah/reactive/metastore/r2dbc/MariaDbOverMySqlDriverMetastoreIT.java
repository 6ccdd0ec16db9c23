package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.testservers.MariaDbServer;
import io.r2dbc.spi.ConnectionFactoryOptions;
import org.junit.jupiter.api.Assumptions;

class MariaDbOverMySqlDriverMetastoreIT extends MetastoreContract {
  @Override
  ConnectionFactoryOptions newDatabase() {
    MariaDbServer.unavailable().ifPresent(Assumptions::abort);
    MariaDbServer server = MariaDbServer.shared();
    return Databases.options("mysql", server, server.newDatabase());
  }
}
