package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.DataRowRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testservers.FaultProxy;
import io.asherah.reactive.testsupport.Await;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import io.r2dbc.spi.ConnectionFactory;
import java.time.Clock;
import java.time.Duration;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Hooks;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * An application that always works, while its database or the network fails. Every outage has to
 * look like one: as an error that says so, and never as a key that does not exist.
 */
@ParameterizedClass
@EnumSource
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@SuppressWarnings("NullAway.Init") // JUnit calls what initializes the fields
class FaultIT {
  /** How long each part of an operation may take. */
  private static final Duration LIMIT = Duration.ofSeconds(1);

  private static final Duration TIMEOUT = Await.TIMEOUT;
  private static final int POOL = 5;
  private static final int WORKERS = 10;
  private static final int SEEDS = 20;
  private static final Pattern SHARED_THREADS =
      Pattern.compile(
          "(asherah-securememory|boundedElastic|parallel|single|reactor-tcp|fault-proxy|junit"
              + "|process reaper|JNA|Attach|surefire|CompletableFutureDelayScheduler"
              + "|ForkJoinPool.commonPool|Cleaner)");

  private static final byte[] PAYLOAD = new byte[100];
  private static final Clock NOW = Clock.fixed(Clock.systemUTC().instant(), ZoneOffset.UTC);

  /** When there were the first keys: one that is made by mistake is another row therefore. */
  private static final Clock EARLIER = Clock.offset(NOW, Duration.ofHours(-1));

  @Parameter private Driver driver;
  private DatabaseServer server;
  private FaultProxy proxy;
  private String database;
  private List<DataRowRecord> seeds;
  private final Queue<Throwable> dropped = new ConcurrentLinkedQueue<>();
  private final Set<String> threads = threads();
  private Application application;

  @BeforeParameterizedClassInvocation
  final void startServer() {
    server = driver.startServer();
  }

  @AfterParameterizedClassInvocation
  final void stopServer() {
    server.close();
  }

  @BeforeEach
  final void startApplication() {
    dropped.clear();
    // Drivers drop what the socket of a connection tells them that nobody has any more.
    Hooks.resetOnErrorDropped();
    Hooks.onErrorDropped(dropped::add);
    database = server.newDatabase();
    ConnectionFactory direct = driver.connections(server, database);
    R2dbcMetastore metastore = MetastoreContract.patient(direct).build();
    metastore.schema().create().block(TIMEOUT);
    SessionFactory factory = factory(metastore, CryptoPolicy.defaults(), EARLIER);
    seeds =
        Flux.range(0, SEEDS)
            .concatMap(i -> factory.session("seed" + i).encrypt(PAYLOAD))
            .collectList()
            .blockOptional(TIMEOUT)
            .orElseThrow();
    factory.close().block(TIMEOUT);
    Await.until(() -> server.connections() == 0);
    proxy = FaultProxy.to(server);
    application = new Application();
    application.awaitAnswers(50);
  }

  @AfterEach
  final void stopProxy() {
    application.stop();
    proxy.close();
    // What they drop is not that of the class that comes next.
    Databases.settleDrivers();
  }

  @Test
  void serverKilledAndStartedAgain_goesOn() {
    server.kill();
    application.awaitErrors(3 * WORKERS);
    server.restart();

    application.awaitRecovery();
    verify();
  }

  @Test
  void connectionsKilledByTheServer_goesOn() {
    application.whileItWorks(10, server::killConnections);

    application.awaitRecovery();
    verify();
    assertThat(application.errors).isNotEmpty();
  }

  @Test
  void connectionsReset_goesOn() {
    application.whileItWorks(20, proxy::cutAll);

    application.awaitRecovery();
    verify();
    assertThat(application.errors).isNotEmpty();
  }

  @Test
  void answersCutInTheMiddle_goesOn() {
    for (int i = 0; i < 20; i++) {
      proxy.dropAfter(ThreadLocalRandom.current().nextInt(1, 400));
      application.awaitErrors(2);
    }
    proxy.pass();

    application.awaitRecovery();
    verify();
  }

  @Test
  void networkSilentForLongerThanTheLimits_goesOn() {
    proxy.freeze();
    application.awaitErrors(3 * WORKERS);
    proxy.pass();

    application.awaitRecovery();
    verify();
  }

  @Test
  void connectionsRefused_goesOn() {
    proxy.refuse();
    proxy.cutAll();
    application.awaitErrors(3 * WORKERS);
    proxy.pass();

    application.awaitRecovery();
    verify();
  }

  @Test
  void slowNetwork_goesOn() {
    proxy.delay(Duration.ofMillis(20));
    application.awaitAnswers(50);
    proxy.pass();

    application.awaitRecovery();
    verify();
  }

  @Test
  void networkSilent_closesInTime() {
    proxy.freeze();
    application.awaitErrors(WORKERS);

    application.isStopped = true;
    application.factory.close().block(TIMEOUT);
    application.pool.disposeLater().block(TIMEOUT);
    proxy.pass();

    verify();
  }

  // What has to be true after each of them.

  private void verify() {
    application.stop();
    application.factory.close().block(TIMEOUT);
    application.pool.disposeLater().block(TIMEOUT);
    Await.until(() -> proxy.connections() == 0);
    Await.until(() -> server.connections() == 0);
    Set<String> left = threads();
    left.removeAll(threads);
    assertThat(left).isEmpty();
    assertThat(dropped.stream().map(FaultIT::causes))
        .noneMatch(e -> e.contains("BlockingOperationError"));

    assertThat(application.errors.stream().filter(e -> !isRetryable(e)).map(FaultIT::causes))
        .isEmpty();
    List<String> rows = Databases.ids(server.dataSource(database));
    assertThat(rows).doesNotHaveDuplicates();
    assertThat(rows.stream().filter(id -> id.startsWith("_SK_"))).hasSize(1);
    assertThat(rows.stream().filter(id -> id.startsWith("_IK_seed"))).hasSize(SEEDS);
    assertEachDecrypts(List.copyOf(application.records));
  }

