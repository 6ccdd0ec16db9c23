package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.MetadataMissingException;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.ShredReport;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testkit.MetastoreTestKit;
import io.asherah.reactive.testsupport.Await;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryMetadata;
import io.r2dbc.spi.ConnectionFactoryOptions;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

/** The contract kit on a table of ours, through a pool, and what is the same for all databases. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class MetastoreContract implements MetastoreTestKit {
  static final Duration TIMEOUT = Duration.ofSeconds(30);
  private static final int POOL = 5;

  private ConnectionFactoryOptions database;
  private ConnectionPool pool;
  private R2dbcMetastore metastore;

  /** Of a database in which tables may be created. */
  abstract ConnectionFactoryOptions newDatabase();

  @BeforeAll
  final void createTable() {
    database = newDatabase();
    pool = pool(POOL);
    metastore = patient(pool).build();
    metastore.schema().create().block(TIMEOUT);
  }

  /** Another pool of connections to the same database. */
  final ConnectionPool pool(int size) {
    return new ConnectionPool(
        ConnectionPoolConfiguration.builder(ConnectionFactories.get(database))
            .initialSize(0)
            .maxSize(size)
            .build());
  }

  @AfterAll
  final void closePool() {
    if (pool != null) {
      pool.dispose();
    }
  }

  @Override
  public Metastore metastore() {
    return metastore;
  }

  @Override
  public Optional<Metastore> unreachableMetastore() {
    return Optional.of(
        patient(
                ConnectionFactories.get(
                    database
                        .mutate()
                        .option(ConnectionFactoryOptions.HOST, "127.0.0.1")
                        .option(ConnectionFactoryOptions.PORT, 1)
                        .build()))
            // A driver may try again and again.
            .acquireTimeout(Duration.ofSeconds(5))
            .build());
  }

  @Override
  public Duration timeout() {
    return TIMEOUT;
  }

  @Test
  void validate_ofOurTable_findsNothing() {
    metastore.schema().validate().block(TIMEOUT);
  }

  @Test
  void create_ofATableThatExists_isNoError() {
    Flux.range(0, 20).flatMap(i -> metastore.schema().create()).blockLast(TIMEOUT);
  }

  @Test
  void create_byManyAtOnce_isNoError() {
    R2dbcMetastore other = patient(pool).table("t" + System.nanoTime()).build();

    Flux.range(0, 20).flatMap(i -> other.schema().create()).blockLast(TIMEOUT);

    other.schema().validate().block(TIMEOUT);
  }

  @Test
  void storesOfOneKey_oneWins_andEveryConnectionIsUsable() {
    String id = "_SK_testkit_" + System.nanoTime();
    Instant created = Instant.ofEpochSecond(1_700_000_000);
    EnvelopeKeyRecord record = new EnvelopeKeyRecord(created, new byte[60], null, false);

    List<Boolean> answers =
        Flux.range(0, 50)
            .flatMap(i -> metastore.store(id, created, record), 50)
            .collectList()
            .block(TIMEOUT);

    assertThat(answers).hasSize(50).containsOnlyOnce(true);
    assertAllAreUsable();
  }

  @Test
  void recordOfManyRegions_isKept_andReadByManyAtOnce() {
    String id = "_SK_testkit_" + System.nanoTime();
    Instant created = Instant.ofEpochSecond(1_700_000_000);
    byte[] key = new byte[6_000];
    IntStream.range(0, key.length).forEach(i -> key[i] = (byte) (7 * i));
    EnvelopeKeyRecord record = new EnvelopeKeyRecord(created, key, null, false);
    assertThat(metastore.store(id, created, record).block(TIMEOUT)).isTrue();

    List<EnvelopeKeyRecord> found =
        Flux.range(0, 100).flatMap(i -> metastore.loadLatest(id), 100).collectList().block(TIMEOUT);

    assertThat(found).hasSize(100).containsOnly(record);
  }

  static <T> T get(Mono<T> answer) {
    return Objects.requireNonNull(answer.block(TIMEOUT), "no answer");
  }

  /** On a machine that is busy with other things too. */
  static R2dbcMetastore.Builder patient(ConnectionFactory connectionFactory) {
    return R2dbcMetastore.builder(connectionFactory)
        .acquireTimeout(TIMEOUT)
        .statementTimeout(TIMEOUT);
  }

  @Test
  void shred_deletesTheKeysOfAPartition_andNoOthers() {
    SessionFactory factory =
        SessionFactory.builder("product", "service" + System.nanoTime())
            .metastore(metastore)
            .keyManagementService(StaticKeyManagementService.of(new byte[32]))
            // Shredding waits until no new key can have the time of one that is gone.
            .cryptoPolicy(CryptoPolicy.builder().createdPrecision(Duration.ofSeconds(1)).build())
            .callTimeout(TIMEOUT)
            .loadTimeout(TIMEOUT)
            .build();
    byte[] payload = {1, 2, 3};
    byte[] lower = get(factory.session("bob").encryptToJson(payload));
    byte[] upper = get(factory.session("Bob").encryptToJson(payload));

    ShredReport report = get(factory.shred("bob"));

    assertThat(report.deleted()).hasSize(1);
    StepVerifier.create(factory.session("bob").decryptJson(lower))
        .expectError(MetadataMissingException.class)
        .verify(TIMEOUT);
    assertThat(factory.session("Bob").decryptJson(upper).block(TIMEOUT)).isEqualTo(payload);
    factory.close().block(TIMEOUT);
  }

  /** As a server or a wrapper of the driver may have it. */
  @Test
  void connectionWithoutAutoCommit_commitsWhatItStores() {
    ConnectionFactory manual = new WithoutAutoCommit(pool);
    R2dbcMetastore other = patient(manual).build();
    String id = "_SK_testkit_" + System.nanoTime();
    Instant created = Instant.ofEpochSecond(1_700_000_000);
    EnvelopeKeyRecord record = new EnvelopeKeyRecord(created, new byte[60], null, false);

    assertThat(other.store(id, created, record).block(TIMEOUT)).isTrue();
    assertThat(other.store(id, created, record).block(TIMEOUT)).isFalse();
    assertThat(other.loadLatest(id).block(TIMEOUT)).isEqualTo(record);
    assertThat(other.revoke(KeySelector.id(id)).block(TIMEOUT)).isOne();

    assertThat(get(metastore.load(id, created)).isRevoked()).isTrue();
    assertAllAreUsable();
  }

  /** Switches auto-commit off before it hands out a connection, and on when that is closed. */
  private record WithoutAutoCommit(ConnectionPool pool) implements ConnectionFactory {
    @Override
    public Mono<Connection> create() {
      return pool.create()
          .flatMap(
              connection ->
                  Mono.from(connection.setAutoCommit(false))
                      .thenReturn(
                          (Connection)
                              Proxy.newProxyInstance(
                                  Connection.class.getClassLoader(),
                                  new Class<?>[] {Connection.class},
                                  (proxy, method, arguments) ->
                                      method.getName().equals("close")
                                          ? Mono.from(connection.setAutoCommit(true))
                                              .then(Mono.from(connection.close()))
                                          : method.invoke(connection, arguments))));
    }

    @Override
    public ConnectionFactoryMetadata getMetadata() {
      return pool.getMetadata();
    }
  }

  /** Asks something on as many connections as there are, all at the same time. */
  final void assertAllAreUsable() {
    // What callers have given up goes on to its end.
    Await.until(() -> pool.getMetrics().orElseThrow().acquiredSize() == 0);
    String probe = SqlDialect.of(pool) instanceof OracleDialect ? "SELECT 1 FROM dual" : "SELECT 1";
    Long answers =
        Flux.range(0, POOL)
            .flatMap(
                i ->
                    Mono.usingWhen(
                        pool.create(),
                        connection ->
                            Flux.from(connection.createStatement(probe).execute())
                                .concatMap(result -> result.map((row, metadata) -> 1))
                                .then(Mono.delay(Duration.ofMillis(20))),
                        connection -> connection.close()),
                POOL)
            .count()
            .block(TIMEOUT);
    assertThat(answers).isEqualTo(POOL);
  }
}
