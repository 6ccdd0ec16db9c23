package io.asherah.reactive.metastore.r2dbc;

import io.r2dbc.spi.ConnectionFactoryOptions;
import org.junit.jupiter.api.condition.EnabledIfEnvironmentVariable;

@EnabledIfEnvironmentVariable(
    named = "ASHERAH_TEST_ORACLE_URL",
    matches = ".+",
    disabledReason =
        "no Oracle Database to test with: set ASHERAH_TEST_ORACLE_URL to"
            + " r2dbc:oracle://<user>:<password>@<host>:1521/<service> of one in which tables may be"
            + " created")
class OracleMetastoreIT extends MetastoreContract {
  @Override
  ConnectionFactoryOptions newDatabase() {
    return ConnectionFactoryOptions.parse(System.getenv("ASHERAH_TEST_ORACLE_URL"));
  }
}
