package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KeyEvent.Type;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

/** Keys that expired or were used up, and what takes their place. */
class RotationTest {
  private static final Instant MINUTE = Instant.parse("2026-03-12T12:58:00Z");
  private static final String INTERMEDIATE = "_IK_partition_service_product";
  private static final Duration EXPIRY = Duration.ofDays(90);

  private final InMemoryMetastore store = new InMemoryMetastore();

  private static CryptoPolicy queued() {
    return CryptoPolicy.builder()
        .keyRotation(KeyRotation.QUEUED)
        .revokeCheckPeriod(Duration.ofDays(120))
        .partitionIdleTime(Duration.ofDays(200))
        .build();
  }

  private static Instant keyOf(DataRowRecord record) {
    return record.key().parentKeyMeta().orElseThrow().created();
  }

  private static DataRowRecord encrypt(Scenario scenario) {
    return get(scenario.session().encrypt(utf8("payload")));
  }

  // QUEUED.

  @Test
  void queued_usesTheExpiredKeyOn_andRotatesOnceInTheBackground() {
    try (Scenario scenario = Scenario.patient(store, queued())) {
      Queue<KeyEvent> events = new ConcurrentLinkedQueue<>();
      Disposable subscription = scenario.factory.keyEvents().subscribe(events::add);
      encrypt(scenario);
      scenario.pass(EXPIRY);
      scenario.calls.take();
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("store(IK)", answer -> gate.asMono().then(answer));

      for (int i = 0; i < 1_000; i++) {
        assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE);
      }
      Await.until(() -> scenario.calls.count("store(IK)") == 1);
      gate.tryEmitEmpty();
      Await.until(() -> scenario.factory.stats().loads() == 0);

      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE.plus(EXPIRY));
      assertThat(scenario.calls.take())
          .containsExactly(
              "loadLatest(IK)", "loadLatest(SK)", "encryptKey", "store(SK)", "store(IK)");
      Await.until(() -> events.size() == 5);
      assertThat(events.stream().map(KeyEvent::type))
          .containsExactlyInAnyOrder(
              Type.CREATED, Type.CREATED, Type.ROTATION_QUEUED, Type.ROTATED, Type.ROTATED);
      subscription.dispose();
    }
  }

  @Test
  void queued_usesAnExpiredKeyThatIsNotCached_withoutMakingOne_andThenRotates() {
    try (Scenario writer = new Scenario(store, queued(), "")) {
      encrypt(writer);
    }
    try (Scenario scenario = new Scenario(store, queued(), "")) {
      scenario.pass(EXPIRY);
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("loadLatest(SK)", answer -> gate.asMono().then(answer));

      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE);
      gate.tryEmitEmpty();

      Await.until(() -> keyOf(encrypt(scenario)).equals(MINUTE.plus(EXPIRY)));
      assertThat(scenario.calls.count("store(IK)")).isOne();
      assertThat(scenario.calls.count("store(SK)")).isOne();
    }
  }

  @Test
  void queued_whileRotationFails_theKeyIsUsed_andTheNextAttemptWaits() {
    try (Scenario scenario = new Scenario(store, queued(), "")) {
      encrypt(scenario);
      scenario.pass(EXPIRY);
      scenario.calls.take();
      scenario.calls.fail(
          "encryptKey", new KmsException(KmsException.Kind.ACCESS_DENIED, "no", null));

      for (int i = 0; i < 1_000; i++) {
        assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE);
      }
      Await.until(() -> scenario.calls.count("encryptKey") == 1);
      Await.until(() -> scenario.factory.stats().loads() == 0);
      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE);
      assertThat(scenario.calls.count("encryptKey")).isOne();

      scenario.calls.answerAsBefore();
      scenario.pass(Duration.ofSeconds(2));
      encrypt(scenario);
      Await.until(() -> keyOf(encrypt(scenario)).isAfter(MINUTE));
    }
  }

  @Test
  void queued_neverUsesARevokedKey() {
    try (Scenario writer = new Scenario(store, queued(), "")) {
      encrypt(writer);
    }
    get(store.revoke(KeySelector.id(INTERMEDIATE)));
    try (Scenario scenario = new Scenario(store, queued(), "")) {
      scenario.pass(EXPIRY);
      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE.plus(EXPIRY));
    }
  }

  @Test
  void queued_newPartitionUnderAnExpiredSystemKey_isSealedNow_andRotatedAfterwards() {
    try (Scenario scenario = new Scenario(store, queued(), "")) {
      encrypt(scenario);
      scenario.pass(EXPIRY);
      Session other = scenario.factory.session("other");
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("encryptKey", answer -> gate.asMono().then(answer));

      get(other.encrypt(utf8("payload")));
      assertThat(systemKeyOf("_IK_other_service_product")).isEqualTo(MINUTE);
      gate.tryEmitEmpty();

      Await.until(
          () -> {
            get(other.encrypt(utf8("payload")));
            return systemKeyOf("_IK_other_service_product").isAfter(MINUTE);
          });
    }
  }

  private Instant systemKeyOf(String id) {
    return get(store.loadLatest(id)).parentKeyMeta().orElseThrow().created();
  }

  // Keys that are used up.

  @ParameterizedTest
  @ValueSource(ints = {1, 8})
  void usedUpKey_isReplaced_afterAtMostOneMoreUseOfEachThread(int threads) {
    int most = 1_000;
    CryptoPolicy policy = CryptoPolicy.builder().maxUsesPerKey(most).build();
    Scheduler scheduler = Schedulers.newParallel("using", threads);
    // Time stands still: the keys are made in the same second.
    try (Scenario scenario = new Scenario(store, policy, "")) {
      List<DataRowRecord> records =
          get(
              Flux.range(0, 10_000)
                  .parallel(threads)
                  .runOn(scheduler)
                  .flatMap(i -> scenario.session().encrypt(utf8("payload")), false, 1)
                  .sequential()
                  .collectList());

      Map<Instant, Long> uses =
          records.stream()
              .collect(Collectors.groupingBy(RotationTest::keyOf, Collectors.counting()));
      assertThat(uses.values())
          .allSatisfy(count -> assertThat(count).isBetween(1L, most + (long) threads));
      assertThat(uses.size()).isBetween(10_000 / (most + threads), 10_000 / most + 1);
      assertThat(scenario.calls.count("store(SK)")).isOne();
      Flux.fromIterable(records)
          .concatMap(record -> scenario.session().decrypt(record))
          .then()
          .block(Await.TIMEOUT);
    }
    scheduler.dispose();
  }

  @Test
  void usedUpKey_whileManyWait_isReplacedForEachOfThem() {
    CryptoPolicy policy = CryptoPolicy.builder().maxUsesPerKey(100).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      List<DataRowRecord> records =
          get(
              Flux.range(0, 1_000)
                  .flatMap(i -> scenario.session().encrypt(utf8("payload")), 1_000)
                  .collectList());

      assertThat(
              records.stream()
                  .collect(Collectors.groupingBy(RotationTest::keyOf, Collectors.counting()))
                  .values())
          .allSatisfy(count -> assertThat(count).isLessThanOrEqualTo(110));
    }
  }

  @Test
  void usedUpKey_alsoWhereRotationIsQueued_isNotUsedOn() {
    CryptoPolicy policy =
        CryptoPolicy.builder().maxUsesPerKey(1).keyRotation(KeyRotation.QUEUED).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      assertThat(keyOf(encrypt(scenario))).isNotEqualTo(keyOf(encrypt(scenario)));
    }
  }

  // Creation times.

  /** Revokes a key, and puts another version of it beside it that is revoked too. */
  private void revokeWithOneOf(Instant created, Instant present) {
    EnvelopeKeyRecord key = get(store.load(INTERMEDIATE, present));
    get(
        store.store(
            INTERMEDIATE,
            created,
            new EnvelopeKeyRecord(
                created, key.encryptedKey(), key.parentKeyMeta().orElse(null), true)));
    get(store.revoke(KeySelector.id(INTERMEDIATE)));
  }

  @Test
  void keyThatIsDatedInTheFuture_andRevoked_doesNotStopTheService() {
    Instant future = MINUTE.plus(Duration.ofDays(365));
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      revokeWithOneOf(future, keyOf(encrypt(scenario)));
      scenario.pass(Duration.ofHours(1));

      DataRowRecord record = encrypt(scenario);

      assertThat(keyOf(record)).isEqualTo(MINUTE.plusSeconds(3_600));
      assertThat(get(scenario.session().decrypt(record))).isEqualTo(utf8("payload"));
    }
  }

  @Test
  void keyThatIsDatedALittleAhead_andRevoked_isFollowedByOneThatSortsAfterIt() {
    // The clock of whoever made it was 30 seconds fast.
    Instant ahead = Scenario.START.plusSeconds(3_630);
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      revokeWithOneOf(ahead, keyOf(encrypt(scenario)));
      scenario.pass(Duration.ofHours(1));

      assertThat(keyOf(encrypt(scenario))).isEqualTo(ahead.plusSeconds(1));
    }
  }

  @Test
  void precision_datesKeys() {
    CryptoPolicy policy = CryptoPolicy.builder().createdPrecision(Duration.ofHours(1)).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      assertThat(keyOf(encrypt(scenario))).isEqualTo(Instant.parse("2026-03-12T12:00:00Z"));
    }
  }

  @Test
  void shortestExpiry_worksAndRotates() {
    CryptoPolicy policy =
        CryptoPolicy.builder()
            .keyExpiry(Duration.ofSeconds(1))
            .createdPrecision(Duration.ofSeconds(1))
            .build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      Instant first = keyOf(encrypt(scenario));
      scenario.pass(Duration.ofSeconds(3));
      assertThat(keyOf(encrypt(scenario))).isEqualTo(first.plusSeconds(3));
    }
  }

  // Caching switched off.

  @Test
  void withoutSystemKeyCache_everyLoadAsksTheKms_andNoSystemKeyStays() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheSystemKeys(false).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      encrypt(scenario);
      scenario.calls.take();
      Await.until(() -> scenario.secrets.stats().liveSecrets() == 1);
      assertThat(scenario.factory.stats().cachedSystemKeys()).isZero();

      encrypt(scenario);
      assertThat(scenario.calls.take()).isEmpty();

      get(scenario.factory.session("other").encrypt(utf8("payload")));
      // To wrap the new key, and to open it.
      assertThat(scenario.calls.take())
          .containsExactly(
              "loadLatest(IK)", "loadLatest(SK)", "decryptKey", "store(IK)", "decryptKey");

      scenario.pass(Duration.ofMinutes(60));
      encrypt(scenario);
      assertThat(scenario.calls.take()).containsExactly("loadLatest(IK)", "load(SK)");
      Await.until(() -> scenario.secrets.stats().liveSecrets() == 2);
    }
  }

  @Test
  void withoutIntermediateKeyCache_everyOperationReadsTheRecord_andNoIntermediateKeyStays() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheIntermediateKeys(false).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      DataRowRecord record = encrypt(scenario);
      scenario.calls.take();

      encrypt(scenario);
      assertThat(scenario.calls.take()).containsExactly("loadLatest(IK)");
      get(scenario.session().decrypt(record));
      assertThat(scenario.calls.take()).containsExactly("load(IK)");
      assertThat(scenario.factory.stats().cachedIntermediateKeys()).isZero();
      assertThat(scenario.secrets.stats().liveSecrets()).isOne();
    }
  }

  @Test
  void withoutAnyCache_noKeyOutlivesItsOperation_andARevocationCountsAtOnce() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheNothing().build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      DataRowRecord record = encrypt(scenario);
      Await.until(() -> scenario.secrets.stats().liveSecrets() == 0);
      scenario.calls.take();

      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE);
      assertThat(scenario.calls.take()).containsExactly("loadLatest(IK)", "load(SK)", "decryptKey");
      assertThat(get(scenario.session().decrypt(record))).isEqualTo(utf8("payload"));
      assertThat(scenario.calls.take()).containsExactly("load(IK)", "load(SK)", "decryptKey");
      Await.until(() -> scenario.secrets.stats().liveSecrets() == 0);

      get(store.revoke(KeySelector.id(INTERMEDIATE)));
      assertThat(keyOf(encrypt(scenario))).isAfter(MINUTE);

      scenario.calls.fail("decryptKey", new KmsException(KmsException.Kind.OTHER, "no", null));
      StepVerifier.create(scenario.session().decrypt(record)).verifyError(KmsException.class);
      scenario.calls.change("decryptKey", answer -> Mono.never());
      Disposable cancelled = scenario.session().decrypt(record).subscribe();
      cancelled.dispose();
      Await.until(() -> scenario.secrets.stats().liveSecrets() == 0);
    }
  }

  @Test
  void withoutAnyCache_manyAtOnce_allSucceed() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheNothing().build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      Flux.range(0, 500)
          .flatMap(
              i -> {
                Session session = scenario.factory.session("partition" + i % 7);
                return session.encrypt(utf8("payload")).flatMap(session::decrypt);
              },
              500)
          .then()
          .block(Await.TIMEOUT);

      Await.until(() -> scenario.secrets.stats().liveSecrets() == 0);
      assertThat(scenario.calls.count("store(SK)")).isOne();
    }
  }

  @Test
  void withoutAnyCache_cancelledOperationsLeaveNothing() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheNothing().build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      DataRowRecord record = encrypt(scenario);
      Scheduler threads = Schedulers.newParallel("cancelling", 4);
      CountDownLatch done = new CountDownLatch(4);
      for (int thread = 0; thread < 4; thread++) {
        Random random = new Random(thread);
        threads.schedule(
            () -> {
              for (int i = 0; i < 1_500; i++) {
                Disposable operation =
                    scenario.session().decrypt(record).onErrorComplete().subscribe();
                long until = System.nanoTime() + random.nextInt(600_000);
                while (System.nanoTime() < until) {
                  // The time of a few steps of the operation; this thread must not block.
                }
                operation.dispose();
              }
              done.countDown();
            });
      }
      Await.until(() -> done.getCount() == 0);

      Await.until(() -> scenario.factory.stats().loads() == 0);
      Await.until(() -> scenario.factory.stats().callsUnderWay() == 0);
      Await.until(() -> scenario.secrets.stats().liveSecrets() == 0);
      threads.dispose();
    }
  }

  @Test
  void withoutAnyCache_anOperationIsBoundedByTheLoadTimeout_andByClose() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheNothing().build();
    Scenario scenario =
        new Scenario(
            store,
            policy,
            o ->
                o.loadTimeout(Duration.ofSeconds(3))
                    .callTimeout(Duration.ofMinutes(1))
                    .closeTimeout(Duration.ofMillis(50)));
    DataRowRecord record = encrypt(scenario);
    scenario.calls.take();
    scenario.calls.change("decryptKey", answer -> Mono.never());
    StepVerifier.create(scenario.session().decrypt(record))
        .verifyErrorSatisfies(e -> assertThat(((AppEncryptionException) e).isRetryable()).isTrue());

    CompletableFuture<byte[]> waiting = scenario.session().decrypt(record).toFuture();
    Await.until(() -> scenario.calls.count("decryptKey") == 2);
    scenario.factory.close().block(Await.TIMEOUT);

    StepVerifier.create(Mono.fromFuture(waiting)).verifyError(FactoryClosedException.class);
    Await.until(() -> scenario.secrets.stats().liveSecrets() == 0);
    scenario.close();
  }

  @Test
  void withoutIntermediateKeyCache_theSystemKeyIsRefreshedAhead() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheIntermediateKeys(false).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      encrypt(scenario);
      scenario.pass(Duration.ofMinutes(55));
      scenario.calls.take();
      scenario.calls.change("load(SK)", answer -> Mono.never());

      encrypt(scenario);

      Await.until(() -> scenario.calls.count("load(SK)") == 1);
    }
  }

  @Test
  void withoutSystemKeyCache_revocationOfTheSystemKeyIsFoundByARefresh() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheSystemKeys(false).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      encrypt(scenario);
      get(store.revoke(KeySelector.id("_SK_service_product")));
      scenario.pass(Duration.ofMinutes(55));

      encrypt(scenario);

      Await.until(() -> keyOf(encrypt(scenario)).isAfter(MINUTE));
    }
  }
}
