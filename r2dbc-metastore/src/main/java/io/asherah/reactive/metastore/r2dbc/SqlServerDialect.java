package io.asherah.reactive.metastore.r2dbc;

import io.r2dbc.spi.Connection;
import io.r2dbc.spi.R2dbcException;
import io.r2dbc.spi.Row;
import io.r2dbc.spi.Statement;
import java.nio.charset.StandardCharsets;
import java.util.Objects;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Mono;

/**
 * Microsoft SQL Server. An id is kept as the bytes of its UTF-8 form: in every collation texts that
 * differ only in spaces at their end are the same key.
 */
final class SqlServerDialect extends SqlDialect {
  SqlServerDialect() {
    super("SQL Server");
  }

  @Override
  String marker(int zeroBasedIndex) {
    return "@P" + zeroBasedIndex;
  }

  @Override
  String limit(String query, int rows) {
    return query.replaceFirst("^SELECT ", "SELECT TOP (" + rows + ") ");
  }

  @Override
  void whereExactly(Query query, String id) {
    query.add("id = ").value(id(id));
  }

  @Override
  void wherePrefix(Query query, String prefix) {
    query.add("SUBSTRING(id, 1, " + utf8(prefix).length + ") = ").value(utf8(prefix));
  }

  @Override
  Object id(String id) {
    return utf8(id);
  }

  @Override
  String idOf(Row row, int index) {
    return new String(
        Objects.requireNonNull(row.get(index, byte[].class), "id"), StandardCharsets.UTF_8);
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  /**
   * Without a cursor. With one, which a factory may be set to prefer, an INSERT fails and queries
   * get stuck under load (r2dbc-mssql issue 296).
   */
  @Override
  Statement prepare(Statement statement) {
    return statement.fetchSize(0);
  }

  // The driver commits and rolls back only where the server has told it of a transaction, and not
  // all that speak its protocol do. The server itself knows.

  @Override
  Publisher<Void> begin(Connection connection) {
    return execute(connection, "IF @@TRANCOUNT = 0 BEGIN TRANSACTION");
  }

  /** Without auto-commit there may be one within the other. */
  @Override
  Publisher<Void> commit(Connection connection) {
    return execute(connection, "WHILE @@TRANCOUNT > 0 COMMIT TRANSACTION");
  }

  @Override
  Publisher<Void> rollBack(Connection connection) {
    return execute(connection, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION");
  }

  private Mono<Void> execute(Connection connection, String sql) {
    return new Query(this, sql).update(connection).then();
  }

  /** Numbers of {@code sys.messages}; those from 40,197 on are of Azure SQL. */
  @Override
  Failure failure(R2dbcException e) {
    return switch (e.getErrorCode()) {
      case 2627, 2601 -> Failure.DUPLICATE;
      case 208 -> Failure.TABLE_MISSING;
      case 207 -> Failure.COLUMN_MISSING;
      case 911, 4060 -> Failure.NO_DATABASE;
      case 18_452, 18_456 -> Failure.UNKNOWN_USER;
      case 229, 230, 262, 297, 300 -> Failure.DENIED;
      // Deadlock, lock time-out, memory, broken connections, shutdown, failover, throttling.
      case -2,
          20,
          64,
          121,
          233,
          701,
          802,
          921,
          922,
          923,
          927,
          983,
          1204,
          1205,
          1222,
          3906,
          3960,
          4221,
          6002,
          6005,
          8645,
          8651,
          10_053,
          10_054,
          10_060,
          10_928,
          10_929,
          17_142,
          17_189,
          40_143,
          40_197,
          40_501,
          40_540,
          40_613,
          42_108,
          42_109,
          49_918,
          49_919,
          49_920 ->
          Failure.PASSING;
      default -> Failure.OTHER;
    };
  }
}
