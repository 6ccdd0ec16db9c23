package io.asherah.reactive.metastore.r2dbc;

import io.r2dbc.spi.ConnectionFactoryOptions;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

@EnabledIfEnvironmentVariable(
    named = "ASHERAH_TEST_MSSQL_URL",
    matches = ".+",
    disabledReason =
        "no SQL Server to test with: set ASHERAH_TEST_MSSQL_URL to"
            + " r2dbc:mssql://<user>:<password>@<host>:1433/<database> of one in which tables may be"
            + " created")
class SqlServerMetastoreIT extends MetastoreContract {
  @Override
  ConnectionFactoryOptions newDatabase() {
    return ConnectionFactoryOptions.parse(System.getenv("ASHERAH_TEST_MSSQL_URL"));
  }
}
