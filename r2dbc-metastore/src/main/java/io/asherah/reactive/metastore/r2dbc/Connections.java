package io.asherah.reactive.metastore.r2dbc;

import static java.util.stream.Collectors.toMap;

import io.asherah.reactive.MetastoreException;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.Wrapped;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Publisher;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Signal;
import reactor.util.context.Context;

/**
 * Lends a connection to an operation, for a limited time, and takes it back whatever happens.
 *
 * <p>Whoever cancels stops waiting, and that is all: no connection is cancelled that is being made,
 * and no statement that was sent. Drivers and pools lose connections, or wait for ever for the
 * answer to a statement, where a cancellation meets a signal; and a pool would lend a connection in
 * that state to the next one. So the work goes on alone until it has ended, which {@code cache()}
 * is for: its source has no other subscriber than itself, and is never cancelled.
 *
 * <p>A statement that does not end in its time leaves a connection that nobody may use any more: it
 * is closed beneath the pool, which notices when it checks the connection.
 */
final class Connections {
  /** How many connections may be on their way for operations that gave up. */
  static final int MAX_GIVEN_UP = 1_000;

  private static final Logger LOG = LoggerFactory.getLogger(Connections.class);

  /** The keys of Spring's transactions, which are of these classes. */
  private static final String TRANSACTIONS = "org.springframework.transaction.";

  private final ConnectionFactory factory;
  private final SqlDialect dialect;
  private final Duration acquireTimeout;
  private final Duration statementTimeout;
  private final Duration closeTimeout;
  private final @Nullable String setUp;

  /** Operations that gave up waiting for a connection that is still on its way. */
  private final AtomicInteger givenUp = new AtomicInteger();

  Connections(
      ConnectionFactory factory,
      SqlDialect dialect,
      Duration acquireTimeout,
      Duration statementTimeout,
      Duration closeTimeout,
      @Nullable String setUp) {
    this.factory = factory;
    this.dialect = dialect;
    this.acquireTimeout = acquireTimeout;
    this.statementTimeout = statementTimeout;
    this.closeTimeout = closeTimeout;
    this.setUp = setUp;
  }

  /** In which transaction work is done. Never in one of the caller. */
  enum Transaction {
    /** None, or where auto-commit is off one that is committed. */
    NONE,
    /** One that is committed, or rolled back where the work fails. */
    COMMITTED,
    /** One that leaves nothing behind. */
    ROLLED_BACK
  }

  /** Does work that is one statement, or that may end after any of its statements. */
  <T> Mono<T> use(String what, Function<Connection, Mono<T>> work) {
    return use(what, Transaction.NONE, work);
  }

  /**
   * Does work on a connection of its own.
   *
   * @param what for messages: "load a key"
   * @param transaction in which transaction
   * @param work has statements that are executed to their end; it has a result
   */
  <T> Mono<T> use(String what, Transaction transaction, Function<Connection, Mono<T>> work) {
    return Mono.defer(
            () ->
                givenUp.get() < MAX_GIVEN_UP
                    ? use(new Turn(), what, transaction, work)
                    : Mono.error(tooManyGivenUp(what)))
        // An empty answer would be taken for an absent key.
        .switchIfEmpty(Mono.error(() -> noAnswer(what)))
        .onErrorMap(e -> DriverErrors.map(what, e, dialect))
        .contextWrite(Connections::withoutTransactions);
  }

  private <T> Mono<T> use(
      Turn turn, String what, Transaction transaction, Function<Connection, Mono<T>> work) {
    Mono<T> operation =
        dialect
            .<Connection>call(Mono.defer(this::connect))
            .flatMap(
                connection ->
                    turn.begin()
                        ? lend(connection, what, transaction, work)
                        : giveBack(connection, turn).then(Mono.never()))
            .doFirst(turn::start)
            .doFinally(any -> turn.end());
    return Mono.firstWithSignal(alone(operation), Mono.defer(() -> expiry(turn, what)))
        .<T>dematerialize()
        .doOnCancel(turn::giveUp);
  }

  /** Fails when there is no connection in time; without a timer where a pool lent one at once. */
  private <T> Mono<T> expiry(Turn turn, String what) {
    return turn.waits()
        ? Mono.delay(acquireTimeout)
            .flatMap(late -> turn.giveUp() ? Mono.error(noConnection(what)) : Mono.never())
        : Mono.never();
  }

  /**
   * Work that goes on by itself when nobody waits for it any more. How it ends is a value for as
   * long as somebody may stop waiting: Reactor logs an error that meets a cancellation, and drivers
   * quote the ids of rows.
   */
  private static <T> Mono<Signal<T>> alone(Mono<T> work) {
    return work.materialize().cache();
  }

  /**
   * What is no Mono is not cancelled when it has made its connection, as {@code Mono.from} does,
   * and whatever it signals after that does not count.
   */
  private Mono<Connection> connect() {
    Publisher<? extends Connection> connection = factory.create();
    return connection instanceof Mono
        ? Mono.from(connection)
        : Flux.<Connection>from(connection).cache(1).next();
  }

  /**
   * Ends the turn of a connection that nobody waits for. Who gave up may not have got as far as to
   * cancel or to time out yet, so nothing must follow on this.
   */
  private Mono<Void> giveBack(Connection connection, Turn turn) {
    return close(connection).doFinally(any -> turn.end());
  }

