package io.asherah.reactive.metastore.r2dbc;

import org.jspecify.annotations.Nullable;

/** What an error of a driver means to us. */
enum Failure {
  /** There is a row with this key. */
  DUPLICATE(false, "there is such a row"),
  /** The same call may succeed later: connections, deadlocks, servers that start or stop. */
  PASSING(true, "try again later; if it lasts, look at the cause, and at host, port and network"),
  TABLE_MISSING(
      false,
      "the table does not exist, or not for this user: create it with R2dbcMetastoreSchema.create()"
          + " or docs/metastores.md, or correct table, schema or search path"),
  COLUMN_MISSING(
      false, "the table has other columns than id, created and key_record: see docs/metastores.md"),
  NO_DATABASE(false, "the database or the schema does not exist: create it, or correct its name"),
  UNKNOWN_USER(false, "the database refuses the user: correct name and password"),
  DENIED(false, "the user may not do that: grant the rights that docs/metastores.md lists for it"),
  TLS(
      false,
      "by TLS the server is not known as the one that was asked for: correct the certificate that"
          + " is trusted, the host or the TLS version, see docs/metastores.md"),
  /** MySQL, in a session time zone with daylight-saving time. */
  TIME_IN_GAP(
      false,
      "created does not exist in the time zone of the database session, which has daylight-saving"
          + " time, or is after 2038, where a TIMESTAMP ends: run the database in UTC, or make the"
          + " column a DATETIME"),
  /** An embedded database. */
  FILE(
      false,
      "the file of the database cannot be used: look at its path, its permissions and the disk"),
  OTHER(false, "see the cause");

  final boolean isRetryable;
  final String fix;

  Failure(boolean isRetryable, String fix) {
    this.isRetryable = isRetryable;
    this.fix = fix;
  }

  /** What a state of the SQL standard means, as far as databases agree on it. */
  static Failure ofSqlState(@Nullable String state) {
    if (state == null || state.length() != 5) {
      return OTHER;
    }
    return switch (state) {
      case "23505" -> DUPLICATE;
      case "42P01", "42S02", "42S04" -> TABLE_MISSING;
      case "42703", "42S22" -> COLUMN_MISSING;
      case "3D000", "3F000" -> NO_DATABASE;
      case "42501" -> DENIED;
      // Lock not available, read-only after a failover.
      case "55P03", "25006" -> PASSING;
      default ->
          switch (state.substring(0, 2)) {
            case "08", "40", "53", "57", "58" -> PASSING;
            case "28" -> UNKNOWN_USER;
            default -> OTHER;
          };
    };
  }
}
