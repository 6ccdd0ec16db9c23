package io.asherah.reactive.metastore.r2dbc;

import io.r2dbc.spi.R2dbcException;

/** Oracle Database. */
final class OracleDialect extends SqlDialect {
  OracleDialect() {
    super("Oracle");
  }

  @Override
  String marker(int zeroBasedIndex) {
    return "?";
  }

  @Override
  String limit(String query, int rows) {
    return query + " FETCH FIRST " + rows + " ROWS ONLY";
  }

  /** ORA numbers; those from 17,000 on are of the driver itself. */
  @Override
  Failure failure(R2dbcException e) {
    return switch (e.getErrorCode()) {
      case 1 -> Failure.DUPLICATE;
      case 942 -> Failure.TABLE_MISSING;
      case 904 -> Failure.COLUMN_MISSING;
      case 1005, 1017, 28_000, 28_001 -> Failure.UNKNOWN_USER;
      case 1031, 1045, 41_900 -> Failure.DENIED;
      // Sessions and processes exhausted, killed, resource busy, deadlock, starting and stopping,
      // cancelled, cannot serialise, read-only after a failover, connections lost or refused.
      case 18,
          20,
          28,
          51,
          54,
          60,
          1012,
          1013,
          1033,
          1034,
          1089,
          1090,
          1092,
          1109,
          1555,
          2391,
          3113,
          3114,
          3135,
          3136,
          8177,
          12_150,
          12_152,
          12_153,
          12_170,
          12_514,
          12_516,
          12_518,
          12_519,
          12_520,
          12_528,
          12_537,
          12_541,
          12_543,
          12_545,
          12_547,
          12_571,
          12_757,
          16_000,
          16_456,
          17_002,
          17_008,
          17_410,
          17_447,
          17_800,
          17_820,
          17_902,
          18_714,
          25_408,
          30_006 ->
          Failure.PASSING;
      default -> Failure.OTHER;
    };
  }
}
