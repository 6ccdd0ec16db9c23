package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetadataMissingException;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.ShredReport;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testaws.DynamoDbFront;
import io.asherah.reactive.testaws.DynamoDbServer;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;
import software.amazon.awssdk.core.SdkRequest;
import software.amazon.awssdk.core.interceptor.Context;
import software.amazon.awssdk.core.interceptor.ExecutionAttributes;
import software.amazon.awssdk.core.interceptor.ExecutionInterceptor;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.QueryRequest;
import software.amazon.awssdk.services.dynamodb.model.ScanRequest;

/** Lists, revocations and deletions of keys, page by page and while others work. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class InventoryIT {
  private static final String FOREIGN = "__asherah_internal_config_drift_guard_v1__:abc";
  private static final int MANY = 40;

  /** DynamoDB ends a page after 1 MB, or after so many items as it is told. */
  private static final int PAGE = 15;

  private static final ExecutionInterceptor SMALL_PAGES =
      new ExecutionInterceptor() {
        @Override
        public SdkRequest modifyRequest(
            Context.ModifyRequest context, ExecutionAttributes attributes) {
          SdkRequest request = context.request();
          if (request instanceof QueryRequest query) {
            return query.toBuilder().limit(PAGE).build();
          }
          return request instanceof ScanRequest scan
              ? scan.toBuilder().limit(PAGE).build()
              : request;
        }
      };

  private final Aws aws = new Aws();
  private DynamoDbFront front;
  private DynamoDbAsyncClient direct;
  private DynamoDbAsyncClient client;
  private String table;
  private DynamoDbMetastore metastore;

  @BeforeAll
  void openClients() {
    front = DynamoDbFront.to(DynamoDbServer.shared());
    direct = aws.client();
    client =
        aws.client(
            front.endpoint(),
            aws.http(Aws.Http.NETTY),
            options ->
                options.overrideConfiguration(
                    options.overrideConfiguration().toBuilder()
                        .addExecutionInterceptor(SMALL_PAGES)
                        .build()));
  }

  @BeforeEach
  void createTable() {
    table = Aws.newTable(direct);
    metastore = Aws.patient(client, table).build();
    metastore.loadLatest(Aws.freshId()).block(Aws.TIMEOUT);
  }

  @AfterEach
  void heal() {
    front.healthy();
  }

  @AfterAll
  void close() {
    aws.close();
    front.close();
  }

  // Pages.

  /** Stores keys of three pages. */
  private List<KeyMeta> storeMany(IntFunction<KeyMeta> name) {
    List<KeyMeta> all = IntStream.range(0, MANY).mapToObj(name::apply).toList();
    Flux.fromIterable(all)
        .flatMap(meta -> Mono.fromFuture(direct.putItem(b -> b.tableName(table).item(item(meta)))))
        .blockLast(Aws.TIMEOUT);
    return all;
  }

  private static Map<String, AttributeValue> item(KeyMeta meta) {
    Map<String, AttributeValue> item = new HashMap<>(Aws.key(meta.id(), meta.created()));
    item.put(
        "KeyRecord",
        AttributeValue.fromM(
            Map.of(
                "Created",
                AttributeValue.fromN(Long.toString(meta.created().getEpochSecond())),
                "Key",
                AttributeValue.fromS("AAAA"))));
    return item;
  }

  @Test
  void manyVersions_areListedInOrder_pageByPage() {
    String id = Aws.freshId();
    List<KeyMeta> all = storeMany(i -> new KeyMeta(id, Aws.at(1_000L * (i * 7 % MANY + 1))));
    int before = front.calls("Query");

    List<KeyInfo> listed = Aws.get(metastore.list(KeySelector.id(id)).collectList());

    assertThat(listed).hasSize(MANY).extracting(KeyInfo::meta).containsAll(all);
    assertThat(listed).extracting(key -> key.meta().created()).isSorted();
    assertThat(front.calls("Query") - before).isEqualTo(3);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void manyKeys_areListedRevokedAndDeleted_pageByPage(boolean isOneId) {
    String id = Aws.freshId();
    storeMany(i -> new KeyMeta(isOneId ? id : id + (i % 7), Aws.at(i + 1)));
    KeySelector all = isOneId ? KeySelector.id(id) : KeySelector.idPrefix(id);
    String call = isOneId ? "Query" : "Scan";
    int before = front.calls(call);

    List<KeyInfo> listed = Aws.get(metastore.list(all).collectList());
    assertThat(listed).hasSize(MANY).extracting(KeyInfo::isRevoked).containsOnly(false);
    assertVersionsAreInOrder(listed);
    assertThat(Aws.get(metastore.revoke(all))).isEqualTo(MANY);
    assertThat(Aws.get(metastore.revoke(all))).isZero();
    assertThat(Aws.get(metastore.list(all).collectList()))
        .hasSize(MANY)
        .extracting(KeyInfo::isRevoked)
        .containsOnly(true);
    assertThat(Aws.get(metastore.delete(all))).isEqualTo(MANY);
    assertThat(Aws.get(metastore.delete(all))).isZero();
    assertThat(Aws.get(metastore.list(all).collectList())).isEmpty();
    assertThat(front.calls(call) - before).isEqualTo(17);
  }

  private static void assertVersionsAreInOrder(List<KeyInfo> listed) {
    Map<String, Instant> last = new HashMap<>();
    for (KeyInfo key : listed) {
      Instant earlier = last.put(key.meta().id(), key.meta().created());
      assertThat(earlier == null || earlier.isBefore(key.meta().created())).isTrue();
    }
  }

  /** A filter may leave nothing of a page, which is not the end. */
  @Test
  void pagesWithoutAnyKeyThatIsMeant_areNotTheEnd() {
    storeMany(i -> new KeyMeta("_SK_other" + i, Aws.at(1)));
    String id = Aws.freshId();
    Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)));

    assertThat(Aws.get(metastore.list(KeySelector.idPrefix(id)).collectList())).hasSize(1);
    assertThat(Aws.get(metastore.delete(KeySelector.idPrefix(id)))).isOne();
  }

  @Test
  void pages_areReadAsTheyAreWanted() {
    String id = Aws.freshId();
    storeMany(i -> new KeyMeta(id, Aws.at(i + 1)));
    int before = front.calls("Query");

    StepVerifier.create(metastore.list(KeySelector.id(id)), 1)
        .expectNextCount(1)
        .thenCancel()
        .verify(Aws.TIMEOUT);
    Await.until(() -> front.underWay() == 0);

    assertThat(front.calls("Query") - before).isEqualTo(1);
  }

  @Test
  void pageThatFails_isAnErrorAfterTheFirst() {
    String id = Aws.freshId();
    storeMany(i -> new KeyMeta(id, Aws.at(i + 1)));
    CompletableFuture<Boolean> first = new CompletableFuture<>();
    Flux<KeyInfo> list =
        metastore
            .list(KeySelector.id(id))
            .doOnSubscribe(s -> front.on("Query").times(1).before(() -> first.complete(true)));
    front.on("Query").times(1).edit(json -> json);
    front.on("Query").times(1).fail(500, "InternalServerError", null);

    StepVerifier.create(list.collectList())
        .expectErrorSatisfies(e -> assertIsRetryable(e, true))
        .verify(Aws.TIMEOUT);
    assertThat(first).isDone();
  }

  // What is left alone.

  @Test
  void itemsOfRust_areNeitherListedNorRevokedNorDeleted() {
    EnvelopeKeyRecord guard = new EnvelopeKeyRecord(Aws.at(946_684_800), new byte[9], null, false);
    Aws.get(metastore.store(FOREIGN, guard.created(), guard));
    Aws.get(metastore.store("_SK_a", Aws.CREATED, Aws.record(Aws.CREATED, 1)));
    var before = Aws.item(direct, table, FOREIGN, guard.created());

    for (KeySelector selector :
        List.of(
            KeySelector.idPrefix(""),
            KeySelector.idPrefix("_"),
            KeySelector.idPrefix("__asherah_internal_"),
            KeySelector.idPrefix(FOREIGN),
            KeySelector.id(FOREIGN),
            KeySelector.version(new KeyMeta(FOREIGN, guard.created())))) {
      assertThat(Aws.get(metastore.list(selector).collectList()))
          .extracting(key -> key.meta().id())
          .doesNotContain(FOREIGN);
      Aws.get(metastore.revoke(selector));
      Aws.get(metastore.delete(selector));
    }

    assertThat(Aws.item(direct, table, FOREIGN, guard.created())).isEqualTo(before).isNotEmpty();
    assertThat(metastore.loadLatest("_SK_a").blockOptional(Aws.TIMEOUT)).isEmpty();
  }

  @Test
  void revocation_setsRevokedAndNothingElse() {
    String id = Aws.freshId();
    Map<String, AttributeValue> fields =
        Map.of(
            "Created",
            AttributeValue.fromN("1541461380"),
            "Key",
            AttributeValue.fromS("AAAA"),
            "Extra",
            AttributeValue.fromL(List.of(AttributeValue.fromNul(true))),
            "ParentKeyMeta",
            AttributeValue.fromM(
                Map.of(
                    "KeyId", AttributeValue.fromS("_SK_a"), "Created", AttributeValue.fromN("7"))));
    for (Map<String, AttributeValue> revoked :
        List.<Map<String, AttributeValue>>of(
            Map.of(),
            Map.of("Revoked", AttributeValue.fromBool(false)),
            Map.of("Revoked", AttributeValue.fromNul(true)))) {
      Map<String, AttributeValue> before = new HashMap<>(fields);
      before.putAll(revoked);
      Map<String, AttributeValue> item = new HashMap<>(Aws.key(id, Aws.CREATED));
      item.put("Other", AttributeValue.fromN("1.5"));
      item.put("KeyRecord", AttributeValue.fromM(before));
      Aws.put(direct, table, item);

      assertThat(Aws.get(metastore.revoke(KeySelector.id(id)))).isOne();

      before.put("Revoked", AttributeValue.fromBool(true));
      item.put("KeyRecord", AttributeValue.fromM(before));
      assertThat(Aws.item(direct, table, id, Aws.CREATED)).isEqualTo(item);
    }
  }

  // At the same time.

  @Test
  void revocationsAtTheSameTime_countOnce() {
    String id = Aws.freshId();
    store(id, 30);

    Long revoked =
        Aws.get(
            Flux.range(0, 8)
                .flatMap(i -> metastore.revoke(KeySelector.id(id)))
                .reduce(0L, Long::sum));

    assertThat(revoked).isEqualTo(30);
  }

  @Test
  void deletionsAtTheSameTime_countOnce() {
    String id = Aws.freshId();
    store(id, 30);

    Long deleted =
        Aws.get(
            Flux.range(0, 8)
                .flatMap(i -> metastore.delete(KeySelector.id(id)))
                .reduce(0L, Long::sum));

    assertThat(deleted).isEqualTo(30);
    assertThat(Aws.get(metastore.list(KeySelector.id(id)).count())).isZero();
  }

  @Test
  void keyDeletedBeforeItsRevocation_isNotMadeAgain() {
    String id = Aws.freshId();
    store(id, 1);
    int calls = front.calls("UpdateItem");
    front.on("UpdateItem").hold();
    CompletableFuture<Long> revoked = metastore.revoke(KeySelector.id(id)).toFuture();
    Await.until(() -> front.calls("UpdateItem") == calls + 1);

    assertThat(Aws.get(metastore.delete(KeySelector.id(id)))).isOne();
    front.release();

    assertThat(Aws.get(Mono.fromFuture(revoked))).isZero();
    assertThat(Aws.item(direct, table, id, Aws.at(1))).isEmpty();
  }

  @Test
  void keyDeletedBeforeItsDeletion_doesNotCount() {
    String id = Aws.freshId();
    store(id, 1);
    int calls = front.calls("DeleteItem");
    front.on("DeleteItem").times(1).hold();
    CompletableFuture<Long> late = metastore.delete(KeySelector.id(id)).toFuture();
    Await.until(() -> front.calls("DeleteItem") == calls + 1);

    assertThat(Aws.get(metastore.delete(KeySelector.id(id)))).isOne();
    front.release();

    assertThat(Aws.get(Mono.fromFuture(late))).isZero();
    assertThat(Aws.item(direct, table, id, Aws.at(1))).isEmpty();
  }

  @Test
  void keyRevokedByAnother_doesNotCount() {
    String id = Aws.freshId();
    store(id, 1);
    int calls = front.calls("UpdateItem");
    front.on("UpdateItem").times(1).hold();
    CompletableFuture<Long> late = metastore.revoke(KeySelector.id(id)).toFuture();
    Await.until(() -> front.calls("UpdateItem") == calls + 1);

    assertThat(Aws.get(metastore.revoke(KeySelector.id(id)))).isOne();
    front.release();

    assertThat(Aws.get(Mono.fromFuture(late))).isZero();
  }

  // Many that fail.

  /** Of errors at the same time one is told, and the others are no dropped ones. */
  @RepeatedTest(20)
  void changesThatFailTogether_areOneError() {
    String id = Aws.freshId();
    store(id, 30);
    for (String call : List.of("UpdateItem", "DeleteItem")) {
      int calls = front.calls(call);
      front.on(call).hold();
      front.on(call).fail(400, "AccessDeniedException", null);
      CompletableFuture<Long> changed =
          (call.equals("UpdateItem")
                  ? metastore.revoke(KeySelector.id(id))
                  : metastore.delete(KeySelector.id(id)))
              .toFuture();
      Await.until(() -> front.calls(call) == calls + 8);
      front.release();

      StepVerifier.create(Mono.fromFuture(changed))
          .expectErrorSatisfies(e -> assertIsRetryable(e, false))
          .verify(Aws.TIMEOUT);
    }
    Await.until(() -> front.underWay() == 0);
    assertThat(Aws.get(metastore.list(KeySelector.id(id)).count())).isEqualTo(30);
  }

  @RepeatedTest(5)
  void pageAndChangesThatFailTogether_areOneError() {
    String id = Aws.freshId();
    storeMany(i -> new KeyMeta(id, Aws.at(i + 1)));
    // So few are left of the first page that the second one is wanted.
    assertThat(Aws.get(metastore.revoke(KeySelector.id(id).createdFrom(Aws.at(6)))))
        .isEqualTo(MANY - 5);
    int queries = front.calls("Query");
    int updates = front.calls("UpdateItem");
    // But for the first page.
    front.on("Query").times(1).before(() -> {});
    front.on("Query").times(1).edit(json -> json);
    front.on("Query", "UpdateItem").hold();
    front.on("Query", "UpdateItem").fail(400, "AccessDeniedException", null);
    CompletableFuture<Long> revoked = metastore.revoke(KeySelector.id(id)).toFuture();
    Await.until(
        () -> front.calls("Query") == queries + 2 && front.calls("UpdateItem") == updates + 5);
    front.release();

    StepVerifier.create(Mono.fromFuture(revoked))
        .expectErrorSatisfies(e -> assertIsRetryable(e, false))
        .verify(Aws.TIMEOUT);
    Await.until(() -> front.underWay() == 0);
  }

  @Test
  void changesUnderWay_areNoMoreThanEight() {
    String id = Aws.freshId();
    store(id, 30);
    int calls = front.calls("UpdateItem");
    front.on("UpdateItem").hold();
    CompletableFuture<Long> revoked = metastore.revoke(KeySelector.id(id)).toFuture();
    Await.until(() -> front.calls("UpdateItem") == calls + 8);
    // Time for more of them.
    Aws.get(
        Flux.range(0, 50)
            .concatMap(i -> metastore.list(KeySelector.id(id)).count())
            .then(Mono.just(true)));
    int most = front.calls("UpdateItem") - calls;
    front.release();

    assertThat(Aws.get(Mono.fromFuture(revoked))).isEqualTo(30);
    assertThat(most).isEqualTo(8);
  }

  // Selectors.

  @Test
  void times_selectWhatTheyDoElsewhere() {
    String id = Aws.freshId();
    List<KeyMeta> all =
        IntStream.of(0, 1, 59, 60, 61, 120).mapToObj(i -> new KeyMeta(id, Aws.at(i))).toList();
    List<KeyMeta> early = List.of(new KeyMeta(id, Aws.at(-60)), new KeyMeta(id, Aws.at(-1)));
    for (KeyMeta meta : all) {
      Aws.get(metastore.store(id, meta.created(), Aws.record(meta.created(), 1)));
    }
    for (KeyMeta meta : early) {
      Aws.get(metastore.store(id, meta.created(), Aws.record(meta.created(), 1)));
    }
    List<KeyMeta> stored = new ArrayList<>(early);
    stored.addAll(all);

    List<Instant> times =
        List.of(
            Instant.MIN,
            Instant.MIN.plusNanos(1),
            Aws.at(-1),
            Aws.at(-1).plusMillis(500),
            Instant.EPOCH,
            Aws.at(60).minusNanos(1),
            Aws.at(60),
            Aws.at(60).plusNanos(1),
            Aws.at(61),
            Instant.MAX.minusNanos(1),
            Instant.MAX.minusSeconds(1),
            Instant.MAX);
    for (KeySelector any : List.of(KeySelector.id(id), KeySelector.idPrefix(id))) {
      for (Instant one : times) {
        assertSelects(any.createdFrom(one), stored);
        assertSelects(any.createdBefore(one), stored);
      }
    }
    for (Instant from : times) {
      for (Instant before : times) {
        assertSelects(KeySelector.id(id).createdFrom(from).createdBefore(before), stored);
      }
    }
  }

  private void assertSelects(KeySelector selector, List<KeyMeta> stored) {
    assertThat(Aws.get(metastore.list(selector).map(KeyInfo::meta).collectList()))
        .as("%s", selector)
        .isEqualTo(stored.stream().filter(selector::selects).toList());
  }

  /** Half of a pair of surrogates is no question mark. */
  @Test
  void idsThatNoKeyCanHave_selectNothing() {
    String id = Aws.freshId();
    Aws.get(metastore.store(id + "?", Aws.CREATED, Aws.record(Aws.CREATED, 1)));

    for (KeySelector selector :
        List.of(
            KeySelector.id(id + "\ud83d"),
            KeySelector.idPrefix(id + "\ud83d"),
            KeySelector.id(id + "x".repeat(2_100)),
            KeySelector.idPrefix(id + "x".repeat(2_100)))) {
      assertThat(Aws.get(metastore.list(selector).count())).isZero();
      assertThat(Aws.get(metastore.revoke(selector))).isZero();
      assertThat(Aws.get(metastore.delete(selector))).isZero();
    }
  }

  @Test
  void emptyPrefix_selectsEverything() {
    Aws.get(metastore.store("_SK_a", Aws.CREATED, Aws.record(Aws.CREATED, 1)));
    Aws.get(metastore.store("x", Aws.CREATED, Aws.record(Aws.CREATED, 1)));

    assertThat(Aws.get(metastore.list(KeySelector.idPrefix("")).collectList()))
        .extracting(key -> key.meta().id())
        .containsExactlyInAnyOrder("_SK_a", "x");
    assertThat(Aws.get(metastore.delete(KeySelector.idPrefix("")))).isEqualTo(2);
  }

  // What it is for.

  @ParameterizedTest
  @ValueSource(strings = {"", "us-west-2"})
  void shred_deletesTheKeysOfAPartition_andNoOthers(String suffix) {
    DynamoDbMetastore suffixed = Aws.patient(client, table).keySuffix(suffix).build();
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(suffixed)
            .keyManagementService(StaticKeyManagementService.of(new byte[32]))
            // Shredding waits until no new key can have the time of one that is gone.
            .cryptoPolicy(CryptoPolicy.builder().createdPrecision(Duration.ofSeconds(1)).build())
            .callTimeout(Aws.TIMEOUT)
            .loadTimeout(Aws.TIMEOUT)
            .build();
    byte[] payload = {1, 2, 3};
    byte[] lower = Aws.get(factory.session("bob").encryptToJson(payload));
    byte[] upper = Aws.get(factory.session("Bob").encryptToJson(payload));

    List<KeyInfo> before = Aws.get(factory.keysOf("bob").collectList());
    ShredReport report = Aws.get(factory.shred("bob"));

    assertThat(report.deleted()).isEqualTo(before.stream().map(KeyInfo::meta).toList()).hasSize(1);
    StepVerifier.create(factory.session("bob").decryptJson(lower))
        .expectError(MetadataMissingException.class)
        .verify(Aws.TIMEOUT);
    assertThat(Aws.get(factory.session("Bob").decryptJson(upper))).isEqualTo(payload);
    factory.close().block(Aws.TIMEOUT);
  }

  private void store(String id, int versions) {
    List<Boolean> stored =
        Aws.get(
            Flux.range(1, versions)
                .flatMap(i -> metastore.store(id, Aws.at(i), Aws.record(Aws.at(i), i)))
                .collectList());
    assertThat(stored).hasSize(versions).containsOnly(true);
  }

  private static void assertIsRetryable(Throwable e, boolean isRetryable) {
    assertThat(e).isInstanceOf(MetastoreException.class);
    assertThat(((MetastoreException) e).isRetryable()).isEqualTo(isRetryable);
  }
}
