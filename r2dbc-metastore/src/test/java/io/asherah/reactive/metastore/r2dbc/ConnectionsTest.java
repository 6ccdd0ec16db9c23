package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.testsupport.Await;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryMetadata;
import io.r2dbc.spi.R2dbcDataIntegrityViolationException;
import io.r2dbc.spi.R2dbcNonTransientResourceException;
import io.r2dbc.spi.Row;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.reactivestreams.Publisher;
import org.reactivestreams.Subscription;
import org.springframework.r2dbc.connection.R2dbcTransactionManager;
import org.springframework.r2dbc.connection.TransactionAwareConnectionFactoryProxy;
import org.springframework.transaction.reactive.TransactionContextManager;
import org.springframework.transaction.reactive.TransactionalOperator;
import reactor.core.Disposable;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.publisher.TestPublisher;
import reactor.test.scheduler.VirtualTimeScheduler;
import reactor.util.context.Context;

class ConnectionsTest {
  private static final Duration ACQUIRE = Duration.ofSeconds(5);
  private static final Duration STATEMENT = Duration.ofSeconds(7);
  private static final Duration CLOSE = Duration.ofSeconds(3);
  private static final SqlDialect DIALECT = SqlDialect.postgreSql();
  private static final Row ROW = FakeDriver.row("found");

  @AfterEach
  void realTime() {
    VirtualTimeScheduler.reset();
  }

  private static Connections connections(ConnectionFactory factory) {
    return connections(factory, null);
  }

  private static Connections connections(ConnectionFactory factory, @Nullable String setUp) {
    return new Connections(factory, DIALECT, ACQUIRE, STATEMENT, CLOSE, setUp);
  }

  /** A query on a connection. */
  private static Mono<List<String>> query(Connections connections) {
    return connections.use(
        "load a key",
        connection ->
            new Query(DIALECT, "SELECT x")
                .rows(connection, row -> String.valueOf(row.get(0, String.class))));
  }

  private static Mono<List<String>> query(FakeDriver driver) {
    return query(connections(driver));
  }

  private static VirtualTimeScheduler virtualTime() {
    return VirtualTimeScheduler.getOrSet();
  }

  private static void assertFails(
      StepVerifier.Step<?> step, boolean isRetryable, String... messageParts) {
    step.expectErrorSatisfies(
            e ->
                assertThat(e)
                    .asInstanceOf(type(MetastoreException.class))
                    .satisfies(failure -> assertThat(failure.isRetryable()).isEqualTo(isRetryable))
                    .extracting(Throwable::getMessage)
                    .asString()
                    .contains(messageParts))
        .verify();
  }

  // The ordinary course.

  @Test
  void create_thatDoesNotComplete_lendsTheConnection() {
    FakeDriver driver = new FakeDriver();
    driver.create.next(driver.connection);
    driver.answers(ROW);
    driver.endsEverything();
    StepVerifier.create(query(driver)).expectNext(List.of("found")).verifyComplete();
    driver.assertNothingCancelled();
  }

