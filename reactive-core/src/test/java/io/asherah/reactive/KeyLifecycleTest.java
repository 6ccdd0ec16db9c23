package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.SteadyTimeScheduler;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

/** Which key is used when, and what is asked of metastore and key management service for it. */
class KeyLifecycleTest {
  private static final Duration PERIOD = Duration.ofMinutes(60);
  private static final Instant MINUTE = Instant.parse("2026-03-12T12:58:00Z");

  private static Instant keyOf(DataRowRecord record) {
    return record.key().parentKeyMeta().orElseThrow().created();
  }

  @Test
  void firstEncrypt_makesBothKeys_withOneCallEach() {
    try (Scenario scenario = new Scenario()) {
      DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));

      assertThat(scenario.calls.take())
          .containsExactly(
              "loadLatest(IK)", "loadLatest(SK)", "encryptKey", "store(SK)", "store(IK)");
      assertThat(keyOf(record)).isEqualTo(MINUTE);
      assertThat(record.key().created()).isEqualTo(Scenario.START);

      get(scenario.session().encrypt(utf8("payload")));
      get(scenario.session().decrypt(record));
      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void anotherProcess_findsTheKeys_withOneKmsCall() {
    InMemoryMetastore shared = new InMemoryMetastore();
    try (Scenario first = new Scenario(shared, CryptoPolicy.defaults(), "");
        Scenario second = new Scenario(shared, CryptoPolicy.defaults(), "");
        Scenario third = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = get(first.session().encrypt(utf8("payload")));

      assertThat(keyOf(get(second.session().encrypt(utf8("payload"))))).isEqualTo(MINUTE);
      assertThat(second.calls.take()).containsExactly("loadLatest(IK)", "load(SK)", "decryptKey");

      assertThat(get(third.session().decrypt(record))).isEqualTo(utf8("payload"));
      assertThat(third.calls.take()).containsExactly("load(IK)", "load(SK)", "decryptKey");
      get(third.session().encrypt(utf8("payload")));
      assertThat(third.calls.take()).containsExactly("loadLatest(IK)");
    }
  }

  @Test
  void withinThePeriod_nothingIsAsked_afterIt_theRecordsAre_butNotTheKms() {
    try (Scenario scenario = new Scenario()) {
      get(scenario.session().encrypt(utf8("payload")));
      scenario.calls.take();

      scenario.pass(PERIOD.multipliedBy(4).dividedBy(5).minusNanos(1));
      get(scenario.session().encrypt(utf8("payload")));
      assertThat(scenario.calls.take()).isEmpty();

      scenario.pass(PERIOD.dividedBy(5).plusNanos(1));
      get(scenario.session().encrypt(utf8("payload")));
      assertThat(scenario.calls.take()).containsExactly("loadLatest(IK)", "load(SK)");
      get(scenario.session().encrypt(utf8("payload")));
      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void wallClockSetBack_doesNotProlongThePeriod() {
    try (Scenario scenario = new Scenario()) {
      get(scenario.session().encrypt(utf8("payload")));
      scenario.calls.take();

      scenario.wallClockOffsetSeconds.set(-86_400);
      scenario.pass(PERIOD);
      get(scenario.session().encrypt(utf8("payload")));

      assertThat(scenario.calls.take()).containsExactly("loadLatest(IK)", "load(SK)");
    }
  }

  @Test
  void revokedIntermediateKey_isReplacedAfterThePeriod_andStillOpensItsRecords() {
    try (Scenario scenario = new Scenario()) {
      DataRowRecord old = get(scenario.session().encrypt(utf8("old")));
      scenario.revoke("_IK_partition_service_product", MINUTE);
      scenario.pass(PERIOD);

      DataRowRecord fresh = get(scenario.session().encrypt(utf8("new")));

      assertThat(keyOf(fresh)).isEqualTo(MINUTE.plus(PERIOD));
      assertThat(scenario.calls.take()).endsWith("loadLatest(IK)", "loadLatest(SK)", "store(IK)");
      assertThat(get(scenario.session().decrypt(old))).isEqualTo(utf8("old"));
      assertThat(get(scenario.session().decrypt(fresh))).isEqualTo(utf8("new"));
    }
  }

  @Test
  void revokedSystemKey_isNotUsedForWritesAfterThePeriod_notEvenThroughItsIntermediateKey() {
    try (Scenario scenario = new Scenario()) {
      DataRowRecord old = get(scenario.session().encrypt(utf8("old")));
      scenario.revoke("_SK_service_product", MINUTE);
      scenario.pass(PERIOD);
      scenario.calls.take();

      DataRowRecord fresh = get(scenario.session().encrypt(utf8("new")));

      assertThat(keyOf(fresh)).isEqualTo(MINUTE.plus(PERIOD));
      assertThat(scenario.calls.take())
          .containsExactly(
              "loadLatest(IK)",
              "load(SK)",
              "loadLatest(SK)",
              "encryptKey",
              "store(SK)",
              "store(IK)");
      assertThat(get(scenario.session().decrypt(old))).isEqualTo(utf8("old"));
    }
  }

  @Test
  void revokedSystemKey_isNoticed_alsoWhereTheIntermediateKeyWasReadLater() {
    try (Scenario scenario = new Scenario()) {
      get(scenario.factory.session("early").encrypt(utf8("payload")));
      scenario.revoke("_SK_service_product", MINUTE);
      scenario.pass(PERIOD.minusMinutes(13));
      get(scenario.session().encrypt(utf8("payload")));
      scenario.pass(Duration.ofMinutes(13));
      scenario.calls.take();

      // The intermediate key was read 13 minutes ago, its system key 60.
      DataRowRecord fresh = get(scenario.session().encrypt(utf8("new")));

      assertThat(scenario.calls.take()).startsWith("loadLatest(IK)", "load(SK)");
      assertThat(keyOf(fresh)).isEqualTo(MINUTE.plus(PERIOD));
    }
  }

  @Test
  void expiredKeys_areReplaced_andStillOpenTheirRecords() {
    try (Scenario scenario = new Scenario()) {
      DataRowRecord old = get(scenario.session().encrypt(utf8("old")));
      // Expired is what is older than 90 days, counted from the rounded creation time.
      scenario.pass(Duration.ofDays(90).minusSeconds(20));
      assertThat(keyOf(get(scenario.session().encrypt(utf8("payload"))))).isEqualTo(MINUTE);
      scenario.pass(Duration.ofMillis(1));

      DataRowRecord fresh = get(scenario.session().encrypt(utf8("new")));

      assertThat(keyOf(fresh)).isEqualTo(MINUTE.plus(Duration.ofDays(90)));
      assertThat(get(scenario.session().decrypt(old))).isEqualTo(utf8("old"));
    }
  }

  @Test
  void keyRevokedInTheMinuteItWasMade_isReplacedAtOnce() {
    CryptoPolicy policy = CryptoPolicy.builder().revokeCheckPeriod(Duration.ofSeconds(1)).build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "")) {
      get(scenario.session().encrypt(utf8("old")));
      scenario.revoke("_IK_partition_service_product", MINUTE);
      scenario.pass(Duration.ofSeconds(1));

      DataRowRecord fresh = get(scenario.session().encrypt(utf8("new")));

      assertThat(keyOf(fresh)).isEqualTo(Scenario.START.plusSeconds(1));
      assertThat(get(scenario.session().decrypt(fresh))).isEqualTo(utf8("new"));
    }
  }

