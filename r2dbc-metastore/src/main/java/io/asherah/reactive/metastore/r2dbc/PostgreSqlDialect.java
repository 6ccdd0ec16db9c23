package io.asherah.reactive.metastore.r2dbc;

import io.r2dbc.postgresql.codec.PostgresqlObjectId;
import io.r2dbc.spi.Parameters;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.Locale;

/** PostgreSQL. */
final class PostgreSqlDialect extends SqlDialect {
  /**
   * The zone's wall clock and its offset: {@code timestamp} ignores the offset and keeps the wall
   * clock, {@code timestamptz} keeps the moment, both in any session time zone.
   */
  private static final DateTimeFormatter WALL_CLOCK_AND_OFFSET =
      DateTimeFormatter.ofPattern("uuuu-MM-dd HH:mm:ssxxx", Locale.ROOT);

  private static final String ID_BYTES = "CAST(id AS text) COLLATE \"C\"";

  PostgreSqlDialect() {
    super("PostgreSQL");
  }

  @Override
  String marker(int zeroBasedIndex) {
    return "$" + (zeroBasedIndex + 1);
  }

  /** A collation may take different texts for the same, and a cast of the column keeps it. */
  @Override
  void whereExactly(Query query, String id) {
    query.add("id = ").value(id(id));
    query.add(" AND " + ID_BYTES + " = ").value(id(id));
  }

  @Override
  void wherePrefix(Query query, String prefix) {
    // The first comparison may use the index, the second one tells case.
    super.wherePrefix(query, prefix);
    query.add(" AND " + ID_BYTES + " LIKE ").value(escapeLike(prefix) + "%").add(" ESCAPE '!'");
  }

  /** The column is of type text, json or jsonb. */
  @Override
  String keyRecord() {
    return "CAST(key_record AS text)";
  }

  @Override
  Object keyRecord(String json) {
    return untyped(json);
  }

  @Override
  Object created(Instant created, ZoneId zone) {
    return untyped(WALL_CLOCK_AND_OFFSET.format(created.atZone(zone)));
  }

  /** A text whose type the server takes from the column, as it does with a literal. */
  private static Object untyped(String text) {
    return Parameters.in(PostgresqlObjectId.UNSPECIFIED, text);
  }

  @Override
  String auroraReadConsistency(AuroraReadConsistency consistency) {
    return "SET apg_write_forward.consistency_mode = '%s'"
        .formatted(consistency.name().toLowerCase(Locale.ROOT));
  }
}
