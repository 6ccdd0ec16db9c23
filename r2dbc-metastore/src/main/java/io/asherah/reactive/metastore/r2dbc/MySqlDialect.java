package io.asherah.reactive.metastore.r2dbc;

import io.r2dbc.spi.R2dbcException;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.Locale;

/** MySQL and MariaDB. */
final class MySqlDialect extends SqlDialect {
  private static final DateTimeFormatter WALL_CLOCK =
      DateTimeFormatter.ofPattern("uuuu-MM-dd HH:mm:ss", Locale.ROOT);

  private static final String ID_BYTES = "CAST(CONVERT(id USING utf8mb4) AS BINARY)";

  MySqlDialect() {
    super("MySQL");
  }

  @Override
  String marker(int zeroBasedIndex) {
    return "?";
  }

  @Override
  String keyRecord() {
    return "CAST(key_record AS CHAR)";
  }

  /** As {@link #created} writes it, whatever precision the column has. */
  @Override
  String createdText() {
    return "CAST(created AS CHAR(19))";
  }

  /** Else a key that is revoked would get another time, and never be found again. */
  @Override
  String keptCreated() {
    return ", created = created";
  }

  /** The column may be binary, or have the character set of another age. */
  @Override
  String selectedId() {
    return "CONVERT(id USING utf8mb4)";
  }

  @Override
  void whereExactly(Query query, String id) {
    query.add("id = ").value(id(id));
    query.add(" AND " + ID_BYTES + " = CAST(").value(id(id)).add(" AS BINARY)");
  }

  @Override
  void wherePrefix(Query query, String prefix) {
    // The first comparison finds rows in the index. Of texts that not every character set has it
    // would be an error.
    if (prefix.chars().allMatch(c -> c < 128)) {
      query.add("id LIKE ").value(escapeLike(prefix) + "%").add(" ESCAPE '!' AND ");
    }
    query.add(ID_BYTES + " LIKE CAST(").value(escapeLike(prefix) + "%");
    query.add(" AS BINARY) ESCAPE '!'");
  }

  /** A text, which no driver converts to another zone. The server takes it as it is. */
  @Override
  Object created(Instant created, ZoneId zone) {
    return WALL_CLOCK.format(created.atZone(zone));
  }

  /** A TIMESTAMP is converted from the session's time zone, in which an hour may be left out. */
  @Override
  boolean mayChangeTimes() {
    return true;
  }

  @Override
  String auroraReadConsistency(AuroraReadConsistency consistency) {
    return "SET aurora_replica_read_consistency = '%s'"
        .formatted(consistency.name().toLowerCase(Locale.ROOT));
  }

  /**
   * Codes of the MySQL server error reference and of MariaDB's, which share them up to 1,899; the
   * drivers put client-side codes of 2,000 and above on broken connections.
   */
  @Override
  Failure failure(R2dbcException e) {
    return switch (e.getErrorCode()) {
      case 1062 -> Failure.DUPLICATE;
      case 1146 -> Failure.TABLE_MISSING;
      case 1054 -> Failure.COLUMN_MISSING;
      case 1046, 1049 -> Failure.NO_DATABASE;
      case 1045, 1698 -> Failure.UNKNOWN_USER;
      case 1044, 1142, 1143, 1227, 1370 -> Failure.DENIED;
      case 1292, 1525 -> Failure.TIME_IN_GAP;
      // Too many connections, out of memory, lock wait, deadlock, shutdown, killed, aborted,
      // interrupted, packets out of order or cut, read-only after a failover, gone away, disk full,
      // a snapshot or a node of a cluster that is not current, temporary errors of engines.
      case 1020,
          1021,
          1030,
          1037,
          1038,
          1040,
          1041,
          1047,
          1053,
          1077,
          1079,
          1105,
          1129,
          1135,
          1152,
          1153,
          1154,
          1155,
          1156,
          1157,
          1158,
          1159,
          1160,
          1161,
          1180,
          1184,
          1203,
          1205,
          1206,
          1213,
          1223,
          1226,
          1290,
          1296,
          1297,
          1317,
          1614,
          1637,
          1792,
          1836,
          1927,
          1969,
          2002,
          2003,
          2006,
          2013,
          2055,
          3024,
          3032,
          3098,
          3101,
          3168,
          3169,
          4031 ->
          Failure.PASSING;
      default -> Failure.ofSqlState(e.getSqlState());
    };
  }

  /**
   * Both drivers take for passing what they do not know, such as a text that a column cannot keep.
   */
  @Override
  boolean isOfServer(R2dbcException e) {
    return e.getErrorCode() >= 1_000 && e.getErrorCode() < 2_000;
  }
}