  @Test
  void systemKeyRevokedInTheMinuteItWasMade_isReplacedAtOnce() {
    CryptoPolicy policy = CryptoPolicy.builder().revokeCheckPeriod(Duration.ofSeconds(1)).build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "")) {
      get(scenario.session().encrypt(utf8("old")));
      scenario.revoke("_SK_service_product", MINUTE);
      scenario.pass(Duration.ofSeconds(1));

      DataRowRecord fresh = get(scenario.session().encrypt(utf8("new")));

      assertThat(get(scenario.session().decrypt(fresh))).isEqualTo(utf8("new"));
      EnvelopeKeyRecord key =
          get(scenario.store.load("_IK_partition_service_product", keyOf(fresh)));
      assertThat(key.parentKeyMeta().orElseThrow().created())
          .isEqualTo(Scenario.START.plusSeconds(1));
    }
  }

  @Test
  void lostRace_usesTheKeysOfTheWinner() {
    InMemoryMetastore shared = new InMemoryMetastore();
    try (Scenario winner = new Scenario(shared, CryptoPolicy.defaults(), "");
        Scenario loser = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = get(winner.session().encrypt(utf8("winner")));
      hideOnce(loser, "loadLatest(IK)");
      hideOnce(loser, "loadLatest(SK)");

      DataRowRecord other = get(loser.session().encrypt(utf8("loser")));

      assertThat(loser.calls.take())
          .containsExactly(
              "loadLatest(IK)",
              "loadLatest(SK)",
              "encryptKey",
              "store(SK)",
              "loadLatest(SK)",
              "decryptKey",
              "store(IK)",
              "loadLatest(IK)");
      assertThat(get(winner.session().decrypt(other))).isEqualTo(utf8("loser"));
      assertThat(get(loser.session().decrypt(record))).isEqualTo(utf8("winner"));
      assertThat(loser.secrets.stats().liveSecrets()).isEqualTo(2);
    }
  }

  private static void hideOnce(Scenario scenario, String call) {
    AtomicInteger count = new AtomicInteger();
    scenario.calls.change(call, answer -> count.getAndIncrement() == 0 ? Mono.empty() : answer);
  }

  @Test
  void metastoreThatNeitherStoresNorFinds_isAnError_notALoop() {
    try (Scenario scenario = new Scenario()) {
      scenario.calls.change("store(SK)", answer -> Mono.just(false));

      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyErrorSatisfies(
              e -> {
                assertThat(e).isInstanceOf(AppEncryptionException.class);
                assertThat(((AppEncryptionException) e).isRetryable()).isTrue();
              });
      assertThat(scenario.calls.count("store(SK)")).isEqualTo(2);
      Await.until(() -> scenario.secrets.stats().liveSecrets() == 0);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"loadLatest(IK)", "loadLatest(SK)", "store(SK)", "store(IK)"})
  void metastoreOutage_isAnError_andMakesNoKey_andIsForgotten(String call) {
    try (Scenario scenario = new Scenario()) {
      scenario.calls.fail(call, new IllegalStateException("connection refused"));

      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyErrorSatisfies(
              e ->
                  assertThat(e)
                      .isInstanceOf(MetastoreException.class)
                      .hasRootCauseMessage("connection refused"));
      assertThat(scenario.calls.take()).endsWith(call);

      scenario.calls.answerAsBefore();
      assertThat(get(scenario.session().encrypt(utf8("payload")))).isNotNull();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"load(IK)", "load(SK)"})
  void metastoreOutage_whileReading_isNotMissingMetadata(String call) {
    InMemoryMetastore shared = new InMemoryMetastore();
    try (Scenario writer = new Scenario(shared, CryptoPolicy.defaults(), "");
        Scenario reader = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = get(writer.session().encrypt(utf8("payload")));
      MetastoreException outage = new MetastoreException("down", null, true);
      reader.calls.fail(call, outage);

      StepVerifier.create(reader.session().decrypt(record))
          .verifyErrorSatisfies(e -> assertThat(e).isSameAs(outage));

      reader.calls.change(call, answer -> Mono.empty());
      StepVerifier.create(reader.session().decrypt(record))
          .verifyErrorSatisfies(
              e -> {
                assertThat(e).isInstanceOf(MetadataMissingException.class);
                assertThat(e.getMessage()).doesNotContain("partition_");
              });

      reader.calls.answerAsBefore();
      assertThat(get(reader.session().decrypt(record))).isEqualTo(utf8("payload"));
    }
  }

  @Test
  void kmsFailure_isAnError_andIsForgotten() {
    InMemoryMetastore shared = new InMemoryMetastore();
    try (Scenario writer = new Scenario(shared, CryptoPolicy.defaults(), "");
        Scenario reader = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      writer.calls.fail("encryptKey", new IllegalStateException("no route"));
      StepVerifier.create(writer.session().encrypt(utf8("payload")))
          .verifyErrorSatisfies(
              e -> {
                assertThat(e).isInstanceOf(KmsException.class).hasRootCauseMessage("no route");
                assertThat(((KmsException) e).kind()).isEqualTo(KmsException.Kind.OTHER);
              });
      assertThat(writer.calls.count("store(SK)")).isZero();
      Await.until(() -> writer.secrets.stats().liveSecrets() == 0);
      writer.calls.answerAsBefore();
      DataRowRecord record = get(writer.session().encrypt(utf8("payload")));

      KmsException throttled = new KmsException(KmsException.Kind.THROTTLED, "slow down", null);
      reader.calls.fail("decryptKey", throttled);
      StepVerifier.create(reader.session().decrypt(record))
          .verifyErrorSatisfies(e -> assertThat(e).isSameAs(throttled));
      assertThat(throttled.isRetryable()).isTrue();
      reader.calls.answerAsBefore();
      assertThat(get(reader.session().decrypt(record))).isEqualTo(utf8("payload"));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"store(SK)", "store(IK)", "encryptKey"})
  void emptyAnswer_whereOneIsOwed_isAnError(String call) {
    try (Scenario scenario = new Scenario()) {
      scenario.calls.change(call, answer -> Mono.empty());

      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyErrorSatisfies(
              e -> assertThat(e).isInstanceOfAny(MetastoreException.class, KmsException.class));
    }
  }

  @Test
  void keyRecordSealedUnderAnotherKey_isInvalid() {
    InMemoryMetastore shared = new InMemoryMetastore();
    try (Scenario writer = new Scenario(shared, CryptoPolicy.defaults(), "");
        Scenario reader = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = get(writer.session().encrypt(utf8("payload")));
      reader.calls.change(
          "load(IK)",
          answer ->
              answer.map(
                  found -> {
                    EnvelopeKeyRecord key = (EnvelopeKeyRecord) found;
                    byte[] encrypted = key.encryptedKey();
                    encrypted[3]++;
                    return new EnvelopeKeyRecord(
                        key.created(), encrypted, key.parentKeyMeta().orElse(null), false);
                  }));

      StepVerifier.create(reader.session().decrypt(record))
          .verifyErrorMessage(
              "the intermediate key created at 2026-03-12T12:58:00Z was sealed under another key"
                  + " or tampered with");
      assertThat(reader.factory.stats().cachedIntermediateKeys()).isZero();
    }
  }

  @Test
  void intermediateKeyRecordWithoutParent_isNotUsedForNewData_andMissesMetadataForOld() {
    InMemoryMetastore shared = new InMemoryMetastore();
    shared
        .store(
            "_IK_partition_service_product",
            MINUTE,
            new EnvelopeKeyRecord(MINUTE, new byte[60], null, false))
        .block();
    try (Scenario scenario = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));
      assertThat(keyOf(record)).isEqualTo(Scenario.START);
      DataRowRecord old =
          new DataRowRecord(
              new EnvelopeKeyRecord(
                  Scenario.START,
                  new byte[60],
                  new KeyMeta("_IK_partition_service_product", MINUTE),
                  false),
              new byte[28]);
      StepVerifier.create(scenario.session().decrypt(old))
          .verifyError(MetadataMissingException.class);
    }
  }

  @Test
  void wrongMasterKey_isInvalidCiphertext() {
    InMemoryMetastore shared = new InMemoryMetastore();
    SessionFactory other =
        SessionFactory.builder("product", "service")
            .metastore(shared)
            .keyManagementService(StaticKeyManagementService.of(new byte[32]))
            .clock(Clock.fixed(Scenario.START, ZoneOffset.UTC))
            .build();
    try (Scenario scenario = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));

      StepVerifier.create(other.session("partition").decrypt(record))
          .verifyErrorSatisfies(
              e ->
                  assertThat(((KmsException) e).kind())
                      .isEqualTo(KmsException.Kind.INVALID_CIPHERTEXT));
      StepVerifier.create(other.session("partition").encrypt(utf8("payload")))
          .verifyError(KmsException.class);
    }
    other.close().block(Await.TIMEOUT);
  }

  @Test
  void cancelledSubscribers_doNotCancelTheLoad() {
    try (Scenario scenario = new Scenario()) {
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("loadLatest(IK)", answer -> gate.asMono().then(answer));
      Disposable first = scenario.session().encrypt(utf8("1")).subscribe();
      CompletableFuture<DataRowRecord> second = scenario.session().encrypt(utf8("2")).toFuture();
      Disposable third = scenario.session().encrypt(utf8("3")).subscribe();
      Await.until(() -> scenario.calls.count("loadLatest(IK)") == 1);

      first.dispose();
      third.dispose();
      gate.tryEmitEmpty();

      assertThat(second.orTimeout(30, TimeUnit.SECONDS).join()).isNotNull();
      assertThat(scenario.calls.count("loadLatest(IK)")).isOne();
    }
  }

  @Test
  void allCancelled_theLoadStillEnds_andIsCached() {
    try (Scenario scenario = new Scenario()) {
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("loadLatest(IK)", answer -> gate.asMono().then(answer));
      Disposable only = scenario.session().encrypt(utf8("1")).subscribe();
      Await.until(() -> scenario.calls.count("loadLatest(IK)") == 1);

      only.dispose();
      gate.tryEmitEmpty();

      Await.until(() -> scenario.factory.stats().cachedIntermediateKeys() == 1);
      get(scenario.session().encrypt(utf8("2")));
      assertThat(scenario.calls.count("loadLatest(IK)")).isOne();
    }
  }

  @Test
  void forget_wipesTheKeysOfThePartition_andOfNoOther() {
    try (Scenario scenario = new Scenario()) {
      DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));
      get(scenario.factory.session("other").encrypt(utf8("payload")));
      assertThat(scenario.secrets.stats().liveSecrets()).isEqualTo(3);
      scenario.calls.take();

      scenario.session().forget().block(Await.TIMEOUT);

      assertThat(scenario.secrets.stats().liveSecrets()).isEqualTo(2);
      assertThat(get(scenario.session().decrypt(record))).isEqualTo(utf8("payload"));
      assertThat(scenario.calls.take()).containsExactly("load(IK)");
      get(scenario.factory.session("other").encrypt(utf8("payload")));
      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void loadInFlightAtForget_isNotCached_andItsSubscriberIsServedByANewOne() {
    try (Scenario scenario = new Scenario()) {
      get(scenario.session().encrypt(utf8("payload")));
      scenario.session().forget().block(Await.TIMEOUT);
      scenario.calls.take();
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("loadLatest(IK)", answer -> gate.asMono().then(answer));
      CompletableFuture<DataRowRecord> waiting =
          scenario.session().encrypt(utf8("payload")).toFuture();
      Await.until(() -> scenario.calls.count("loadLatest(IK)") == 1);

      scenario.session().forget().block(Await.TIMEOUT);
      gate.tryEmitEmpty();

      assertThat(waiting.orTimeout(30, TimeUnit.SECONDS).join()).isNotNull();
      assertThat(scenario.calls.count("loadLatest(IK)")).isEqualTo(2);
      assertThat(scenario.secrets.stats().liveSecrets()).isEqualTo(2);
    }
  }

  @Test
  void morePartitionsAtWorkThanTheCacheHolds_allSucceed_andTheBoundHolds() {
    CryptoPolicy policy = CryptoPolicy.builder().maxCachedIntermediateKeys(1).build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "")) {
      Flux.range(0, 2_000)
          .flatMap(
              i -> {
                Session session = scenario.factory.session("partition" + i % 50);
                byte[] payload = utf8("payload" + i);
                return session
                    .encryptToJson(payload)
                    .flatMap(session::decryptJson)
                    .doOnNext(opened -> assertThat(opened).isEqualTo(payload));
              },
              64)
          .then()
          .block(Await.TIMEOUT);

      assertThat(scenario.factory.stats().cachedIntermediateKeys()).isLessThanOrEqualTo(1);
      Await.until(() -> scenario.secrets.stats().liveSecrets() <= 2);
    }
  }

  @Test
  void idlePartition_isWiped() {
    CryptoPolicy policy = CryptoPolicy.builder().partitionIdleTime(Duration.ofMinutes(5)).build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "")) {
      get(scenario.factory.session("idle").encrypt(utf8("payload")));
      scenario.pass(Duration.ofMinutes(4));
      get(scenario.factory.session("busy").encrypt(utf8("payload")));
      assertThat(scenario.secrets.stats().liveSecrets()).isEqualTo(3);

      scenario.pass(Duration.ofMinutes(1));
      // Caffeine notices with the next change of the cache.
      get(scenario.factory.session("next").encrypt(utf8("payload")));

      Await.until(() -> scenario.factory.stats().cachedIntermediateKeys() == 2);
      Await.until(() -> scenario.secrets.stats().liveSecrets() == 3);
    }
  }

  @Test
  void memoryThatWasOverwritten_losesItsKeys_andTheyAreLoadedAgain() {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.factory.session("p");
      DataRowRecord record = get(session.encrypt(utf8("payload")));
      scenario.calls.take();
      Secret another = get(scenario.secrets.create(new byte[] {1}));
      scenario.overwriteTheEndOfTheLastRegion();

      // Found when a slot of that region is wiped.
      another.close();
      Await.until(() -> scenario.secrets.stats().corruptedRegions() == 1);

      assertThat(get(session.decrypt(record))).isEqualTo(utf8("payload"));
      DataRowRecord later = get(session.encrypt(utf8("later")));
      assertThat(get(session.decrypt(later))).isEqualTo(utf8("later"));
      assertThat(scenario.calls.take()).contains("load(IK)", "decryptKey");
    }
  }

  @Test
  void closedSecretFactory_isATypedError() {
    Scenario scenario = new Scenario();
    get(scenario.session().encrypt(utf8("payload")));
    scenario.secrets.close().block(Await.TIMEOUT);
    scenario.calls.take();

    StepVerifier.create(scenario.session().encrypt(utf8("payload")))
        .verifyErrorSatisfies(
            e -> {
              assertThat(e)
                  .isInstanceOf(KeyClosedException.class)
                  .hasMessageContaining("SecretFactory was closed");
              // Or a program that retries what is retryable would never end.
              assertThat(((AppEncryptionException) e).isRetryable()).isFalse();
            });
    // No key is fetched that there is no memory for.
    assertThat(scenario.calls.take()).isEmpty();
    StepVerifier.create(scenario.session().forget()).verifyComplete();
    scenario.factory.close().block(Await.TIMEOUT);
  }

  @Test
  void fatalErrorOfADriver_isAnError_andIsForgotten() {
    try (Scenario scenario = new Scenario()) {
      scenario.calls.throwFrom("loadLatest(SK)", new NoClassDefFoundError("driver/Missing"));
      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyErrorSatisfies(
              e ->
                  assertThat(e)
                      .isInstanceOf(MetastoreException.class)
                      .hasRootCauseInstanceOf(NoClassDefFoundError.class));

      scenario.calls.answerAsBefore();
      assertThat(get(scenario.session().encrypt(utf8("payload")))).isNotNull();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "loadLatest(IK)",
        "loadLatest(SK)",
        "encryptKey",
        "store(SK)",
        "store(IK)",
        "load(IK)",
        "load(SK)",
        "decryptKey"
      })
  void callThatIsNeverAnswered_isAnErrorAfterTheTimeout_andTheNextOperationLoadsAnew(String call) {
    InMemoryMetastore store = new InMemoryMetastore();
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      boolean whileWriting = !call.startsWith("load(") && !call.equals("decryptKey");
      DataRowRecord record = whileWriting ? null : get(scenario.session().encrypt(utf8("payload")));
      SteadyTimeScheduler time = new SteadyTimeScheduler();
      SessionFactory factory =
          SessionFactory.builder("product", "service")
              .metastore(scenario.recording(store, ""))
              .keyManagementService(
                  scenario.recording(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY)))
              .clock(Clock.fixed(Scenario.START, ZoneOffset.UTC))
              .timerScheduler(time)
              .loadTimeout(Duration.ofSeconds(2))
              .build();
      AtomicInteger calls = new AtomicInteger();
      scenario.calls.change(call, answer -> calls.getAndIncrement() == 0 ? Mono.never() : answer);
      Session session = factory.session("partition");
      Mono<?> operation =
          record == null ? session.encrypt(utf8("payload")) : session.decrypt(record);

      StepVerifier.create(operation)
          .then(() -> Await.until(() -> calls.get() == 1))
          .then(() -> time.advanceTimeBy(Duration.ofSeconds(2).minusNanos(1)))
          .verifyErrorSatisfies(
              e -> {
                assertThat(e)
                    .hasMessageStartingWith("a key could not be loaded within PT1.")
                    .hasMessageEndingWith("metastore or key management service do not answer");
                assertThat(((AppEncryptionException) e).isRetryable()).isTrue();
              });
      StepVerifier.create(operation).expectNextCount(1).verifyComplete();
      factory.close().block(Await.TIMEOUT);
      assertThat(factory.stats().memory().lockedBytes()).isZero();
    }
  }

  @Test
  void readThatWasAnsweredTooLate_isNotTrusted() {
    try (Scenario scenario = new Scenario()) {
      get(scenario.session().encrypt(utf8("payload")));
      scenario.pass(PERIOD);
      scenario.calls.take();
      AtomicInteger answers = new AtomicInteger();
      scenario.calls.change(
          "loadLatest(IK)",
          answer ->
              answer.doOnNext(
                  record -> {
                    if (answers.getAndIncrement() == 0) {
                      scenario.pass(PERIOD);
                    }
                  }));

      get(scenario.session().encrypt(utf8("payload")));

      assertThat(scenario.calls.count("loadLatest(IK)")).isEqualTo(2);
    }
  }

  @Test
  void loads_seeNothingOfTheCallersContext() {
    try (Scenario scenario = new Scenario()) {
      AtomicInteger seen = new AtomicInteger();
      scenario.calls.change(
          "store(IK)",
          answer ->
              Mono.deferContextual(
                  context -> {
                    seen.set(context.size());
                    return answer;
                  }));
      get(
          scenario
              .session()
              .encrypt(utf8("payload"))
              .contextWrite(context -> context.put("transaction", "open")));

      assertThat(scenario.calls.count("store(IK)")).isOne();
      assertThat(seen.get()).isZero();
    }
  }

  @Test
  void loads_seeNothingOfTheCallersContext_alsoWhereKeysAreUsedOnce() {
    CryptoPolicy policy = CryptoPolicy.builder().maxCachedIntermediateKeys(1).build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "")) {
      AtomicInteger seen = new AtomicInteger();
      for (String call : new String[] {"loadLatest(IK)", "store(IK)", "load(IK)"}) {
        scenario.calls.change(
            call,
            answer ->
                Mono.deferContextual(
                    context -> {
                      seen.addAndGet(context.size());
                      return answer;
                    }));
      }
      Flux.range(0, 500)
          .flatMap(
              i -> {
                Session session = scenario.factory.session("partition" + i % 50);
                return session.encryptToJson(utf8("payload")).flatMap(session::decryptJson);
              },
              64)
          .contextWrite(context -> context.put("transaction", "open"))
          .then()
          .block(Await.TIMEOUT);

      assertThat(seen.get()).isZero();
    }
  }

  @Test
  void answersThatTakeLongerThanThePeriod_areNeverTrusted_butAnError() {
    CryptoPolicy cached = CryptoPolicy.builder().revokeCheckPeriod(Duration.ofSeconds(1)).build();
    CryptoPolicy uncached =
        CryptoPolicy.builder()
            .revokeCheckPeriod(Duration.ofSeconds(1))
            .cacheIntermediateKeys(false)
            .build();
    for (CryptoPolicy policy : List.of(cached, uncached)) {
      InMemoryMetastore store = new InMemoryMetastore();
      try (Scenario scenario = new Scenario(store, policy, "")) {
        get(scenario.session().encrypt(utf8("payload")));
        scenario.pass(Duration.ofSeconds(1));
        scenario.calls.change(
            "loadLatest(IK)", answer -> answer.doOnNext(r -> scenario.pass(Duration.ofSeconds(2))));

        StepVerifier.create(scenario.session().encrypt(utf8("payload")))
            .verifyErrorSatisfies(
                e -> {
                  assertThat(e).hasMessageContaining("more slowly than revokeCheckPeriod");
                  assertThat(((AppEncryptionException) e).isRetryable()).isTrue();
                });
      }
    }
  }

  @Test
  void moreSystemKeysThanAreCached_wipeTheOldestOnly_andAllRecordsOpen() {
    CryptoPolicy policy =
        CryptoPolicy.builder()
            .keyExpiry(Duration.ofSeconds(1))
            .createdPrecision(Duration.ofSeconds(1))
            .build();
    InMemoryMetastore store = new InMemoryMetastore();
    List<DataRowRecord> records = new ArrayList<>();
    try (Scenario writer = new Scenario(store, policy, "")) {
      for (int i = 0; i < 130; i++) {
        records.add(get(writer.session().encrypt(utf8("payload"))));
        writer.pass(Duration.ofSeconds(3));
      }
      assertThat(writer.factory.stats().cachedSystemKeys()).isEqualTo(100);
      // The latest one is still there.
      writer.calls.take();
      get(writer.factory.session("other").decrypt(records.get(0)).onErrorReturn(new byte[0]));
      get(writer.session().decrypt(records.get(129)));
      assertThat(writer.calls.take()).isEmpty();
    }
    try (Scenario reader = new Scenario(store, policy, "")) {
      for (int round = 0; round < 2; round++) {
        for (DataRowRecord record : records) {
          assertThat(get(reader.session().decrypt(record))).isEqualTo(utf8("payload"));
        }
      }
      assertThat(reader.factory.stats().cachedSystemKeys()).isEqualTo(100);
    }
  }

  @Test
  void revokedKeyThatIsDatedInTheFuture_letsManyProcessesAgreeOnOneKey() {
    InMemoryMetastore store = new InMemoryMetastore();
    Instant future = MINUTE.plus(Duration.ofDays(365));
    String id = "_IK_partition_service_product";
    List<Scenario> processes = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      processes.add(new Scenario(store, CryptoPolicy.defaults(), ""));
    }
    DataRowRecord first = get(processes.get(0).session().encrypt(utf8("payload")));
    EnvelopeKeyRecord key = get(store.load(id, keyOf(first)));
    get(
        store.store(
            id,
            future,
            new EnvelopeKeyRecord(
                future, key.encryptedKey(), key.parentKeyMeta().orElse(null), true)));

    for (Scenario process : processes) {
      process.pass(Duration.ofHours(1));
      assertThat(keyOf(get(process.session().encrypt(utf8("payload")))))
          .isEqualTo(MINUTE.plusSeconds(3_600));
    }
    processes.forEach(Scenario::close);
  }

  @Test
  void keyThatWasMadeAgainUnderTheSameName_takesThePlaceOfTheCachedOne() {
    CryptoPolicy policy = CryptoPolicy.builder().createdPrecision(Duration.ofDays(1)).build();
    InMemoryMetastore store = new InMemoryMetastore();
    String id = "_IK_partition_service_product";
    try (Scenario one = new Scenario(store, policy, "");
        Scenario other = new Scenario(store, policy, "")) {
      get(one.session().encrypt(utf8("payload")));
      get(store.delete(KeySelector.id(id)));
      DataRowRecord fromOther = get(other.session().encrypt(utf8("other")));
      one.pass(Duration.ofMinutes(61));
      other.pass(Duration.ofMinutes(61));

      DataRowRecord fromOne = get(one.session().encrypt(utf8("one")));

      assertThat(keyOf(fromOne)).isEqualTo(keyOf(fromOther));
      assertThat(get(other.session().decrypt(fromOne))).isEqualTo(utf8("one"));
      assertThat(get(one.session().decrypt(fromOther))).isEqualTo(utf8("other"));
      assertThat(one.factory.stats().cachedIntermediateKeys()).isOne();
    }
    try (Scenario alone = new Scenario(store, policy, "")) {
      get(alone.session().encrypt(utf8("payload")));
      get(store.delete(KeySelector.id(id)));
      alone.pass(Duration.ofMinutes(61));
      DataRowRecord record = get(alone.session().encrypt(utf8("alone")));
      try (Scenario fresh = new Scenario(store, policy, "")) {
        assertThat(get(fresh.session().decrypt(record))).isEqualTo(utf8("alone"));
      }
    }
  }

  @Test
  void encrypt_doesNotWaitForADecryptThatHangs() {
    InMemoryMetastore store = new InMemoryMetastore();
    DataRowRecord record;
    try (Scenario writer = new Scenario(store, CryptoPolicy.defaults(), "")) {
      record = get(writer.session().encrypt(utf8("payload")));
    }
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      get(scenario.factory.session("other").encrypt(utf8("payload")));
      scenario.calls.change("load(IK)", answer -> Mono.never());
      Disposable hanging = scenario.session().decrypt(record).onErrorComplete().subscribe();
      Await.until(() -> scenario.calls.count("load(IK)") == 1);

      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .expectNextCount(1)
          .expectComplete()
          .verify(Duration.ofSeconds(10));
      hanging.dispose();
    }
  }

  @Test
  void kmsThatReturnsNoKey_isAnErrorOfTheRightKind_andKeepsNothing() {
    InMemoryMetastore store = new InMemoryMetastore();
    DataRowRecord record;
    try (Scenario writer = new Scenario(store, CryptoPolicy.defaults(), "")) {
      record = get(writer.session().encrypt(utf8("payload")));
    }
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      scenario.calls.change(
          "decryptKey", answer -> answer.map(key -> CryptoKey.takeOwnershipOf(new byte[31])));
      StepVerifier.create(scenario.session().decrypt(record))
          .verifyErrorSatisfies(
              e -> assertThat(((KmsException) e).kind()).isEqualTo(KmsException.Kind.INVALID_KEY));
      scenario.calls.change(
          "decryptKey", answer -> answer.doOnNext(key -> ((CryptoKey) key).close()));
      StepVerifier.create(scenario.session().decrypt(record)).verifyError(KmsException.class);
    }
    try (Scenario scenario = new Scenario()) {
      scenario.calls.change("encryptKey", answer -> Mono.just(new byte[0]));
      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyError(KmsException.class);
      assertThat(scenario.calls.count("store(SK)")).isZero();
    }
  }

  @Test
  void keyThatTheKmsHandsOverTooLate_isWiped() {
    InMemoryMetastore store = new InMemoryMetastore();
    DataRowRecord record;
    try (Scenario writer = new Scenario(store, CryptoPolicy.defaults(), "")) {
      record = get(writer.session().encrypt(utf8("payload")));
    }
    try (Scenario scenario =
        new Scenario(
            store,
            CryptoPolicy.defaults(),
            o -> o.callTimeout(Duration.ofSeconds(3)).callAttempts(1))) {
      byte[] plaintext = new byte[32];
      Arrays.fill(plaintext, (byte) 7);
      // It has the key in time, and never ends.
      scenario.calls.change(
          "decryptKey",
          answer ->
              Mono.fromDirect(
                  Flux.concat(
                      Mono.just((Object) CryptoKey.takeOwnershipOf(plaintext)), Mono.never())));

      StepVerifier.create(scenario.session().decrypt(record))
          .verifyErrorSatisfies(
              e -> assertThat(((KmsException) e).kind()).isEqualTo(KmsException.Kind.TIMEOUT));

      Await.until(() -> plaintext[0] == 0);
      assertThat(plaintext).containsOnly(0);
      Await.until(() -> scenario.factory.stats().callsUnderWay() == 0);
      scenario.calls.answerAsBefore();
      assertThat(get(scenario.session().decrypt(record))).isEqualTo(utf8("payload"));
    }
  }

  /** An operator of the service's own gets the key after the call was given up, and discards it. */
  @Test
  void keyThatTheKmsDiscards_isWiped() {
    InMemoryMetastore store = new InMemoryMetastore();
    DataRowRecord record;
    try (Scenario writer = new Scenario(store, CryptoPolicy.defaults(), "")) {
      record = get(writer.session().encrypt(utf8("payload")));
    }
    try (Scenario scenario =
        new Scenario(
            store,
            CryptoPolicy.defaults(),
            o -> o.callTimeout(Duration.ofSeconds(3)).callAttempts(1))) {
      byte[] plaintext = new byte[32];
      Arrays.fill(plaintext, (byte) 7);
      AtomicBoolean isGivenUp = new AtomicBoolean();
      scenario.calls.change(
          "decryptKey",
          answer ->
              Mono.empty()
                  .then(
                      Mono.<Object>fromSupplier(
                          () -> {
                            Await.until(isGivenUp::get);
                            return CryptoKey.takeOwnershipOf(plaintext);
                          }))
                  .subscribeOn(Schedulers.boundedElastic()));

      StepVerifier.create(scenario.session().decrypt(record))
          .verifyErrorSatisfies(
              e -> assertThat(((KmsException) e).kind()).isEqualTo(KmsException.Kind.TIMEOUT));
      isGivenUp.set(true);

      Await.until(() -> plaintext[31] == 0);
      assertThat(plaintext).containsOnly(0);
    }
  }

  @Test
  void close_wipesPartitionsWhoseTimeIsOver() {
    Scenario scenario = new Scenario();
    for (int i = 0; i < 50; i++) {
      get(scenario.factory.session("partition" + i).encrypt(utf8("payload")));
    }
    scenario.pass(Duration.ofHours(3));

    scenario.factory.close().block(Await.TIMEOUT);

    Await.until(() -> scenario.secrets.stats().liveSecrets() == 0);
    scenario.close();
  }
}
