package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testsupport.Await;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import io.r2dbc.pool.PoolMetrics;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryMetadata;
import io.r2dbc.spi.Result;
import io.r2dbc.spi.Statement;
import io.r2dbc.spi.Wrapped;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.reactivestreams.Publisher;
import org.reactivestreams.Subscription;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.SignalType;
import reactor.core.scheduler.Schedulers;
import reactor.util.context.Context;

/** Gives up operations at every moment that there is, and looks what is left of the pool. */
class CancellationIT {
  private static final int CANCELLATIONS = 10_000;
  private static final int POOL = 5;

  private static final Duration TIMEOUT = Await.TIMEOUT;
  private static final Instant CREATED = Instant.ofEpochSecond(1_700_000_000);
  private static final EnvelopeKeyRecord RECORD =
      new EnvelopeKeyRecord(CREATED, new byte[60], null, false);

  @ParameterizedTest
  @EnumSource
  void cancellationsAtAllSignals_leaveAllConnectionsUsable(Driver driver) {
    DatabaseServer server = driver.sharedServer();
    int others = server.connections();
    ConnectionFactory database = driver.connections(server, server.newDatabase());
    ConnectionPool pool =
        new ConnectionPool(
            ConnectionPoolConfiguration.builder(
                    watched("driver connection", database, UnaryOperator.identity()))
                .initialSize(0)
                .maxSize(POOL)
                // So that connections are made all the time.
                .maxLifeTime(Duration.ofMillis(200))
                .build());
    R2dbcMetastore metastore =
        MetastoreContract.patient(
                watched("connection", pool, connection -> watched(Connection.class, connection)))
            .build();
    metastore.schema().create().block(TIMEOUT);
    for (String id : List.of("_SK_there", "_SK_there_too")) {
      assertThat(metastore.store(id, CREATED, RECORD).block(TIMEOUT)).isTrue();
    }

    Map<String, Integer> signals = new ConcurrentHashMap<>();
    Map<String, Integer> givenUp = new ConcurrentHashMap<>();
    AtomicInteger cancellations = new AtomicInteger();
    AtomicInteger ends = new AtomicInteger();
    Queue<String> wrong = new ConcurrentLinkedQueue<>();
    long seed = System.nanoTime();
    Random random = new Random(seed);
    int begun = 0;
    while (cancellations.get() < CANCELLATIONS && wrong.isEmpty()) {
      PoolMetrics metrics = pool.getMetrics().orElseThrow();
      Await.until(() -> metrics.pendingAcquireSize() < 4 * POOL);
      Operation operation = Operation.any(metastore, random, begun);
      new Attempt(operation, random, signals.getOrDefault(operation.what(), 40)) {
        @Override
        void givenUp(String where) {
          givenUp.merge(where, 1, Integer::sum);
          cancellations.incrementAndGet();
          ends.incrementAndGet();
        }

        @Override
        void answered(List<Object> answers, int count) {
          signals.merge(operation.what(), count + 1, Math::max);
          if (!answers.equals(operation.answers())) {
            wrong.add("%s answered %s".formatted(operation.what(), answers));
          }
          ends.incrementAndGet();
        }
      }.begin(random);
      begun++;
    }
    int all = begun;
    Await.until(() -> ends.get() == all);

    assertThat(wrong).as("seed %d", seed).isEmpty();
    assertThat(givenUp)
        .as("where operations were given up")
        .containsKeys(
            "at once",
            "on subscribe",
            "later",
            "connection: subscribe",
            "connection: next",
            "execute: subscribe",
            "execute: next",
            "execute: complete",
            "map: next",
            "map: complete",
            "getRowsUpdated: next",
            "close: subscribe",
            "close: complete");
    PoolMetrics metrics = pool.getMetrics().orElseThrow();
    Await.until(
        () ->
            metrics.acquiredSize() == 0
                && metrics.pendingAcquireSize() == 0
                && metrics.allocatedSize() == metrics.idleSize());
    assertThat(metrics.allocatedSize()).isLessThanOrEqualTo(POOL);
    assertAllAnswer(pool);
    Await.until(() -> server.runningStatements().isEmpty());
    assertThat(metastore.loadLatest("_SK_there").block(TIMEOUT)).isEqualTo(RECORD);
    pool.close().block(TIMEOUT);
    Await.until(() -> server.connections() <= others);
  }

  /** All at the same time, so that the pool has to lend every connection that it may have. */
  private static void assertAllAnswer(ConnectionPool pool) {
    AtomicInteger held = new AtomicInteger();
    Flux.range(0, POOL)
        .flatMap(
            i ->
                Mono.usingWhen(
                    pool.create(),
                    connection ->
                        Flux.from(connection.createStatement("SELECT 1").execute())
                            .concatMap(result -> result.map((row, metadata) -> 1))
                            .then(Mono.fromRunnable(held::incrementAndGet))
                            .then(
                                Mono.fromSupplier(() -> held.get() == POOL)
                                    .repeatWhen(again -> again.delayElements(Duration.ofMillis(1)))
                                    .takeUntil(areAll -> areAll)
                                    .then()),
                    Connection::close),
            POOL)
        .then()
        .block(TIMEOUT);
    assertThat(held).hasValue(POOL);
  }

