package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.InvalidRecordException;
import io.asherah.reactive.MetastoreException;
import io.r2dbc.spi.Row;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneId;
import org.jspecify.annotations.Nullable;

/** The statements on one table. */
final class Table {
  /** Rows that Rust keeps in the table, which are no keys. */
  static final String FOREIGN = "__asherah_internal_";

  final SqlDialect dialect;
  final String name;
  private final ZoneId zone;

  Table(SqlDialect dialect, String name, ZoneId zone) {
    this.dialect = dialect;
    this.name = name;
    this.zone = zone;
  }

  /**
   * Whether there may be a key with this id. Drivers write half of a pair of surrogates as a
   * question mark, which is the id of another key.
   */
  static boolean mayBeId(String id) {
    return StandardCharsets.UTF_8.newEncoder().canEncode(id);
  }

  Query load(String id, Instant created) {
    return version(select(), id, created);
  }

  Query loadLatest(String id) {
    return select()
        .add(" WHERE id = ")
        .value(dialect.id(id))
        .add(" ORDER BY created DESC")
        .limit(1);
  }

  /** What {@link #record} reads, and then what else is wanted. */
  Query select(String... more) {
    Query query = query("SELECT ").add(dialect.keyRecord()).add(", ").add(dialect.createdText());
    for (String column : more) {
      query.add(", ").add(column);
    }
    return query.add(" FROM ").add(name);
  }

  /**
   * Reads a record.
   *
   * @throws MetastoreException if it is none
   */
  EnvelopeKeyRecord record(Row row, String id) {
    String json = row.get(0, String.class);
    String created = row.get(1, String.class);
    if (json == null) {
      throw malformed(id, created, null);
    }
    try {
      return EnvelopeKeyRecord.fromJson(json.getBytes(StandardCharsets.UTF_8));
    } catch (InvalidRecordException e) {
      throw malformed(id, created, e);
    }
  }

  /** An id may contain a partition, so the whole of it is in the cause only. */
  private MetastoreException malformed(
      String id, @Nullable String created, @Nullable InvalidRecordException e) {
    String reason = e == null ? "it is null" : e.getMessage();
    return new MetastoreException(
        "the key_record of the key %s, created %s, in the table %s is malformed: %s. Restore it from a backup"
            .formatted(id.startsWith("_IK_") ? "_IK_****" : id, created, name, reason),
        new MalformedRowException(
            "the key_record where id is %s and created is %s".formatted(id, created), e),
        false);
  }

  /** Names a row. */
  static final class MalformedRowException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    MalformedRowException(String message, @Nullable InvalidRecordException cause) {
      super(message, cause);
    }
  }

  Query insert(String id, Instant created, EnvelopeKeyRecord record) {
    return query("INSERT INTO " + name + " (id, created, key_record) VALUES (")
        .value(dialect.id(id))
        .add(", ")
        .value(created(created))
        .add(", ")
        .value(dialect.keyRecord(json(record)))
        .add(")");
  }

  /** Changes the record of a row, whose id is compared as the column compares ids. */
  Query update(String id, Instant created, EnvelopeKeyRecord record) {
    return version(changed(record).add(dialect.keptCreated()), id, created);
  }

  /** Changes it as others do, who leave the time to the column. */
  Query updateOfOthers(String id, Instant created, EnvelopeKeyRecord record) {
    return version(changed(record), id, created);
  }

  private Query changed(EnvelopeKeyRecord record) {
    return query("UPDATE " + name + " SET key_record = ").value(dialect.keyRecord(json(record)));
  }

  /** Finds a version by its time, and reads the time. */
  Query createdOf(String id, Instant created) {
    return version(query("SELECT " + dialect.createdText() + " FROM " + name), id, created);
  }

  private Query version(Query query, String id, Instant created) {
    return query
        .add(" WHERE id = ")
        .value(dialect.id(id))
        .add(" AND created = ")
        .value(created(created));
  }

  Query query(String sql) {
    return new Query(dialect, sql);
  }

  Object created(Instant created) {
    return dialect.created(created, zone);
  }

  private static String json(EnvelopeKeyRecord record) {
    return new String(record.toJson(), StandardCharsets.UTF_8);
  }
}
