package io.asherah.reactive.metastore.r2dbc;

import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.R2dbcException;
import io.r2dbc.spi.Row;
import io.r2dbc.spi.Statement;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.stream.Stream;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Mono;

/**
 * What differs between databases: how a statement is written, how an id and a time are bound, and
 * what the errors of the drivers mean. Immutable and safe for use by many threads.
 */
public abstract sealed class SqlDialect
    permits PostgreSqlDialect, MySqlDialect, SqlServerDialect, OracleDialect, H2Dialect {

  /** What the {@code id} of a table of ours holds. */
  static final int ID_LENGTH = 255;

  /** Compares exactly, also where the type of the column folds case. */
  private static final String ID_TEXT = "CAST(id AS VARCHAR(4000))";

  private final String name;

  SqlDialect(String name) {
    this.name = name;
  }

  /**
   * PostgreSQL and what speaks its protocol, for instance Amazon Aurora. Driver: {@code
   * org.postgresql:r2dbc-postgresql}.
   *
   * @return the dialect
   */
  public static SqlDialect postgreSql() {
    return new PostgreSqlDialect();
  }

  /**
   * MySQL 8 and later, MariaDB, and what speaks their protocol. Drivers: {@code
   * io.asyncer:r2dbc-mysql} and {@code org.mariadb:r2dbc-mariadb}, either of them with either
   * server.
   *
   * @return the dialect
   */
  public static SqlDialect mySql() {
    return new MySqlDialect();
  }

  /**
   * Microsoft SQL Server. Driver: {@code io.r2dbc:r2dbc-mssql}. No other Asherah implementation can
   * use a table in it.
   *
   * @return the dialect
   */
  public static SqlDialect sqlServer() {
    return new SqlServerDialect();
  }

  /**
   * Oracle Database. Driver: {@code com.oracle.database.r2dbc:oracle-r2dbc}. No other Asherah
   * implementation can use a table in it.
   *
   * @return the dialect
   */
  public static SqlDialect oracle() {
    return new OracleDialect();
  }

  /**
   * H2, embedded. Driver: {@code io.r2dbc:r2dbc-h2}. Its engine works on the thread that subscribes
   * and may block it; so this dialect, and only this one, subscribes on {@code
   * Schedulers.boundedElastic()}.
   *
   * @return the dialect
   */
  public static SqlDialect h2() {
    return new H2Dialect();
  }

  /**
   * The dialect of what a connection factory connects to, by the name in its metadata. Connects to
   * nothing.
   *
   * @param connectionFactory a driver's, or a pool of its connections
   * @return the dialect
   * @throws IllegalArgumentException if there is none for this name
   */
  public static SqlDialect of(ConnectionFactory connectionFactory) {
    String name = connectionFactory.getMetadata().getName();
    return switch (name) {
      case "PostgreSQL" -> postgreSql();
      case "MySQL", "MariaDB" -> mySql();
      case "Microsoft SQL Server" -> sqlServer();
      case "Oracle Database" -> oracle();
      case "H2" -> h2();
      default ->
          throw new IllegalArgumentException(
              "no dialect for \"%s\"; where it speaks the SQL of a database that is known, name that"
                      .formatted(name)
                  + " one with dialect(...), for instance SqlDialect.postgreSql()");
    };
  }

  // How statements are written.

  /** The marker of a value. */
  abstract String marker(int zeroBasedIndex);

  /** A query of no more than so many rows. */
  String limit(String query, int rows) {
    return query + " LIMIT " + rows;
  }

  /** The key record as text, whatever the type of its column. */
  String keyRecord() {
    return "key_record";
  }

  /** The time of a row as text: for messages, and to see whether it was kept. */
  String createdText() {
    return "CAST(created AS VARCHAR(40))";
  }

  /** What keeps the time of a row that is changed, where its column may be ON UPDATE. */
  String keptCreated() {
    return "";
  }

  /** The id in a form in which it is read as text, or in which {@link #idOf} can read it. */
  String selectedId() {
    return "id";
  }

  /** Adds a condition that an id is exactly this one, also where the column folds case. */
  void whereExactly(Query query, String id) {
    // The first comparison finds the row in the index, the second one tells case.
    query.add("id = ").value(id(id));
    query.add(" AND " + ID_TEXT + " = ").value(id(id));
  }

  /** Adds a condition that an id starts with this, exactly. */
  void wherePrefix(Query query, String prefix) {
    query.add(ID_TEXT + " LIKE ").value(escapeLike(prefix) + "%").add(" ESCAPE '!'");
  }

  /** Some databases take it for an error when anything else is escaped. */
  static String escapeLike(String text) {
    return text.replaceAll("[!%_]", "!$0");
  }

  /** What is bound for an id. */
  Object id(String id) {
    return id;
  }

  /** What {@link #selectedId} was read as. */
  String idOf(Row row, int index) {
    return Objects.requireNonNull(row.get(index, String.class), "id");
  }

  /** The length of an id as its column counts it. */
  int lengthOf(String id) {
    return id.codePointCount(0, id.length());
  }

  /** What is bound for a time; UTC unless the table was written in another zone. */
  Object created(Instant created, ZoneId zone) {
    return LocalDateTime.ofInstant(created, zone);
  }

  /** What is bound for a key record. */
  Object keyRecord(String json) {
    return json;
  }

  /** Sets what is to be set of each statement. */
  Statement prepare(Statement statement) {
    return statement;
  }

  /** Whether a time that was stored has to be looked up to know that the column kept it. */
  boolean mayChangeTimes() {
    return false;
  }

  /**
   * What sets the read consistency of an Aurora replica that forwards writes.
   *
   * @throws IllegalArgumentException if the database is never Aurora
   */
  String auroraReadConsistency(AuroraReadConsistency consistency) {
    throw new IllegalArgumentException(
        "auroraReadConsistency is for PostgreSQL and MySQL on Amazon Aurora, and this is " + name);
  }

  // How drivers behave.

  /** Calls a driver on a thread on which it may be called. */
  <T> Mono<T> call(Publisher<? extends T> driver) {
    return Mono.from(driver);
  }

  /** Begins a transaction, also where auto-commit is off. */
  Publisher<Void> begin(Connection connection) {
    return connection.beginTransaction();
  }

  /** Ends it and keeps what it did. */
  Publisher<Void> commit(Connection connection) {
    return connection.commitTransaction();
  }

  /** Ends it and undoes what it did. */
  Publisher<Void> rollBack(Connection connection) {
    return connection.rollbackTransaction();
  }

  /** What the codes of an error mean; {@link Failure#OTHER} where they do not tell. */
  Failure failure(R2dbcException e) {
    return Failure.ofSqlState(e.getSqlState());
  }

  /**
   * Whether the code of an error is one of the server, which answered, so that one that is not
   * known is no broken connection, in whatever class the driver puts it.
   */
  boolean isOfServer(R2dbcException e) {
    return false;
  }

  // The table.

  /** The statements that make the table, in their order. */
  List<String> ddl(String table) {
    String resource = name.toLowerCase(Locale.ROOT).replace(" ", "-") + ".sql";
    try (InputStream ddl = SqlDialect.class.getResourceAsStream(resource)) {
      String text =
          new String(Objects.requireNonNull(ddl, resource).readAllBytes(), StandardCharsets.UTF_8);
      // A blank line ends a statement, since blocks of procedural SQL have semicolons inside.
      return Stream.of(text.replace("${table}", table).split("\n\\s*\n"))
          .map(String::strip)
          .filter(statement -> !statement.isEmpty())
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The zone of all tables that were not written by canonical Java in another one. */
  static ZoneId utc() {
    return ZoneOffset.UTC;
  }

  /** The name of the database, for messages. */
  @Override
  public final String toString() {
    return name;
  }
}