  /** Something that a metastore does, and what it has to answer unless it is given up. */
  private record Operation(String what, Publisher<?> work, List<Object> answers) {
    static Operation any(R2dbcMetastore metastore, Random random, int number) {
      String fresh = "_SK_fresh_" + number;
      return switch (random.nextInt(6)) {
        case 0 -> new Operation("load", metastore.load("_SK_there", CREATED), List.of(RECORD));
        case 1 ->
            new Operation("loadLatest", metastore.loadLatest("_SK_there_too"), List.of(RECORD));
        case 2 -> new Operation("store", metastore.store(fresh, CREATED, RECORD), List.of(true));
        case 3 ->
            new Operation(
                "store again", metastore.store("_SK_there", CREATED, RECORD), List.of(false));
        case 4 ->
            new Operation(
                "list",
                metastore.list(KeySelector.idPrefix("_SK_there")).map(key -> key.meta().id()),
                List.of("_SK_there", "_SK_there_too"));
        default ->
            new Operation(
                "delete",
                metastore.delete(KeySelector.version(new KeyMeta(fresh, CREATED))),
                List.of(0L));
      };
    }
  }

  /** A subscriber that gives up at a moment that it chooses beforehand. */
  private abstract static class Attempt extends BaseSubscriber<Object> {
    private final Operation operation;
    private final List<Object> answers = new ArrayList<>();
    private final AtomicInteger signals = new AtomicInteger();
    private final boolean isElsewhere;
    private final int chosenSignal;
    private final int moment;
    private final AtomicBoolean hasEnded = new AtomicBoolean();

    /**
     * Chooses.
     *
     * @param mostSignals that such an operation had so far, and one more
     */
    Attempt(Operation operation, Random random, int mostSignals) {
      this.operation = operation;
      this.isElsewhere = random.nextInt(4) == 0;
      this.moment = random.nextInt(10);
      this.chosenSignal = moment > 2 ? 1 + random.nextInt(mostSignals) : 0;
    }

    abstract void givenUp(String where);

    abstract void answered(List<Object> answers, int signals);

    /** On this thread or on another. */
    void begin(Random random) {
      if (moment == 0) {
        Schedulers.parallel()
            .schedule(() -> cancel("later"), random.nextInt(3_000_000), TimeUnit.NANOSECONDS);
      }
      Runnable subscribe =
          () -> {
            operation.work.subscribe(this);
            if (moment == 1) {
              cancel("at once");
            }
          };
      if (random.nextBoolean()) {
        Schedulers.parallel().schedule(subscribe);
      } else {
        subscribe.run();
      }
    }

    void signal(String signal) {
      if (signals.incrementAndGet() != chosenSignal) {
        return;
      }
      if (isElsewhere) {
        Schedulers.parallel().schedule(() -> cancel(signal));
      } else {
        cancel(signal);
      }
    }

    private void cancel(String where) {
      if (hasEnded.compareAndSet(false, true)) {
        cancel();
        givenUp(where);
      }
    }

    @Override
    protected void hookOnSubscribe(Subscription subscription) {
      if (moment == 2) {
        cancel("on subscribe");
      } else {
        requestUnbounded();
      }
    }

    @Override
    protected void hookOnNext(Object answer) {
      answers.add(answer);
    }

    @Override
    protected void hookOnError(Throwable error) {
      answers.add(error);
    }

    @Override
    protected void hookFinally(SignalType how) {
      if (hasEnded.compareAndSet(false, true)) {
        answered(answers, signals.get());
      }
    }

    @Override
    public Context currentContext() {
      return Context.of(Attempt.class, this);
    }
  }

  // Tells an attempt of the signals of its connection.

  private static ConnectionFactory watched(
      String name, ConnectionFactory factory, UnaryOperator<Connection> each) {
    return new ConnectionFactory() {
      @Override
      public Publisher<? extends Connection> create() {
        // A Mono like that of drivers and pools: what is none is cancelled after its connection.
        return signals(name, factory.create()).singleOrEmpty().cast(Connection.class).map(each);
      }

      @Override
      public ConnectionFactoryMetadata getMetadata() {
        return factory.getMetadata();
      }
    };
  }

  private static <T> T watched(Class<T> type, Object target) {
    InvocationHandler handler =
        (proxy, method, arguments) -> {
          Object answer;
          try {
            answer = method.invoke(target, arguments);
          } catch (InvocationTargetException e) {
            throw e.getCause();
          }
          if (answer instanceof Publisher<?> publisher) {
            return signals(method.getName(), publisher)
                .map(next -> next instanceof Result ? watched(Result.class, next) : next);
          }
          return answer instanceof Statement ? watched(Statement.class, answer) : answer;
        };
    Class<?>[] types = {type, Wrapped.class};
    return type.cast(Proxy.newProxyInstance(type.getClassLoader(), types, handler));
  }

  private static Flux<Object> signals(String what, Publisher<?> publisher) {
    return Flux.deferContextual(
        context -> {
          Flux<Object> source = Flux.from(publisher);
          Attempt attempt = context.getOrDefault(Attempt.class, null);
          return attempt == null
              ? source
              : source
                  .doOnSubscribe(subscription -> attempt.signal(what + ": subscribe"))
                  .doOnNext(next -> attempt.signal(what + ": next"))
                  .doOnComplete(() -> attempt.signal(what + ": complete"))
                  .doAfterTerminate(() -> attempt.signal(what + ": after the end"));
        });
  }
}