  private static boolean isRetryable(Throwable e) {
    return e instanceof AppEncryptionException failure && failure.isRetryable();
  }

  private static String causes(Throwable e) {
    return Stream.iterate(e, Objects::nonNull, Throwable::getCause)
        .limit(10)
        .map(Throwable::toString)
        .collect(Collectors.joining(" <- "));
  }

  private void assertEachDecrypts(List<Made> records) {
    ConnectionPool pool = pool(driver.connections(server, database));
    SessionFactory factory =
        factory(MetastoreContract.patient(pool).build(), CryptoPolicy.defaults(), NOW);
    Long same =
        Flux.fromIterable(records)
            .flatMap(made -> factory.session(made.partition).decrypt(made.record))
            .filter(payload -> payload.length == PAYLOAD.length)
            .count()
            .block(TIMEOUT);
    assertThat(same).isEqualTo(records.size()).isPositive();
    factory.close().block(TIMEOUT);
    pool.disposeLater().block(TIMEOUT);
  }

  /** All but those of pools that the whole JVM shares, and of locked memory, which end later. */
  private static Set<String> threads() {
    return Thread.getAllStackTraces().keySet().stream()
        .map(Thread::getName)
        .filter(name -> !SHARED_THREADS.matcher(name).lookingAt())
        .collect(Collectors.toCollection(TreeSet::new));
  }

  // The application.

  private static ConnectionPool pool(ConnectionFactory connections) {
    return new ConnectionPool(
        ConnectionPoolConfiguration.builder(connections)
            .initialSize(0)
            .maxSize(POOL)
            .maxCreateConnectionTime(LIMIT.multipliedBy(2))
            .build());
  }

  private static SessionFactory factory(
      R2dbcMetastore metastore, CryptoPolicy policy, Clock clock) {
    return SessionFactory.builder("product", "service")
        .metastore(metastore)
        .keyManagementService(StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"))
        .cryptoPolicy(policy)
        .clock(clock)
        .callAttempts(2)
        .build();
  }

  private record Made(String partition, DataRowRecord record) {}

  /** Does all that one does with keys, none of which is cached. */
  private final class Application {
    final ConnectionPool pool = pool(driver.connections(server, database, proxy.port(), LIMIT));
    final R2dbcMetastore metastore =
        R2dbcMetastore.builder(pool)
            .acquireTimeout(LIMIT)
            .statementTimeout(LIMIT)
            .closeTimeout(LIMIT)
            .build();
    final SessionFactory factory =
        factory(metastore, CryptoPolicy.builder().cacheNothing().build(), NOW);
    final Queue<Made> records = new ConcurrentLinkedQueue<>();
    final Queue<Throwable> errors = new ConcurrentLinkedQueue<>();
    private final AtomicInteger calls = new AtomicInteger();
    private final AtomicInteger answers = new AtomicInteger();
    private final AtomicInteger failures = new AtomicInteger();
    private final AtomicInteger answersInARow = new AtomicInteger();
    private final Mono<Void> end;
    private final Disposable work;
    private volatile boolean isStopped;

    Application() {
      end =
          Flux.range(0, WORKERS)
              .flatMap(
                  worker ->
                      Mono.defer(this::call)
                          .subscribeOn(Schedulers.parallel())
                          .repeat(() -> !isStopped),
                  WORKERS)
              .then()
              .cache();
      work = end.subscribe();
    }

    private Mono<Void> call() {
      int number = calls.getAndIncrement();
      int seed = ThreadLocalRandom.current().nextInt(SEEDS);
      DataRowRecord record = seeds.get(seed);
      KeyMeta key = record.key().parentKeyMeta().orElseThrow();
      Mono<?> call =
          switch (number % 5) {
            case 0 -> encrypt("fresh" + number);
            case 1 -> encrypt("seed" + seed);
            case 2 -> factory.session("seed" + seed).decrypt(record);
            case 3 -> metastore.load(key.id(), key.created());
            default -> metastore.loadLatest(key.id());
          };
      return call.switchIfEmpty(Mono.error(() -> new AssertionError("taken for absent")))
          .doOnNext(
              any -> {
                answers.incrementAndGet();
                answersInARow.incrementAndGet();
              })
          .then()
          .onErrorResume(
              e -> {
                if (!isStopped) {
                  errors.add(e);
                }
                failures.incrementAndGet();
                answersInARow.set(0);
                return Mono.delay(Duration.ofMillis(5)).then();
              });
    }

    private Mono<DataRowRecord> encrypt(String partition) {
      return factory
          .session(partition)
          .encrypt(PAYLOAD)
          .doOnNext(record -> records.add(new Made(partition, record)));
    }

    void awaitAnswers(int more) {
      int enough = answers.get() + more;
      Await.until(() -> answers.get() >= enough);
    }

    void awaitErrors(int more) {
      int enough = failures.get() + more;
      Await.until(() -> failures.get() >= enough);
    }

    /** That nothing fails any more. */
    void awaitRecovery() {
      answersInARow.set(0);
      Await.until(() -> answersInARow.get() >= 20 * WORKERS);
    }

    void whileItWorks(int times, Runnable fault) {
      for (int i = 0; i < times; i++) {
        awaitAnswers(WORKERS);
        fault.run();
      }
    }

    void stop() {
      isStopped = true;
      end.block(TIMEOUT);
      work.dispose();
    }
  }
}