  @Test
  void query_withAutoCommit_closesAndAnswers() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(ROW, ROW);
    StepVerifier.create(query(driver))
        .then(
            () ->
                assertThat(driver.calls)
                    .containsExactly(
                        "create", "isAutoCommit", "createStatement", "execute", "map", "close"))
        .then(driver.close::complete)
        .expectNext(List.of("found", "found"))
        .verifyComplete();
    driver.assertNothingCancelled();
  }

  @Test
  void query_withoutAutoCommit_commits() {
    FakeDriver driver = new FakeDriver(false, false);
    driver.connected();
    driver.answers(ROW);
    driver.endsEverything();
    StepVerifier.create(query(driver)).expectNext(List.of("found")).verifyComplete();
    assertThat(driver.calls)
        .containsExactly(
            "create",
            "isAutoCommit",
            "begin",
            "createStatement",
            "execute",
            "map",
            "commit",
            "close");
    driver.assertNothingCancelled();
  }

  @Test
  void query_withSetUp_runsItFirst() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(ROW);
    driver.endsEverything();
    StepVerifier.create(query(connections(driver, "SET x")))
        .expectNext(List.of("found"))
        .verifyComplete();
    assertThat(driver.calls)
        .containsSequence("createStatement", "execute", "getRowsUpdated")
        .endsWith("createStatement", "execute", "map", "close");
  }

  @Test
  void query_notSubscribed_doesNothing() {
    FakeDriver driver = new FakeDriver();
    query(driver);
    assertThat(driver.calls).isEmpty();
  }

  @Test
  void query_subscribedTwice_isTwoAttempts() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(ROW);
    driver.endsEverything();
    Mono<List<String>> query = query(driver);
    StepVerifier.create(query).expectNextCount(1).verifyComplete();
    StepVerifier.create(query).expectNextCount(1).verifyComplete();
    assertThat(driver.count("create")).isEqualTo(2);
    assertThat(driver.count("execute")).isEqualTo(2);
    assertThat(driver.count("close")).isEqualTo(2);
  }

  // Cancellation.

  /** What the driver signals, one after the other. */
  private static List<Runnable> signals(FakeDriver driver) {
    return List.of(
        () -> driver.create.next(driver.connection),
        driver.create::complete,
        driver.begin::complete,
        () -> driver.execute.next(driver.result),
        () -> driver.rows.next(ROW),
        () -> driver.rows.next(ROW),
        driver.rows::complete,
        driver.execute::complete,
        driver.commit::complete,
        driver.close::complete);
  }

  private static Stream<Object[]> boundaries() {
    return Stream.of(true, false)
        .flatMap(
            autoCommit ->
                Stream.iterate(0, n -> n <= 10, n -> n + 1).map(n -> new Object[] {autoCommit, n}));
  }

  @ParameterizedTest
  @MethodSource("boundaries")
  void cancel_betweenSignals_closesOnceAndCancelsNothing(boolean isAutoCommit, int after) {
    FakeDriver driver = new FakeDriver(isAutoCommit, true);
    List<Runnable> signals = signals(driver);
    Disposable caller = query(driver).subscribe();
    signals.subList(0, after).forEach(Runnable::run);
    caller.dispose();
    signals.subList(after, signals.size()).forEach(Runnable::run);

    assertEnded(driver, isAutoCommit, after >= 1);
  }

  private static void assertEnded(FakeDriver driver, boolean isAutoCommit, boolean isExecuted) {
    assertThat(driver.count("create")).isOne();
    assertThat(driver.count("close")).isOne();
    assertThat(driver.count("rawClose")).isZero();
    assertThat(driver.count("execute")).isEqualTo(isExecuted ? 1 : 0);
    assertThat(driver.count("commit")).isEqualTo(isExecuted && !isAutoCommit ? 1 : 0);
    assertThat(driver.count("rollback")).isZero();
    assertThat(driver.calls).endsWith("close");
    driver.assertNothingCancelled();
  }

  @ParameterizedTest
  @CsvSource({
    "create,false",
    "isAutoCommit,true",
    "begin,true",
    "createStatement,true",
    "execute,true",
    "map,true",
    "commit,true",
    "close,true"
  })
  void cancel_insideACallOfTheDriver_closesOnceAndCancelsNothing(String call, boolean isExecuted) {
    FakeDriver driver = new FakeDriver(false, true);
    BaseSubscriber<List<String>> caller = new BaseSubscriber<>() {};
    driver.during(call, caller::cancel);
    query(driver).subscribe(caller);
    signals(driver).forEach(Runnable::run);

    assertEnded(driver, false, isExecuted);
  }

  @Test
  void cancel_beforeCreateFails_leavesNothing() {
    FakeDriver driver = new FakeDriver();
    query(driver).subscribe().dispose();
    driver.create.error(new IOException("refused"));
    assertThat(driver.calls).containsExactly("create");
    driver.assertNothingCancelled();
  }

  @Test
  void cancel_beforeTheStatementFails_rollsBackAndCloses() {
    FakeDriver driver = new FakeDriver(false, false);
    driver.connected();
    driver.begin.complete();
    query(driver).subscribe().dispose();
    driver.execute.error(new IOException("broken"));
    driver.endsEverything();
    assertThat(driver.calls).endsWith("execute", "rollback", "close");
    driver.assertNothingCancelled();
  }

  @Test
  void cancel_thenTheStatementNeverEnds_destroysTheConnectionInTime() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver(true, true);
    driver.connected();
    query(driver).subscribe().dispose();
    driver.endsEverything();
    time.advanceTimeBy(STATEMENT);
    assertThat(driver.calls).endsWith("execute", "rawClose", "close");
    driver.assertNothingCancelled();
  }

  @Test
  void cancel_thenCloseNeverEnds_isNoError() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(ROW);
    query(driver).subscribe().dispose();
    time.advanceTimeBy(CLOSE.multipliedBy(2));
    assertThat(driver.count("close")).isOne();
    driver.assertNothingCancelled();
    driver.close.error(new IOException("late"));
  }

  @Test
  void cancel_inTheMomentOfDelivery_closesEveryConnection() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(2);
    try {
      AtomicInteger made = new AtomicInteger();
      AtomicInteger closed = new AtomicInteger();
      AtomicInteger executed = new AtomicInteger();
      AtomicInteger ended = new AtomicInteger();
      Connection connection =
          FakeDriver.proxy(
              Connection.class,
              (self, method, arguments) ->
                  switch (method.getName()) {
                    case "isAutoCommit" -> true;
                    case "close" -> Mono.<Void>fromRunnable(closed::incrementAndGet);
                    default -> throw new UnsupportedOperationException(method.getName());
                  });
      AtomicReference<@Nullable TestPublisher<Connection>> next = new AtomicReference<>();
      Connections connections =
          connections(factory(() -> Stream.ofNullable(next.get()).findAny().orElseThrow()));
      CyclicBarrier barrier = new CyclicBarrier(2);
      int rounds = 20_000;
      for (int i = 0; i < rounds; i++) {
        TestPublisher<Connection> create = TestPublisher.create();
        next.set(create);
        Disposable caller =
            connections
                .use(
                    "race",
                    any ->
                        Mono.fromRunnable(executed::incrementAndGet)
                            .thenReturn(1)
                            .doFinally(signal -> ended.incrementAndGet()))
                .subscribe();
        var delivery =
            threads.submit(
                () -> {
                  barrier.await();
                  made.incrementAndGet();
                  create.next(connection).complete();
                  return null;
                });
        var cancellation =
            threads.submit(
                () -> {
                  barrier.await();
                  caller.dispose();
                  return null;
                });
        delivery.get(30, TimeUnit.SECONDS);
        cancellation.get(30, TimeUnit.SECONDS);
        assertThat(create.wasCancelled()).isFalse();
      }
      assertThat(made).hasValue(rounds);
      assertThat(closed).hasValue(rounds);
      assertThat(ended).hasValue(executed.get());
      // The race was one, and nobody is counted as waiting any more.
      assertThat(executed.get()).isBetween(1, rounds - 1);
      assertNoneGivenUp(connections, next);
    } finally {
      threads.shutdownNow();
    }
  }

  /** All places but one can be taken, so none was lost. */
  private static void assertNoneGivenUp(
      Connections connections, AtomicReference<@Nullable TestPublisher<Connection>> next) {
    next.set(TestPublisher.create());
    for (int i = 0; i < Connections.MAX_GIVEN_UP - 1; i++) {
      connections.use("wait", any -> Mono.just(1)).subscribe().dispose();
    }
    StepVerifier.create(connections.use("wait", any -> Mono.just(1)))
        .thenAwait(Duration.ofMillis(1))
        .thenCancel()
        .verify();
  }

  // Time limits.

  @Test
  void connection_notInTime_isARetryableErrorAndIsClosedLaterUnused() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver(true, true);
    assertFails(
        StepVerifier.create(query(driver))
            .then(() -> time.advanceTimeBy(ACQUIRE.minusMillis(1)))
            .expectNoEvent(Duration.ZERO)
            .then(() -> time.advanceTimeBy(Duration.ofMillis(1))),
        true,
        "cannot load a key",
        "no connection to PostgreSQL within PT5S",
        "pool");
    driver.connected();
    driver.answers(ROW);
    driver.endsEverything();
    assertThat(driver.calls).containsExactly("create", "close");
    driver.assertNothingCancelled();
  }

  @Test
  void connection_notInTime_hasTimeoutAsCause() {
    VirtualTimeScheduler time = virtualTime();
    StepVerifier.create(query(new FakeDriver()))
        .then(() -> time.advanceTimeBy(ACQUIRE))
        .expectErrorSatisfies(e -> assertThat(e).hasCauseInstanceOf(TimeoutException.class))
        .verify();
  }

  @Test
  void connection_inTime_leavesTheStatementItsOwnTime() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver();
    driver.close.complete();
    StepVerifier.create(query(driver))
        .then(() -> time.advanceTimeBy(ACQUIRE.minusMillis(1)))
        .then(driver::connected)
        .then(() -> time.advanceTimeBy(STATEMENT.minusMillis(1)))
        .then(() -> driver.answers(ROW))
        .expectNext(List.of("found"))
        .verifyComplete();
    driver.assertNothingCancelled();
  }

  @Test
  void statement_notInTime_isARetryableErrorAndClosesBeneathThePool() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver(true, true);
    driver.connected();
    assertFails(
        StepVerifier.create(query(driver))
            .then(() -> time.advanceTimeBy(STATEMENT.minusMillis(1)))
            .then(() -> assertThat(driver.calls).endsWith("execute"))
            .then(() -> time.advanceTimeBy(Duration.ofMillis(1)))
            .then(() -> assertThat(driver.calls).endsWith("execute", "rawClose"))
            .then(driver.rawClose::complete)
            .then(() -> assertThat(driver.calls).endsWith("execute", "rawClose", "close"))
            .then(driver.close::complete),
        true,
        "PostgreSQL did not load a key within PT7S",
        "whether it happened is not known");
    driver.assertNothingCancelled();
    driver.execute.error(new IOException("closed"));
    assertThat(driver.count("close")).isOne();
  }

  @Test
  void statement_notInTimeOnADriversConnection_closesItOnce() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver(true, false);
    driver.connected();
    driver.close.complete();
    StepVerifier.create(query(driver))
        .then(() -> time.advanceTimeBy(STATEMENT))
        .expectErrorSatisfies(e -> assertThat(e).hasCauseInstanceOf(TimeoutException.class))
        .verify();
    assertThat(driver.count("close")).isOne();
    driver.answers(ROW);
    assertThat(driver.count("close")).isOne();
  }

  @Test
  void statement_notInTimeAndCloseNeverEnds_failsInBoundedTime() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver(true, true);
    driver.connected();
    assertFails(
        StepVerifier.create(query(driver))
            .then(() -> time.advanceTimeBy(STATEMENT))
            .then(() -> time.advanceTimeBy(CLOSE))
            .then(() -> time.advanceTimeBy(CLOSE)),
        true,
        "did not load a key");
    assertThat(driver.calls).endsWith("rawClose", "close");
    driver.assertNothingCancelled();
  }

  @Test
  void transaction_notInTime_doesNotRollBack() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver(false, true);
    driver.connected();
    driver.endsEverything();
    assertFails(
        StepVerifier.create(query(driver)).then(() -> time.advanceTimeBy(STATEMENT)),
        true,
        "did not load a key");
    assertThat(driver.calls).endsWith("execute", "rawClose", "close");
    driver.assertNothingCancelled();
  }

  @Test
  void commit_neverEnds_isATimeout() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver(false, true);
    driver.connected();
    driver.begin.complete();
    driver.answers(ROW);
    driver.rawClose.complete();
    driver.close.complete();
    assertFails(
        StepVerifier.create(query(driver)).then(() -> time.advanceTimeBy(STATEMENT)),
        true,
        "whether it happened is not known");
    assertThat(driver.calls).endsWith("commit", "rawClose", "close");
    driver.assertNothingCancelled();
  }

  @Test
  void close_neverEnds_answersWhenItsTimeIsOver() {
    VirtualTimeScheduler time = virtualTime();
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(ROW);
    StepVerifier.create(query(driver))
        .then(() -> time.advanceTimeBy(CLOSE.minusMillis(1)))
        .expectNoEvent(Duration.ZERO)
        .then(() -> time.advanceTimeBy(Duration.ofMillis(1)))
        .expectNext(List.of("found"))
        .verifyComplete();
    driver.assertNothingCancelled();
  }

  // Errors.

  @Test
  void create_fails_isMappedAndHasNothingToClose() {
    FakeDriver driver = new FakeDriver();
    driver.create.error(new R2dbcNonTransientResourceException("10.0.0.1 refused", "08001"));
    assertFails(
        StepVerifier.create(query(driver)), true, "PostgreSQL failed to load a key", "[08001, 0]");
    assertThat(driver.calls).containsExactly("create");
  }

  @Test
  void create_failsAfterItsConnection_closesTheConnection() {
    FakeDriver driver = new FakeDriver();
    driver.close.complete();
    driver.create.next(driver.connection).error(new IOException("broken"));
    driver.answers(ROW);
    query(driver).onErrorComplete().block(Await.TIMEOUT);
    assertThat(driver.count("close")).isOne();
    driver.assertNothingCancelled();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"create", "isAutoCommit", "createStatement", "execute", "map", "begin", "commit"})
  void driver_throws_isMappedAndClosesTheConnection(String call) {
    FakeDriver driver =
        new FakeDriver(false, false).failing(call, new IllegalStateException("down"));
    driver.connected();
    driver.answers(ROW);
    driver.endsEverything();
    assertFails(
        StepVerifier.create(query(driver)), true, "failed to load a key", "IllegalStateException");
    assertThat(driver.count("close")).isEqualTo(call.equals("create") ? 0 : 1);
  }

  @Test
  void statement_fails_isMappedAndClosesTheConnection() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.close.complete();
    driver.execute.error(new R2dbcDataIntegrityViolationException("of _IK_p", "23505"));
    assertFails(StepVerifier.create(query(driver)), false, "[23505, 0]");
    assertThat(driver.calls).endsWith("execute", "close");
    driver.assertNothingCancelled();
  }

  @Test
  void row_fails_isMappedAndRollsBack() {
    FakeDriver driver = new FakeDriver(false, false);
    driver.connected();
    driver.execute.next(driver.result).complete();
    driver.rows.error(new IOException("broken"));
    driver.endsEverything();
    assertFails(StepVerifier.create(query(driver)), true, "IOException");
    assertThat(driver.calls).endsWith("map", "rollback", "close");
  }

  @Test
  void result_failsBeforeItsStatementEnds_waitsForTheEnd() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.close.complete();
    driver.execute.next(driver.result);
    driver.rows.error(new R2dbcDataIntegrityViolationException("twice", "23505"));
    assertFails(
        StepVerifier.create(query(driver))
            .then(() -> assertThat(driver.count("close")).isZero())
            .then(driver.execute::complete),
        false,
        "[23505, 0]");
    driver.assertNothingCancelled();
  }

  @Test
  void statement_failsAfterItsResult_reportsTheFirstError() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.close.complete();
    driver.execute.next(driver.result);
    assertFails(
        StepVerifier.create(query(driver))
            .then(
                () -> driver.rows.error(new R2dbcDataIntegrityViolationException("twice", "23505")))
            .then(() -> driver.execute.error(new IOException("and then this"))),
        false,
        "[23505, 0]");
    driver.assertNothingCancelled();
  }

  @Test
  void row_cannotBeRead_readsTheOthersBeforeItFails() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.close.complete();
    driver.execute.next(driver.result);
    driver.rows.next(FakeDriver.row("bad"));
    Mono<List<String>> query =
        connections(driver)
            .use(
                "load a key",
                connection ->
                    new Query(DIALECT, "SELECT x")
                        .rows(
                            connection,
                            row -> {
                              throw new ArithmeticException("bad");
                            }));
    assertFails(
        StepVerifier.create(query)
            .then(() -> driver.rows.next(ROW).complete())
            .then(driver.execute::complete),
        false,
        "ArithmeticException");
    driver.assertNothingCancelled();
  }

  @Test
  void rollback_fails_reportsWhatFailedFirst() {
    for (FakeDriver driver :
        List.of(
            new FakeDriver(false, false),
            new FakeDriver(false, false)
                .failing("rollback", new IllegalStateException("closed")))) {
      driver.connected();
      driver.execute.error(new R2dbcDataIntegrityViolationException("twice", "23505"));
      driver.rollback.error(new IOException("broken"));
      driver.endsEverythingBut(driver.rollback);
      assertFails(StepVerifier.create(query(driver)), false, "[23505, 0]");
      assertThat(driver.calls).endsWith("rollback", "close");
    }
  }

  @Test
  void commit_fails_isMappedByItsOwnError() {
    FakeDriver driver = new FakeDriver(false, false);
    driver.connected();
    driver.answers(ROW);
    driver.begin.complete();
    driver.close.complete();
    driver.commit.error(new R2dbcDataIntegrityViolationException("twice", "23505"));
    assertFails(
        StepVerifier.create(query(driver)),
        false,
        "R2dbcDataIntegrityViolationException [23505, 0]");
    assertThat(driver.calls).endsWith("commit", "close");
    driver.assertNothingCancelled();
  }

  @Test
  void close_fails_keepsTheResult() {
    for (FakeDriver driver :
        List.of(
            new FakeDriver(),
            new FakeDriver().failing("close", new IllegalStateException("closed")))) {
      driver.connected();
      driver.answers(ROW);
      driver.close.error(new IOException("broken"));
      StepVerifier.create(query(driver)).expectNext(List.of("found")).verifyComplete();
    }
  }

  @Test
  void close_fails_keepsTheError() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.execute.error(new R2dbcDataIntegrityViolationException("twice", "23505"));
    driver.close.error(new IOException("broken"));
    assertFails(StepVerifier.create(query(driver)), false, "[23505, 0]");
  }

  @Test
  void factory_withoutConnection_isAnErrorAndNotEmpty() {
    FakeDriver driver = new FakeDriver();
    driver.create.complete();
    assertFails(StepVerifier.create(query(driver)), true, "ended without an answer");
  }

  @Test
  void work_withoutResult_isAnErrorAndNotEmpty() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.close.complete();
    assertFails(
        StepVerifier.create(connections(driver).use("load a key", connection -> Mono.empty())),
        true,
        "failed to load a key",
        "ended without an answer");
    assertThat(driver.count("close")).isOne();
  }

  @Test
  void statement_withoutResult_findsNoRows() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.close.complete();
    driver.execute.complete();
    StepVerifier.create(query(driver)).expectNext(List.of()).verifyComplete();
  }

  // Connections that nobody waits for any more.

  @Test
  void tooManyGivenUp_failFastAndRecover() {
    TestPublisher<Connection> create = TestPublisher.create();
    AtomicInteger asked = new AtomicInteger();
    FakeDriver driver = new FakeDriver();
    driver.answers(ROW);
    driver.close.complete();
    Connections connections =
        connections(
            factory(
                () -> {
                  asked.incrementAndGet();
                  return create;
                }));
    for (int i = 0; i < Connections.MAX_GIVEN_UP; i++) {
      query(connections).subscribe().dispose();
    }
    assertFails(
        StepVerifier.create(query(connections)),
        true,
        "cannot load a key",
        "1000 connections to PostgreSQL",
        "Limit the time");
    assertThat(asked).hasValue(Connections.MAX_GIVEN_UP);

    create.next(driver.connection).complete();
    assertThat(driver.count("close")).isEqualTo(Connections.MAX_GIVEN_UP);
    StepVerifier.create(query(connections).doOnSubscribe(any -> asked.set(-1)))
        .thenAwait(Duration.ofMillis(1))
        .thenCancel()
        .verify();
    assertThat(asked).hasValue(0);
  }

  @Test
  void givenUpOnSubscribe_asksForNoConnectionAndCountsForNothing() {
    AtomicInteger asked = new AtomicInteger();
    TestPublisher<Connection> create = TestPublisher.create();
    Connections connections =
        connections(
            factory(
                () -> {
                  asked.incrementAndGet();
                  return create;
                }));
    for (int i = 0; i < Connections.MAX_GIVEN_UP; i++) {
      StepVerifier.create(query(connections), 0).thenCancel().verify();
      query(connections)
          .subscribe(
              new BaseSubscriber<>() {
                @Override
                protected void hookOnSubscribe(Subscription subscription) {
                  subscription.cancel();
                }
              });
    }
    int begun = asked.get();
    create.error(new IOException("refused"));
    StepVerifier.create(query(connections))
        .expectErrorMatches(e -> !String.valueOf(e.getMessage()).contains("still being waited for"))
        .verify(Duration.ofSeconds(10));
    assertThat(asked).hasValue(begun + 1);
  }

  @Test
  void givenUpByTime_countsUntilTheFactoryFails() {
    VirtualTimeScheduler time = virtualTime();
    TestPublisher<Connection> failing = TestPublisher.create();
    AtomicReference<TestPublisher<Connection>> next = new AtomicReference<>(failing);
    Connections connections = connections(factory(next::get));
    List<Throwable> errors = new ArrayList<>();
    for (int i = 0; i < Connections.MAX_GIVEN_UP; i++) {
      query(connections).subscribe(any -> {}, errors::add);
    }
    time.advanceTimeBy(ACQUIRE);
    assertThat(errors).hasSize(Connections.MAX_GIVEN_UP);
    assertFails(StepVerifier.create(query(connections)), true, "still being waited for");
    failing.error(new IOException("refused"));
    next.set(TestPublisher.create());
    assertFails(
        StepVerifier.create(query(connections)).then(() -> time.advanceTimeBy(ACQUIRE)),
        true,
        "no connection");
  }

  @Test
  void waiting_isNotGivenUp() {
    TestPublisher<Connection> create = TestPublisher.create();
    Connections connections = connections(factory(() -> create));
    List<Throwable> errors = new ArrayList<>();
    for (int i = 0; i < Connections.MAX_GIVEN_UP + 1; i++) {
      query(connections).subscribe(any -> {}, errors::add);
    }
    create.complete();
    assertThat(errors)
        .hasSize(Connections.MAX_GIVEN_UP + 1)
        .allSatisfy(e -> assertThat(e).hasMessageContaining("without an answer"));
  }

  private static ConnectionFactory factory(Supplier<Publisher<Connection>> create) {
    return new ConnectionFactory() {
      @Override
      public Publisher<? extends Connection> create() {
        return create.get();
      }

      @Override
      public ConnectionFactoryMetadata getMetadata() {
        return () -> "PostgreSQL";
      }
    };
  }

  // Context.

  @Test
  void context_ofTheCaller_arrivesAtTheDriverWithoutTransactions() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(ROW);
    driver.endsEverything();
    List<Context> seen = new ArrayList<>();
    ConnectionFactory factory =
        factory(
            () ->
                Flux.deferContextual(
                    context -> {
                      seen.add(Context.of(context));
                      return driver.create;
                    }));
    query(connections(factory))
        .contextWrite(TransactionContextManager.createTransactionContext())
        .contextWrite(TransactionContextManager.getOrCreateContextHolder())
        .contextWrite(Context.of("trace", "t-1", String.class, "typed"))
        .block(Await.TIMEOUT);
    assertThat(seen).hasSize(1);
    assertThat(seen.get(0).stream())
        .extracting(entry -> entry.getKey())
        .containsExactlyInAnyOrder("trace", String.class);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void store_insideATransactionOfSpringThatIsRolledBack_isStillThere(boolean isProxied) {
    ConnectionFactory h2 = h2();
    ConnectionFactory seenByUs = isProxied ? new TransactionAwareConnectionFactoryProxy(h2) : h2;
    R2dbcMetastore metastore = R2dbcMetastore.builder(seenByUs).dialect(SqlDialect.h2()).build();
    metastore.schema().create().block(Await.TIMEOUT);
    Instant created = Instant.parse("2024-01-02T03:04:05Z");
    EnvelopeKeyRecord record = new EnvelopeKeyRecord(created, new byte[] {1}, null, false);
    TransactionalOperator transaction =
        TransactionalOperator.create(new R2dbcTransactionManager(h2));

    Mono<Boolean> rolledBack =
        transaction
            .execute(
                status -> {
                  status.setRollbackOnly();
                  return metastore.store("_SK_a", created, record);
                })
            .single();
    StepVerifier.create(rolledBack).expectNext(true).verifyComplete();
    StepVerifier.create(metastore.load("_SK_a", created)).expectNext(record).verifyComplete();
  }

  static ConnectionFactory h2() {
    return ConnectionFactories.get(
        "r2dbc:h2:mem:///%s?options=DB_CLOSE_DELAY=-1".formatted(UUID.randomUUID()));
  }

  // Auto-commit off, on a real engine.

  private static ConnectionFactory withoutAutoCommit(ConnectionFactory factory) {
    return new ConnectionFactory() {
      @Override
      public Publisher<? extends Connection> create() {
        return Mono.from(factory.create())
            .flatMap(
                connection -> Mono.from(connection.setAutoCommit(false)).thenReturn(connection));
      }

      @Override
      public ConnectionFactoryMetadata getMetadata() {
        return factory.getMetadata();
      }
    };
  }

  @Test
  void store_withoutAutoCommit_commits() {
    ConnectionFactory h2 = h2();
    R2dbcMetastore metastore = R2dbcMetastore.create(withoutAutoCommit(h2));
    metastore.schema().create().block(Await.TIMEOUT);
    metastore.schema().validate().block(Await.TIMEOUT);
    Instant created = Instant.parse("2024-01-02T03:04:05Z");
    EnvelopeKeyRecord record = new EnvelopeKeyRecord(created, new byte[] {1}, null, false);
    StepVerifier.create(metastore.store("_SK_a", created, record))
        .expectNext(true)
        .verifyComplete();
    StepVerifier.create(metastore.store("_SK_a", created, record))
        .expectNext(false)
        .verifyComplete();
    StepVerifier.create(R2dbcMetastore.create(h2).load("_SK_a", created))
        .expectNext(record)
        .verifyComplete();
    StepVerifier.create(R2dbcMetastore.create(h2).loadLatest("_SK_b")).verifyComplete();
  }

  @Test
  void h2_isCalledOnElasticThreads() {
    StepVerifier.create(
            R2dbcMetastore.create(h2()).loadLatest("_SK_a").subscribeOn(Schedulers.parallel()))
        .expectError(MetastoreException.class)
        .verify();
  }
}
