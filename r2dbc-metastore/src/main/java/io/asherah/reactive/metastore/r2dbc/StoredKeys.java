package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.Row;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.function.BiFunction;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Lists, revokes and deletes what a selector selects. Where that may be much it goes from page to
 * page, so that no operation takes long and nothing waits for a slow subscriber but pages that were
 * not read yet.
 */
final class StoredKeys {
  /** How many ids a page has. */
  static final int PAGE = 500;

  /** Fewer, since each key is a statement of its own, and all of a page have one time limit. */
  static final int REVOCATION_PAGE = 20;

  /** What every database takes for a time. */
  private static final Instant EARLIEST = Instant.parse("1000-01-02T00:00:00Z");

  private static final Instant LATEST = Instant.parse("9999-12-30T00:00:00Z");

  private final Table table;
  private final Connections connections;

  StoredKeys(Table table, Connections connections) {
    this.table = table;
    this.connections = connections;
  }

  Flux<KeyInfo> list(KeySelector selector) {
    return pages("list keys", selector, PAGE, this::read)
        .concatMapIterable(keys -> keys, 1)
        .map(key -> new KeyInfo(key.meta(), key.record.isRevoked(), key.record.parentKeyMeta()));
  }

  Mono<Long> revoke(KeySelector selector) {
    return pages("revoke keys", selector, REVOCATION_PAGE, this::revoke).reduce(0L, Long::sum);
  }

  Mono<Long> delete(KeySelector selector) {
    return pages("delete keys", selector, PAGE, this::delete).reduce(0L, Long::sum);
  }

  // What is done with a page, on its connection.

  private Mono<List<Key>> read(Connection connection, Page page) {
    Query query = table.select(table.dialect.selectedId());
    page.where(query);
    return query.add(" ORDER BY id, created").rows(connection, this::key);
  }

  private Mono<Long> revoke(Connection connection, Page page) {
    return read(connection, page)
        .flatMapIterable(keys -> keys)
        .filter(key -> !key.record.isRevoked())
        .concatMap(key -> revoke(connection, key))
        .reduce(0L, Long::sum);
  }

  private Mono<Long> revoke(Connection connection, Key key) {
    return table.update(key.id, key.record.created(), key.record.asRevoked()).update(connection);
  }

  private Mono<Long> delete(Connection connection, Page page) {
    Query query = table.query("DELETE FROM " + table.name);
    page.where(query);
    return query.update(connection);
  }

  private Key key(Row row) {
    String id = table.dialect.idOf(row, 2);
    return new Key(id, table.record(row, id));
  }

  // Pages.

  /** Does something with each page of keys that are selected. */
  private <T> Flux<T> pages(
      String what, KeySelector selector, int size, BiFunction<Connection, Page, Mono<T>> work) {
    if (!Table.mayBeId(selector.id())) {
      return Flux.empty();
    }
    if (!selector.isPrefix()) {
      Page all = new Page(selector, Optional.empty(), Optional.empty());
      return connections.use(what, connection -> work.apply(connection, all)).flux();
    }
    return next(what, selector, size, Optional.empty(), work)
        .expand(
            done ->
                done.page.isLast()
                    ? Mono.empty()
                    : next(what, selector, size, done.page.last, work))
        .map(done -> done.result);
  }

  private <T> Mono<Done<T>> next(
      String what,
      KeySelector selector,
      int size,
      Optional<String> after,
      BiFunction<Connection, Page, Mono<T>> work) {
    return connections.use(
        what,
        connection ->
            page(connection, selector, size, after)
                .flatMap(
                    page -> work.apply(connection, page).map(result -> new Done<>(page, result))));
  }

  /** Finds where the next page ends. */
  private Mono<Page> page(
      Connection connection, KeySelector selector, int size, Optional<String> after) {
    Query ids = table.query("SELECT " + table.dialect.selectedId() + " FROM " + table.name);
    new Page(selector, after, Optional.empty()).where(ids);
    return ids.add(" GROUP BY id ORDER BY id")
        .limit(size)
        .rows(connection, row -> table.dialect.idOf(row, 0))
        .map(
            found ->
                new Page(
                    selector,
                    after,
                    found.size() < size
                        ? Optional.empty()
                        : Optional.of(found.get(found.size() - 1))));
  }

  private record Key(String id, EnvelopeKeyRecord record) {
    KeyMeta meta() {
      return new KeyMeta(id, record.created());
    }
  }

  private record Done<T>(Page page, T result) {}

  /** Keys that are selected, whose ids are greater than one and not greater than another. */
  private final class Page {
    private final KeySelector selector;
    private final Optional<String> after;
    private final Optional<String> last;

    Page(KeySelector selector, Optional<String> after, Optional<String> last) {
      this.selector = selector;
      this.after = after;
      this.last = last;
    }

    boolean isLast() {
      return last.isEmpty();
    }

    void where(Query query) {
      query.add(" WHERE NOT (");
      table.dialect.wherePrefix(query, Table.FOREIGN);
      query.add(")");
      if (!selector.isPrefix()) {
        query.add(" AND ");
        table.dialect.whereExactly(query, selector.id());
      } else if (!selector.id().isEmpty()) {
        query.add(" AND ");
        table.dialect.wherePrefix(query, selector.id());
      }
      after.ifPresent(id -> query.add(" AND id > ").value(table.dialect.id(id)));
      last.ifPresent(id -> query.add(" AND id <= ").value(table.dialect.id(id)));
      Instant from = selector.from();
      if (from != null) {
        query.add(" AND created >= ").value(table.created(wholeSecond(from)));
      }
      Instant before = selector.before();
      if (before != null) {
        query.add(" AND created < ").value(table.created(wholeSecond(before)));
      }
    }
  }

  /** Times are whole seconds: from a part of one on means from the next on. */
  private static Instant wholeSecond(Instant time) {
    // First to what is kept: one second more than the last of Instant is none.
    Instant kept = time.isBefore(EARLIEST) ? EARLIEST : time.isAfter(LATEST) ? LATEST : time;
    return kept.getNano() == 0 ? kept : Instant.ofEpochSecond(kept.getEpochSecond() + 1);
  }
}
