package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.test.StepVerifier;

/** Deleting the keys of a partition for ever. */
class ShredTest {
  private static final Instant MINUTE = Instant.parse("2026-03-12T12:58:00Z");
  private static final String INTERMEDIATE = "_IK_partition_service_product";

  private final InMemoryMetastore store = new InMemoryMetastore();

  /** Shredding waits on the timer. */
  private Scenario scenario() {
    return Scenario.withVirtualTimer(store, CryptoPolicy.defaults());
  }

  private static Instant keyOf(DataRowRecord record) {
    return record.key().parentKeyMeta().orElseThrow().created();
  }

  private static DataRowRecord encrypt(Scenario scenario) {
    return get(scenario.session().encrypt(utf8("payload")));
  }

  private static ShredReport shred(Scenario scenario) {
    return finished(scenario, scenario.factory.shred("partition").toFuture());
  }

  @Test
  void shred_deletesEveryVersion_andReportsIt_andRecordsMissTheirKey() {
    try (Scenario scenario = scenario()) {
      DataRowRecord first = encrypt(scenario);
      scenario.pass(Duration.ofDays(91));
      DataRowRecord second = encrypt(scenario);
      DataRowRecord other = get(scenario.factory.session("other").encrypt(utf8("other")));
      List<KeyMeta> keys =
          get(scenario.factory.keysOf("partition").map(KeyInfo::meta).collectList());
      assertThat(keys)
          .containsExactly(
              new KeyMeta(INTERMEDIATE, keyOf(first)), new KeyMeta(INTERMEDIATE, keyOf(second)));

      ShredReport report = shred(scenario);

      assertThat(report.deleted()).isEqualTo(keys);
      assertThat(report.partition()).isEqualTo("partition");
      assertThat(report.finished()).isAfterOrEqualTo(report.started());
      assertThat(report).asString().doesNotContain("partition");
      StepVerifier.create(scenario.factory.keysOf("partition")).verifyComplete();
      for (DataRowRecord record : List.of(first, second)) {
        StepVerifier.create(scenario.session().decrypt(record))
            .verifyError(MetadataMissingException.class);
      }
      assertThat(get(scenario.factory.session("other").decrypt(other))).isEqualTo(utf8("other"));
    }
  }

  @Test
  void encryptWhileShreddingWaits_getsAnotherKeyTime_andTheOldRecordMissesItsKey() {
    try (Scenario scenario = scenario()) {
      DataRowRecord old = encrypt(scenario);
      CompletableFuture<ShredReport> report = shreddingThatWaits(scenario);

      // In the same minute as the key that was shredded.
      DataRowRecord fresh = encrypt(scenario);

      assertThat(report).isNotDone();
      assertThat(keyOf(fresh)).isEqualTo(MINUTE.plusSeconds(1));
      StepVerifier.create(scenario.session().decrypt(old))
          .verifyError(MetadataMissingException.class);
      assertThat(finished(scenario, report).deleted())
          .containsExactly(new KeyMeta(INTERMEDIATE, MINUTE));
      assertThat(get(scenario.session().decrypt(fresh))).isEqualTo(utf8("payload"));
      StepVerifier.create(scenario.session().decrypt(old))
          .verifyError(MetadataMissingException.class);
    }
  }

  /** A shredding that has deleted and listed what there was, and waits for the next minute. */
  private static CompletableFuture<ShredReport> shreddingThatWaits(Scenario scenario) {
    AtomicInteger listed = new AtomicInteger();
    scenario.calls.watch("list", answer -> answer.doOnNext(all -> listed.incrementAndGet()));
    CompletableFuture<ShredReport> report = scenario.factory.shred("partition").toFuture();
    Await.until(() -> listed.get() == 2);
    return report;
  }

  private static ShredReport finished(Scenario scenario, CompletableFuture<ShredReport> report) {
    Await.until(
        () -> {
          scenario.pass(Duration.ofSeconds(1));
          return report.isDone();
        });
    return report.join();
  }

