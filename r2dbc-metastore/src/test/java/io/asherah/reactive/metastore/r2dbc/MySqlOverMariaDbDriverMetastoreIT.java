package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.testservers.MySqlServer;
import io.r2dbc.spi.ConnectionFactoryOptions;
import org.junit.jupiter.api.Assumptions;

class MySqlOverMariaDbDriverMetastoreIT extends MetastoreContract {
  @Override
  ConnectionFactoryOptions newDatabase() {
    MySqlServer.unavailable().ifPresent(Assumptions::abort);
    MySqlServer server = MySqlServer.shared();
    return Databases.options("mariadb", server, server.newDatabase());
  }
}
