package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryMetadata;
import io.r2dbc.spi.Result;
import io.r2dbc.spi.Row;
import io.r2dbc.spi.RowMetadata;
import io.r2dbc.spi.Statement;
import io.r2dbc.spi.Wrapped;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BiFunction;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.test.publisher.TestPublisher;

/**
 * A driver that signals what a test tells it to, when the test tells it to. All its publishers are
 * plain ones, which keep what was signalled until somebody subscribes.
 */
final class FakeDriver implements ConnectionFactory {
  /** What the driver was asked for, in order. */
  final List<String> calls = new CopyOnWriteArrayList<>();

  /** The text of statements, in order. */
  final List<String> sql = new CopyOnWriteArrayList<>();

  /** What is bound, in order. */
  final List<Object> bound = new CopyOnWriteArrayList<>();

  final TestPublisher<Connection> create = TestPublisher.createCold();
  final TestPublisher<Void> begin = TestPublisher.createCold();
  final TestPublisher<Result> execute = TestPublisher.createCold();
  final TestPublisher<Row> rows = TestPublisher.createCold();
  final TestPublisher<Long> updated = TestPublisher.createCold();
  final TestPublisher<Void> commit = TestPublisher.createCold();
  final TestPublisher<Void> rollback = TestPublisher.createCold();
  final TestPublisher<Void> close = TestPublisher.createCold();
  final TestPublisher<Void> rawClose = TestPublisher.createCold();

  final Connection raw;

  /** The raw connection, or a pool's wrapper around it. */
  final Connection connection;

  final Result result;

  private final Map<String, Runnable> hooks = new HashMap<>();

  FakeDriver(boolean isAutoCommit, boolean isWrapped) {
    Statement statement =
        proxy(
            Statement.class,
            (self, method, arguments) -> {
              switch (method.getName()) {
                case "bind" -> bound.add(arguments[1]);
                case "fetchSize" -> calls.add("fetchSize");
                case "execute" -> {
                  return called("execute", execute);
                }
                default -> throw new UnsupportedOperationException(method.getName());
              }
              return self;
            });
    this.result =
        proxy(
            Result.class,
            (self, method, arguments) ->
                switch (method.getName()) {
                  case "getRowsUpdated" -> called("getRowsUpdated", updated);
                  case "map" -> {
                    called("map", rows);
                    @SuppressWarnings("unchecked")
                    BiFunction<Row, RowMetadata, ?> reader =
                        (BiFunction<Row, RowMetadata, ?>) arguments[0];
                    RowMetadata metadata = proxy(RowMetadata.class, (any, other, none) -> null);
                    yield Flux.from(rows).map(row -> reader.apply(row, metadata));
                  }
                  default -> throw new UnsupportedOperationException(method.getName());
                });
    InvocationHandler handler =
        (self, method, arguments) ->
            switch (method.getName()) {
              case "isAutoCommit" -> called("isAutoCommit", isAutoCommit);
              case "createStatement" -> {
                sql.add((String) arguments[0]);
                yield called("createStatement", statement);
              }
              case "beginTransaction" -> called("begin", begin);
              case "commitTransaction" -> called("commit", commit);
              case "rollbackTransaction" -> called("rollback", rollback);
              case "close" -> called("close", close);
              case "toString" -> "connection";
              default -> throw new UnsupportedOperationException(method.getName());
            };
    if (!isWrapped) {
      this.raw = proxy(Connection.class, handler);
      this.connection = raw;
      return;
    }
    Connection driver =
        proxy(
            Connection.class,
            (self, method, arguments) ->
                method.getName().equals("close")
                    ? called("rawClose", rawClose)
                    : handler.invoke(self, method, arguments));
    this.raw = driver;
    this.connection =
        (Connection)
            Proxy.newProxyInstance(
                FakeDriver.class.getClassLoader(),
                new Class<?>[] {Connection.class, Wrapped.class},
                (self, method, arguments) ->
                    method.getName().equals("unwrap")
                        ? driver
                        : handler.invoke(self, method, arguments));
  }

  FakeDriver() {
    this(true, false);
  }

  /** Runs something inside a call of the driver. */
  FakeDriver during(String call, Runnable hook) {
    hooks.put(call, hook);
    return this;
  }

  /** Lets the driver throw. */
  FakeDriver failing(String call, RuntimeException e) {
    return during(
        call,
        () -> {
          throw e;
        });
  }

  @Override
  public Publisher<? extends Connection> create() {
    return called("create", create);
  }

  @Override
  public ConnectionFactoryMetadata getMetadata() {
    return () -> "PostgreSQL";
  }

  void connected() {
    create.next(connection).complete();
  }

  /** A statement that finds rows. */
  void answers(Row... found) {
    execute.next(result);
    rows.emit(found);
    updated.next(1L).complete();
    execute.complete();
  }

  /** Whatever has not ended yet ends now, as the driver would end it sooner or later. */
  void endsEverything() {
    endsEverythingBut();
  }

  /** All but what a test has already ended in another way. */
  void endsEverythingBut(TestPublisher<?>... others) {
    List.of(begin, commit, rollback, close, rawClose).stream()
        .filter(publisher -> !List.of(others).contains(publisher))
        .forEach(TestPublisher::complete);
  }

  /** A row of these columns. */
  static Row row(String... columns) {
    return proxy(
        Row.class,
        (self, method, arguments) ->
            method.getName().equals("get") ? columns[(Integer) arguments[0]] : "row");
  }

  long count(String call) {
    return calls.stream().filter(call::equals).count();
  }

  void assertNothingCancelled() {
    Map.of(
            "create",
            create,
            "begin",
            begin,
            "execute",
            execute,
            "rows",
            rows,
            "updated",
            updated,
            "commit",
            commit,
            "rollback",
            rollback,
            "close",
            close,
            "rawClose",
            rawClose)
        .forEach(
            (name, publisher) ->
                assertThat(publisher.wasCancelled()).as("%s cancelled", name).isFalse());
  }

  private <T> T called(String call, T answer) {
    calls.add(call);
    hooks.getOrDefault(call, () -> {}).run();
    return answer;
  }

  @SuppressWarnings("unchecked")
  static <T> T proxy(Class<T> type, InvocationHandler handler) {
    return (T)
        Proxy.newProxyInstance(FakeDriver.class.getClassLoader(), new Class<?>[] {type}, handler);
  }
}