  @Test
  void keyOfTheFarFuture_doesNotLetTheNameOfAnotherComeBack() {
    Instant future = MINUTE.plus(Duration.ofDays(365));
    try (Scenario scenario = scenario()) {
      DataRowRecord old = encrypt(scenario);
      get(store.store(INTERMEDIATE, future, get(store.load(INTERMEDIATE, MINUTE))));
      CompletableFuture<ShredReport> report = shreddingThatWaits(scenario);

      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE.plusSeconds(1));
      assertThat(finished(scenario, report).deleted())
          .containsExactlyInAnyOrder(
              new KeyMeta(INTERMEDIATE, MINUTE), new KeyMeta(INTERMEDIATE, future));
      StepVerifier.create(scenario.session().decrypt(old))
          .verifyError(MetadataMissingException.class);
    }
  }

  @Test
  void keyThatAnotherProcessMadeUnderADeletedName_isDeletedToo() {
    try (Scenario scenario = scenario();
        Scenario other = scenario()) {
      DataRowRecord old = encrypt(scenario);
      CompletableFuture<ShredReport> report = shreddingThatWaits(scenario);

      // Its clock says the same minute, and it knows nothing of the shredding.
      assertThat(keyOf(encrypt(other))).isEqualTo(MINUTE);

      assertThat(finished(scenario, report).deleted())
          .containsExactly(new KeyMeta(INTERMEDIATE, MINUTE));
      StepVerifier.create(scenario.session().decrypt(old))
          .verifyError(MetadataMissingException.class);
      assertThat(get(store.list(KeySelector.id(INTERMEDIATE)).count())).isZero();
    }
  }

  @Test
  void keysOfAnEarlierMinute_areShreddedWithoutWaiting() {
    try (Scenario scenario = scenario()) {
      encrypt(scenario);
      scenario.pass(Duration.ofMinutes(1));

      assertThat(get(scenario.factory.shred("partition")).deleted()).hasSize(1);
    }
  }

  @Test
  void partitionWithoutKeys_isAReportOfNothing() {
    try (Scenario scenario = scenario()) {
      assertThat(get(scenario.factory.shred("partition")).deleted()).isEmpty();
    }
  }

  @Test
  void shred_deletesAllSuffixes_andNoOtherPartition() {
    InMemoryMetastore west = new InMemoryMetastore();
    try (Scenario scenario = new Scenario(west, CryptoPolicy.defaults(), "us-west-2")) {
      get(scenario.session().encrypt(utf8("payload")));
      EnvelopeKeyRecord key = get(west.loadLatest("_IK_partition_service_product_us-west-2"));
      List<String> mine =
          List.of(
              "_IK_partition_service_product",
              "_IK_partition_service_product_eu-west-1",
              "_IK_partition_service_product_us-west-2");
      List<String> others =
          List.of(
              "_IK_partition_service_product2",
              "_IK_partition_service_product_x_service_product",
              "_IK_partition2_service_product",
              "_IK_Partition_service_product",
              "_IK_partitionXservice_product");
      for (String id : List.of(mine.get(0), mine.get(1), others.get(0), others.get(1))) {
        get(west.store(id, MINUTE, key));
      }
      for (String id : others.subList(2, 5)) {
        get(west.store(id, MINUTE, key));
      }
      scenario.pass(Duration.ofMinutes(1));

      ShredReport report = get(scenario.factory.shred("partition"));

      assertThat(report.deleted().stream().map(KeyMeta::id)).containsExactlyElementsOf(mine);
      assertThat(
              get(
                  west.list(KeySelector.idPrefix("_IK_"))
                      .map(info -> info.meta().id())
                      .collectList()))
          .containsExactlyInAnyOrderElementsOf(others);
    }
  }

  @Test
  void events_tellOfEachKey() {
    try (Scenario scenario = scenario()) {
      encrypt(scenario);
      scenario.pass(Duration.ofMinutes(1));

      StepVerifier.create(
              scenario
                  .factory
                  .keyEvents()
                  .filter(event -> event.type() == KeyEvent.Type.SHREDDED)
                  .take(1))
          .then(() -> get(scenario.factory.shred("partition")))
          .assertNext(
              event -> {
                assertThat(event.key()).isEqualTo(new KeyMeta(INTERMEDIATE, MINUTE));
                assertThat(event).asString().doesNotContain("partition");
              })
          .verifyComplete();
    }
  }

  @Test
  void metastoreWithoutInventory_isATypedError() {
    Metastore plain = new SuffixedMetastore(store, "");
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(plain)
            .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
            .build();

    StepVerifier.create(factory.shred("partition"))
        .verifyErrorSatisfies(
            e ->
                assertThat(e)
                    .isExactlyInstanceOf(AppEncryptionException.class)
                    .hasMessageContaining("KeyInventory"));
    StepVerifier.create(factory.keysOf("partition")).verifyError(AppEncryptionException.class);
    factory.close().block(Await.TIMEOUT);
    StepVerifier.create(factory.shred("partition")).verifyError(FactoryClosedException.class);
  }

  @Test
  void failureOfTheMetastore_isItsError_andShreddingAgainIsSafe() {
    try (Scenario scenario = scenario()) {
      encrypt(scenario);
      scenario.pass(Duration.ofMinutes(1));
      scenario.calls.fail("delete", new MetastoreException("read only", null, false));

      StepVerifier.create(scenario.factory.shred("partition")).verifyErrorMessage("read only");

      scenario.calls.answerAsBefore();
      assertThat(get(scenario.factory.shred("partition")).deleted()).hasSize(1);
    }
  }

  @Test
  void loadInFlight_whenItsKeyIsShredded_isNotCached() {
    try (Scenario scenario = scenario()) {
      DataRowRecord record = encrypt(scenario);
      scenario.pass(Duration.ofMinutes(1));
      get(Mono.just(scenario.session().forget()).flatMap(m -> m.thenReturn(true)));
      Sinks.Empty<Void> gate = Sinks.empty();
      UnaryOperator<Mono<Object>> late =
          answer -> answer.delayUntil(found -> gate.asMono().thenReturn(true));
      scenario.calls.change("load(IK)", late);
      CompletableFuture<byte[]> opened = scenario.session().decrypt(record).toFuture();
      Await.until(() -> scenario.calls.count("load(IK)") == 1);

      get(scenario.factory.shred("partition"));
      gate.tryEmitEmpty();

      // It was answered before the key was deleted, but meanwhile the key is gone.
      StepVerifier.create(Mono.fromFuture(opened)).verifyError(MetadataMissingException.class);
      assertThat(scenario.factory.stats().cachedIntermediateKeys()).isZero();
    }
  }

  @Test
  void deletionWhoseAnswerIsLost_endsTheUseOfTheKey_whateverBecomesOfTheShredding() {
    for (String how : List.of("fails", "is cancelled")) {
      InMemoryMetastore table = new InMemoryMetastore();
      try (Scenario scenario = Scenario.withVirtualTimer(table, CryptoPolicy.defaults())) {
        encrypt(scenario);
        MetastoreException lost = new MetastoreException("connection lost", null, false);
        scenario.calls.change(
            "delete", answer -> answer.then(how.equals("fails") ? Mono.error(lost) : Mono.never()));
        if (how.equals("fails")) {
          StepVerifier.create(scenario.factory.shred("partition"))
              .verifyErrorSatisfies(e -> assertThat(e).isSameAs(lost));
        } else {
          Disposable cancelled = scenario.factory.shred("partition").subscribe();
          Await.until(() -> get(table.list(KeySelector.id(INTERMEDIATE)).count()) == 0);
          cancelled.dispose();
        }
        Await.until(() -> scenario.factory.stats().cachedIntermediateKeys() == 0);

        DataRowRecord record = encrypt(scenario);

        assertThat(keyOf(record)).as(how).isAfter(MINUTE);
        assertThat(get(table.load(INTERMEDIATE, keyOf(record)))).isNotNull();
      }
    }
  }

  @Test
  void deletionThatWasRetriedAfterALostAnswer_isReported_andWaitedFor() {
    try (Scenario scenario = scenario()) {
      DataRowRecord old = encrypt(scenario);
      AtomicInteger calls = new AtomicInteger();
      scenario.calls.change(
          "delete",
          answer ->
              calls.getAndIncrement() == 0
                  ? answer.then(Mono.error(new MetastoreException("reset", null, false)))
                  : answer);
      StepVerifier.create(scenario.factory.shred("partition")).verifyErrorMessage("reset");

      // Nothing is left to delete, but the name could come back in this minute still.
      ShredReport report = shred(scenario);

      assertThat(report.deleted()).containsExactly(new KeyMeta(INTERMEDIATE, MINUTE));
      assertThat(report.finished()).isAfterOrEqualTo(MINUTE.plusSeconds(60));
      StepVerifier.create(scenario.session().decrypt(old))
          .verifyError(MetadataMissingException.class);
    }
  }

  @Test
  void tenantOfAnotherService_whoseIdStartsAlike_isKept() {
    SessionFactory orders = factory("shop", "orders");
    SessionFactory shop = factory("x", "shop");
    get(orders.session("acme").encrypt(utf8("payload")));
    get(shop.session("acme_orders").encrypt(utf8("payload")));

    assertThat(get(orders.keysOf("acme").map(key -> key.meta().id()).collectList()))
        .containsExactly("_IK_acme_orders_shop");
    assertThat(get(shop.keysOf("acme_orders").map(key -> key.meta().id()).collectList()))
        .containsExactly("_IK_acme_orders_shop_x");
    orders.close().block(Await.TIMEOUT);
    shop.close().block(Await.TIMEOUT);
  }

  private SessionFactory factory(String product, String service) {
    return SessionFactory.builder(product, service)
        .metastore(store)
        .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
        .build();
  }

  @Test
  void close_endsAShreddingThatWaits() {
    Scenario scenario = scenario();
    encrypt(scenario);
    CompletableFuture<ShredReport> waiting = scenario.factory.shred("partition").toFuture();
    Await.until(() -> scenario.calls.count("list") == 2);

    CompletableFuture<Void> closed = scenario.factory.close().toFuture();
    scenario.pass(Duration.ofSeconds(11));

    closed.orTimeout(30, TimeUnit.SECONDS).join();
    assertThatThrownBy(() -> waiting.orTimeout(30, TimeUnit.SECONDS).join())
        .hasCauseInstanceOf(FactoryClosedException.class);
    scenario.calls.take();
    scenario.pass(Duration.ofMinutes(2));
    assertThat(scenario.calls.take()).isEmpty();
    scenario.close();
  }
}