  private <T> Mono<T> lend(
      Connection connection,
      String what,
      Transaction transaction,
      Function<Connection, Mono<T>> work) {
    return Mono.usingWhen(
        Mono.just(connection),
        open ->
            // A statement that was sent is not cancelled when its time is over either.
            alone(dialect.<T>call(Mono.defer(() -> setUp(open).then(in(transaction, open, work)))))
                .timeout(statementTimeout, Mono.error(() -> late(what)))
                .<T>dematerialize(),
        this::close,
        (open, e) -> e instanceof LateException ? destroy(open) : close(open),
        this::close);
  }

  private Mono<Void> setUp(Connection connection) {
    return setUp == null ? Mono.empty() : new Query(dialect, setUp).update(connection).then();
  }

  private <T> Mono<T> in(
      Transaction transaction, Connection connection, Function<Connection, Mono<T>> work) {
    // Whoever made the connection may have switched auto-commit off, or the server may have.
    return transaction == Transaction.NONE && connection.isAutoCommit()
        ? work.apply(connection)
        : Mono.usingWhen(
            Mono.from(dialect.begin(connection)).thenReturn(connection),
            work,
            transaction == Transaction.ROLLED_BACK ? dialect::rollBack : dialect::commit,
            (begun, e) -> rollBackAfterAll(begun),
            dialect::rollBack);
  }

  /** What failed before is what counts. */
  private Mono<Void> rollBackAfterAll(Connection connection) {
    return Mono.defer(() -> Mono.from(dialect.rollBack(connection))).onErrorComplete();
  }

  /** Gives a connection back to its pool, or closes one that comes from none. */
  private Mono<Void> close(Connection connection) {
    return quietly(connection::close);
  }

  /** Closes a connection in a way that no pool lends it again. */
  private Mono<Void> destroy(Connection connection) {
    Connection driver = unwrap(connection);
    return driver == connection ? close(connection) : close(driver).then(close(connection));
  }

  private static Connection unwrap(Connection connection) {
    return connection instanceof Wrapped<?> wrapper
            && wrapper.unwrap() instanceof Connection inner
            && inner != connection
        ? unwrap(inner)
        : connection;
  }

  private Mono<Void> quietly(Supplier<? extends Publisher<Void>> close) {
    Mono<Void> closed = dialect.<Void>call(Mono.defer(() -> Mono.from(close.get())));
    // Without a timer where a pool takes the connection back at once.
    return Mono.firstWithSignal(alone(closed), tooLate())
        .<Void>dematerialize()
        .onErrorResume(
            e -> {
              LOG.debug("closing a connection to {} failed", dialect, e);
              return Mono.empty();
            });
  }

  private <T> Mono<T> tooLate() {
    return Mono.delay(closeTimeout).then(Mono.error(TimeoutException::new));
  }

  private static Context withoutTransactions(Context context) {
    return Context.of(
        context.stream()
            .filter(entry -> !isOfATransaction(entry.getKey()))
            .collect(toMap(Map.Entry::getKey, Map.Entry::getValue)));
  }

  private static boolean isOfATransaction(Object key) {
    return key instanceof Class<?> type && type.getName().startsWith(TRANSACTIONS);
  }

  private MetastoreException noAnswer(String what) {
    return new MetastoreException(
        "%s failed to %s: the driver ended without an answer".formatted(dialect, what), null, true);
  }

  private MetastoreException noConnection(String what) {
    String message =
        ("cannot %s: there was no connection to %s within %s. Look whether the database can be"
                + " reached, and whether the pool has connections enough")
            .formatted(what, dialect, acquireTimeout);
    return new MetastoreException(message, new TimeoutException(message), true);
  }

  private MetastoreException tooManyGivenUp(String what) {
    return new MetastoreException(
        ("cannot %s: %d connections to %s are still being waited for by operations that gave up."
                + " Limit the time in which the pool or the driver makes a connection")
            .formatted(what, MAX_GIVEN_UP, dialect),
        null,
        true);
  }

  private LateException late(String what) {
    return new LateException("%s did not %s within %s".formatted(dialect, what, statementTimeout));
  }

  /** Says that a statement is still under way. */
  static final class LateException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    LateException(String message) {
      super(message, null, false, false);
    }
  }

  /** Who has a say about a connection that is on its way: the one who waits for it, or nobody. */
  private final class Turn {
    private final AtomicReference<State> state = new AtomicReference<>(State.NEW);

    /** A connection is asked for. */
    void start() {
      state.set(State.WAITS);
    }

    boolean waits() {
      return state.get() == State.WAITS;
    }

    /** Whether there is still somebody to whom the connection can be lent. */
    boolean begin() {
      return state.compareAndSet(State.WAITS, State.LENT);
    }

    /** Whether a connection was asked for and had not arrived yet. */
    boolean giveUp() {
      if (!state.compareAndSet(State.WAITS, State.GIVEN_UP)) {
        return false;
      }
      givenUp.incrementAndGet();
      return true;
    }

    void end() {
      if (state.getAndSet(State.ENDED) == State.GIVEN_UP) {
        givenUp.decrementAndGet();
      }
    }
  }

  private enum State {
    NEW,
    WAITS,
    LENT,
    GIVEN_UP,
    ENDED
  }
}
