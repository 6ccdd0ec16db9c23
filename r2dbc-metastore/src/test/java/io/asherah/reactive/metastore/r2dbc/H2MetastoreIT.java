package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.spi.Metastore;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactoryOptions;
import java.util.Optional;
import java.util.UUID;

class H2MetastoreIT extends MetastoreContract {
  @Override
  ConnectionFactoryOptions newDatabase() {
    return ConnectionFactoryOptions.parse(
        "r2dbc:h2:mem:///%s?options=DB_CLOSE_DELAY=-1".formatted(UUID.randomUUID()));
  }

  @Override
  public Optional<Metastore> unreachableMetastore() {
    return Optional.of(
        R2dbcMetastore.create(
            ConnectionFactories.get("r2dbc:h2:file:///proc/absent?options=IFEXISTS=TRUE")));
  }
}
