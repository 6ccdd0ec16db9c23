package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testsupport.Await;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryMetadata;
import io.r2dbc.spi.Result;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class StoredKeysTest {
  private static final Instant T = Instant.parse("2024-05-06T07:08:09Z");
  private static final String FOREIGN = "__asherah_internal_config_drift_guard_v1__:x";
  private static final KeySelector ALL = KeySelector.idPrefix("");

  private final Counting database = new Counting(ConnectionsTest.h2());
  private final R2dbcMetastore metastore = R2dbcMetastore.create(database);

  @BeforeEach
  void table() {
    metastore.schema().create().block(Await.TIMEOUT);
  }

  /** Counts connections. */
  private static final class Counting implements ConnectionFactory {
    final AtomicInteger made = new AtomicInteger();
    private final ConnectionFactory factory;

    Counting(ConnectionFactory factory) {
      this.factory = factory;
    }

    @Override
    public Publisher<? extends Connection> create() {
      return Flux.<Connection>from(factory.create()).doOnNext(any -> made.incrementAndGet());
    }

    @Override
    public ConnectionFactoryMetadata getMetadata() {
      return factory.getMetadata();
    }

    void execute(String sql) {
      Mono.usingWhen(
              factory.create(),
              connection ->
                  Flux.from(connection.createStatement(sql).execute())
                      .flatMap(Result::getRowsUpdated)
                      .then(),
              Connection::close)
          .subscribeOn(Schedulers.boundedElastic())
          .block(Await.TIMEOUT);
    }

    <T> List<T> query(String sql, Class<T> type) {
      return Objects.requireNonNull(
          Flux.usingWhen(
                  factory.create(),
                  connection ->
                      Flux.from(connection.createStatement(sql).execute())
                          .flatMap(
                              result ->
                                  result.map(
                                      (row, metadata) -> Objects.requireNonNull(row.get(0, type)))),
                  Connection::close)
              .collectList()
              .subscribeOn(Schedulers.boundedElastic())
              .block(Await.TIMEOUT));
    }
  }

  private static EnvelopeKeyRecord record(Instant created) {
    return new EnvelopeKeyRecord(created, new byte[] {1}, null, false);
  }

  private void store(String id, Instant created) {
    assertThat(metastore.store(id, created, record(created)).block(Await.TIMEOUT)).isTrue();
  }

  /** As many keys, with ids _SK_00001 and so on. */
  private void many(int keys) {
    String json = new String(record(T).toJson(), StandardCharsets.UTF_8);
    database.execute(
        "INSERT INTO encryption_key SELECT '_SK_' || LPAD(CAST(x AS VARCHAR), 5, '0'), TIMESTAMP"
            + " '2024-05-06 07:08:09', '"
            + json
            + "' FROM SYSTEM_RANGE(1, "
            + keys
            + ")");
  }

  private void foreign() {
    database.execute(
        "INSERT INTO encryption_key VALUES ('"
            + FOREIGN
            + "', TIMESTAMP '1970-01-01 00:00:00', '{\"drift\":1}')");
  }

  private List<KeyInfo> list(KeySelector selector) {
    return Objects.requireNonNull(metastore.list(selector).collectList().block(Await.TIMEOUT));
  }

  private long rows() {
    return database.query("SELECT COUNT(*) FROM encryption_key", Long.class).get(0);
  }

  private long revokedRows() {
    return database
        .query("SELECT COUNT(*) FROM encryption_key WHERE key_record LIKE '%Revoked%'", Long.class)
        .get(0);
  }

  // Pages.

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 499, 500, 501, 999, 1_000, 1_201})
  void many_areListedRevokedAndDeletedOnce(int keys) {
    many(keys);
    foreign();
    assertThat(list(ALL))
        .extracting(info -> info.meta().id())
        .hasSize(keys)
        .doesNotHaveDuplicates()
        .isSorted();
    database.made.set(0);
    assertThat(metastore.revoke(ALL).block(Await.TIMEOUT)).isEqualTo(keys);
    assertThat(database.made).hasValue(keys / StoredKeys.REVOCATION_PAGE + 1);
    assertThat(revokedRows()).isEqualTo(keys);
    assertThat(metastore.revoke(ALL).block(Await.TIMEOUT)).isZero();
    assertThat(list(ALL)).allMatch(KeyInfo::isRevoked);
    database.made.set(0);
    assertThat(metastore.delete(ALL).block(Await.TIMEOUT)).isEqualTo(keys);
    assertThat(database.made).hasValue(keys / StoredKeys.PAGE + 1);
    assertThat(database.query("SELECT id FROM encryption_key", String.class))
        .containsExactly(FOREIGN);
    assertThat(metastore.delete(ALL).block(Await.TIMEOUT)).isZero();
  }

  @Test
  void versions_aroundTheBordersOfPages_areAllThereInTheirOrder() {
    many(1_201);
    List<String> ids = List.of("_SK_00499", "_SK_00500", "_SK_00501", "_SK_01000", "_SK_01001");
    for (String id : ids) {
      for (int i : List.of(2, -1, 1)) {
        store(id, T.plusSeconds(i));
      }
    }
    List<KeyMeta> listed = list(ALL).stream().map(KeyInfo::meta).toList();
    assertThat(listed).hasSize(1_216).doesNotHaveDuplicates();
    for (String id : ids) {
      assertThat(listed.stream().filter(meta -> meta.id().equals(id)).map(KeyMeta::created))
          .containsExactly(T.minusSeconds(1), T, T.plusSeconds(1), T.plusSeconds(2));
    }
    // Pages are of ids that have versions in the range.
    assertThat(list(ALL.createdFrom(T.plusSeconds(1)))).hasSize(10);
    assertThat(metastore.delete(ALL.createdBefore(T)).block(Await.TIMEOUT)).isEqualTo(5);
    assertThat(metastore.revoke(ALL.createdFrom(T.plusSeconds(2))).block(Await.TIMEOUT))
        .isEqualTo(5);
    assertThat(revokedRows()).isEqualTo(5);
    assertThat(rows()).isEqualTo(1_211);
  }

  // Selectors.

  @Test
  void prefix_isTakenLiterally() {
    List<String> ids =
        List.of(
            "_IK_a%b", "_IK_a_b", "_IK_aXb", "_IK_[ab]", "_IK_!x", "_IK_\\x", "_IK_A_b", "_IK_'x");
    ids.forEach(id -> store(id, T));
    for (String id : ids) {
      for (int length = 5; length <= id.length(); length++) {
        String prefix = id.substring(0, length);
        assertThat(list(KeySelector.idPrefix(prefix)))
            .as(prefix)
            .extracting(info -> info.meta().id())
            .containsExactlyInAnyOrderElementsOf(
                ids.stream().filter(other -> other.startsWith(prefix)).toList());
      }
      assertThat(list(KeySelector.id(id)))
          .extracting(KeyInfo::meta)
          .containsExactly(new KeyMeta(id, T));
    }
    assertThat(list(KeySelector.idPrefix("%"))).isEmpty();
    assertThat(list(KeySelector.id("_IK_a"))).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({
    ", , 3",
    "2024-05-06T07:08:09Z, , 2",
    "2024-05-06T07:08:09.000000001Z, , 1",
    "2024-05-06T07:08:08.999999999Z, , 2",
    ", 2024-05-06T07:08:09Z, 1",
    ", 2024-05-06T07:08:09.000000001Z, 2",
    ", 2024-05-06T07:08:08.999999999Z, 1",
    "2024-05-06T07:08:09Z, 2024-05-06T07:08:10Z, 1",
    "2024-05-06T07:08:09Z, 2024-05-06T07:08:09Z, 0",
    "2024-05-06T07:08:10Z, 2024-05-06T07:08:09Z, 0",
    "MIN, , 3",
    "MIN, MAX, 3",
    ", MAX, 3",
    "MAX, , 0",
    ", MIN, 0",
    "9999-12-31T23:59:59.5Z, , 0",
    ", 0001-01-01T00:00:00Z, 0"
  })
  void times_selectTheSecondsOnTheirSide(
      @Nullable String from, @Nullable String before, int expected) {
    for (int i : List.of(-1, 0, 1)) {
      store("_SK_a", T.plusSeconds(i));
    }
    for (KeySelector all : List.of(ALL, KeySelector.id("_SK_a"))) {
      KeySelector selector =
          new KeySelector(all.id(), all.isPrefix(), instant(from), instant(before));
      assertThat(list(selector)).hasSize(expected);
      assertThat(list(all)).filteredOn(info -> selector.selects(info.meta())).hasSize(expected);
    }
  }

  private static @Nullable Instant instant(@Nullable String text) {
    return text == null
        ? null
        : text.equals("MIN") ? Instant.MIN : text.equals("MAX") ? Instant.MAX : Instant.parse(text);
  }

  @Test
  void version_isThatOneOnly() {
    store("_SK_a", T);
    store("_SK_a", T.plusSeconds(1));
    store("_SK_ab", T);
    KeySelector version = KeySelector.version(new KeyMeta("_SK_a", T));
    assertThat(list(version)).extracting(KeyInfo::meta).containsExactly(new KeyMeta("_SK_a", T));
    assertThat(metastore.delete(version).block(Await.TIMEOUT)).isOne();
    assertThat(rows()).isEqualTo(2);
  }

  @Test
  void revoke_keepsTheRestOfTheRecord() {
    EnvelopeKeyRecord record =
        new EnvelopeKeyRecord(T, new byte[] {9, 8}, new KeyMeta("_SK_p", T.minusSeconds(9)), false);
    metastore.store("_IK_a", T, record).block(Await.TIMEOUT);
    assertThat(metastore.revoke(KeySelector.id("_IK_a")).block(Await.TIMEOUT)).isOne();
    EnvelopeKeyRecord revoked =
        new EnvelopeKeyRecord(T, record.encryptedKey(), record.parentKeyMeta().orElse(null), true);
    assertThat(metastore.load("_IK_a", T).block(Await.TIMEOUT)).isEqualTo(revoked);
    assertThat(list(KeySelector.id("_IK_a")))
        .containsExactly(new KeyInfo(new KeyMeta("_IK_a", T), true, record.parentKeyMeta()));
  }

  /** As MySQL makes a TIMESTAMP without a DEFAULT of its own. */
  @Test
  void revoke_whereTheTimeChangesWithTheRow_keepsTheTime() {
    database.execute(
        "ALTER TABLE encryption_key ALTER COLUMN created SET ON UPDATE CURRENT_TIMESTAMP");
    store("_IK_a", T);
    assertThat(metastore.revoke(KeySelector.id("_IK_a")).block(Await.TIMEOUT)).isOne();
    assertThat(metastore.load("_IK_a", T).map(EnvelopeKeyRecord::isRevoked).block(Await.TIMEOUT))
        .isTrue();
  }

  /** A driver makes question marks of what UTF-8 does not have. */
  @Test
  void idThatIsNoText_isNotTakenForAnother() {
    store("_IK_a?", T);
    String half = "_IK_a" + (char) 0xd800;
    for (KeySelector selector : List.of(KeySelector.id(half), KeySelector.idPrefix(half))) {
      assertThat(list(selector)).isEmpty();
      assertThat(metastore.revoke(selector).block(Await.TIMEOUT)).isZero();
      assertThat(metastore.delete(selector).block(Await.TIMEOUT)).isZero();
    }
    assertThat(metastore.loadLatest(half).blockOptional(Await.TIMEOUT)).isEmpty();
    assertThat(metastore.load(half, T).blockOptional(Await.TIMEOUT)).isEmpty();
    assertThat(rows()).isOne();
  }

  /** The same, on the statements that any driver would be sent. */
  @Test
  void idThatIsNoText_isNotSent() {
    FakeDriver driver = new FakeDriver();
    KeySelector half = KeySelector.id("_IK_a" + (char) 0xd800);
    assertThat(R2dbcMetastore.create(driver).delete(half).block(Await.TIMEOUT)).isZero();
    assertThat(driver.calls).isEmpty();
  }

  // Rows that are no keys.

  @ParameterizedTest
  @ValueSource(strings = {"", "_", "__", "__asherah_internal_", FOREIGN})
  void foreignRow_isLeftAlone(String prefix) {
    foreign();
    for (KeySelector selector :
        prefix.equals(FOREIGN)
            ? List.of(KeySelector.idPrefix(prefix), KeySelector.id(prefix))
            : List.of(KeySelector.idPrefix(prefix))) {
      assertThat(list(selector)).isEmpty();
      assertThat(metastore.revoke(selector).block(Await.TIMEOUT)).isZero();
      assertThat(metastore.delete(selector).block(Await.TIMEOUT)).isZero();
    }
    assertThat(database.query("SELECT key_record FROM encryption_key", String.class))
        .containsExactly("{\"drift\":1}");
  }

  @Test
  void rowsThatOnlyLookForeign_areKeys() {
    List.of("_asherah_internal_", "XXasherahXinternalX", "__asherah_internalX")
        .forEach(id -> store(id, T));
    assertThat(list(ALL)).hasSize(3);
  }

  @Test
  void malformedRow_isAnErrorThatNamesIt() {
    many(3);
    database.execute(
        "INSERT INTO encryption_key VALUES ('_IK_alice_s_p', TIMESTAMP '2024-05-06 07:08:09', '{}')");
    for (Publisher<?> call :
        List.<Publisher<?>>of(
            metastore.list(ALL), metastore.revoke(ALL), metastore.loadLatest("_IK_alice_s_p"))) {
      StepVerifier.create(call)
          .expectErrorSatisfies(
              e -> {
                assertThat(e)
                    .asInstanceOf(type(MetastoreException.class))
                    .matches(failure -> !failure.isRetryable());
                assertThat(e)
                    .hasMessageContainingAll("_IK_****", "2024-05-06 07:08:09", "backup")
                    .hasMessageNotContaining("alice");
                assertThat(e.getCause())
                    .hasMessageContainingAll("_IK_alice_s_p", "2024-05-06 07:08:09");
              })
          .verify();
    }
    assertThat(revokedRows()).isZero();
    // It can be deleted nevertheless.
    assertThat(metastore.delete(ALL).block(Await.TIMEOUT)).isEqualTo(4);
  }

  @Test
  void malformedSystemKey_isNamedInTheMessage() {
    database.execute(
        "INSERT INTO encryption_key VALUES ('_SK_s_p', TIMESTAMP '2024-05-06 07:08:09', '{}')");
    StepVerifier.create(metastore.list(ALL))
        .expectErrorSatisfies(e -> assertThat(e).hasMessageContaining("_SK_s_p"))
        .verify();
  }

  // Demand.

  @Test
  void slowSubscriber_letsNoMorePagesBeReadThanOneAhead() {
    many(1_201);
    database.made.set(0);
    StepVerifier.create(metastore.list(ALL), 0)
        .thenRequest(1)
        .expectNextCount(1)
        .thenAwait(java.time.Duration.ofMillis(200))
        .then(() -> assertThat(database.made).hasValueLessThanOrEqualTo(2))
        .thenRequest(499)
        .expectNextCount(499)
        .thenRequest(1)
        .expectNextCount(1)
        .thenRequest(Long.MAX_VALUE)
        .expectNextCount(700)
        .verifyComplete();
    assertThat(database.made).hasValue(3);
  }

  @Test
  void slowSubscriber_thatCancels_endsTheReading() {
    many(1_201);
    database.made.set(0);
    StepVerifier.create(metastore.list(ALL), 0)
        .thenRequest(1)
        .expectNextCount(1)
        .thenRequest(1)
        .expectNextCount(1)
        .thenCancel()
        .verify();
    StepVerifier.create(metastore.list(ALL).take(700)).expectNextCount(700).verifyComplete();
    StepVerifier.create(metastore.list(ALL), 1).expectNextCount(1).thenCancel().verify();
    // One ahead at most, and it ends by itself.
    Await.until(
        () ->
            database.query("SELECT COUNT(*) FROM INFORMATION_SCHEMA.SESSIONS", Long.class).get(0)
                == 1L);
    assertThat(database.made).hasValueLessThanOrEqualTo(2 + 3 + 2);
  }

  @Test
  void list_subscribedTwice_readsTwice() {
    many(2);
    Flux<KeyInfo> list = metastore.list(ALL);
    Function<Flux<KeyInfo>, Long> count = flux -> flux.count().blockOptional().orElseThrow();
    assertThat(count.apply(list)).isEqualTo(2);
    store("_SK_z", T);
    assertThat(count.apply(list)).isEqualTo(3);
  }
}
