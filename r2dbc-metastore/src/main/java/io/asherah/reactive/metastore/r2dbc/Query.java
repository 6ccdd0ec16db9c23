package io.asherah.reactive.metastore.r2dbc;

import io.r2dbc.spi.Connection;
import io.r2dbc.spi.Result;
import io.r2dbc.spi.Row;
import io.r2dbc.spi.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A statement and its values, put together piece by piece: no value ever becomes part of the text.
 * For one thread, and for one execution.
 */
final class Query {
  private final SqlDialect dialect;
  private final StringBuilder sql = new StringBuilder();
  private final List<Object> values = new ArrayList<>();

  Query(SqlDialect dialect, String sql) {
    this.dialect = dialect;
    add(sql);
  }

  Query add(String text) {
    sql.append(text);
    return this;
  }

  Query value(Object value) {
    sql.append(dialect.marker(values.size()));
    values.add(value);
    return this;
  }

  Query limit(int rows) {
    String limited = dialect.limit(sql.toString(), rows);
    sql.setLength(0);
    return add(limited);
  }

  /** How many rows were changed; 0 also where the server does not tell. */
  Mono<Long> update(Connection connection) {
    return all(connection, Result::getRowsUpdated)
        .map(counts -> counts.stream().mapToLong(Long::longValue).sum());
  }

  /** All rows, which are few. */
  <T> Mono<List<T>> rows(Connection connection, Function<Row, T> reader) {
    return all(connection, result -> result.map((row, metadata) -> read(row, reader)))
        .flatMap(rows -> Flux.concat(rows).collectList());
  }

  private static <T> Mono<T> read(Row row, Function<Row, T> reader) {
    try {
      return Mono.just(reader.apply(row));
    } catch (RuntimeException e) {
      return Mono.error(e);
    }
  }

  /**
   * What all results have, or the first error. A statement is read to its end in any case: an error
   * in the middle would cancel it, and a driver may wait for ever for what was only begun.
   */
  private <T> Mono<List<T>> all(
      Connection connection, Function<Result, Publisher<? extends T>> reader) {
    return results(connection)
        .concatMap(
            result ->
                Flux.<T>from(reader.apply(result))
                    .map(Mono::just)
                    .onErrorResume(e -> Mono.just(Mono.error(e))))
        .onErrorResume(e -> Mono.just(Mono.error(e)))
        .collectList()
        .flatMap(found -> Flux.concat(found).collectList());
  }

  private Flux<Result> results(Connection connection) {
    return Flux.defer(
        () -> {
          Statement statement = dialect.prepare(connection.createStatement(sql.toString()));
          for (int i = 0; i < values.size(); i++) {
            statement.bind(i, values.get(i));
          }
          return Flux.<Result>from(statement.execute());
        });
  }
}
