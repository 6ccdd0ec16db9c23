package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.time.Instant;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.test.StepVerifier;

/** Keys in use are looked up again ahead of time, and never used beyond it. */
class RefreshTest {
  private static final Duration PERIOD = Duration.ofMinutes(60);
  private static final Duration SOFT = PERIOD.multipliedBy(9).dividedBy(10);
  private static final Instant MINUTE = Instant.parse("2026-03-12T12:58:00Z");
  private static final String INTERMEDIATE = "_IK_partition_service_product";
  private static final String SYSTEM = "_SK_service_product";

  private final InMemoryMetastore store = new InMemoryMetastore();

  private Scenario scenario() {
    return new Scenario(
        store,
        CryptoPolicy.defaults(),
        options -> options.callTimeout(Duration.ofSeconds(2)).callAttempts(2));
  }

  private static Instant keyOf(DataRowRecord record) {
    return record.key().parentKeyMeta().orElseThrow().created();
  }

  private static DataRowRecord encrypt(Scenario scenario) {
    return get(scenario.session().encrypt(utf8("payload")));
  }

  @Test
  void untilTheSoftLimit_nothingIsAsked() {
    try (Scenario scenario = scenario()) {
      encrypt(scenario);
      scenario.calls.take();
      for (int i = 0; i < 48; i++) {
        scenario.pass(Duration.ofMinutes(1).minusNanos(1));
        encrypt(scenario);
      }
      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void pastTheSoftLimit_theAnswerIsImmediate_withOneRefresh() {
    try (Scenario scenario = Scenario.patient(store, CryptoPolicy.defaults())) {
      encrypt(scenario);
      scenario.pass(SOFT);
      scenario.calls.take();
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("loadLatest(IK)", answer -> gate.asMono().then(answer));

      for (int i = 0; i < 1_000; i++) {
        // On this thread, without waiting.
        StepVerifier.create(scenario.session().encrypt(utf8("payload")), 1)
            .expectNextCount(1)
            .expectComplete()
            .verify(Duration.ofSeconds(5));
      }
      Await.until(() -> scenario.calls.count("loadLatest(IK)") == 1);
      Await.until(() -> scenario.calls.count("load(SK)") == 1);
      gate.tryEmitEmpty();

      assertThat(scenario.calls.take()).containsExactlyInAnyOrder("loadLatest(IK)", "load(SK)");
      // Refreshed: for another four fifths of the period nothing is asked.
      Await.until(() -> scenario.factory.stats().loads() == 0);
      scenario.pass(PERIOD.multipliedBy(7).dividedBy(10));
      encrypt(scenario);
      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void answerOfARefresh_isAsOldAsItsQuestion() {
    try (Scenario scenario =
        new Scenario(store, CryptoPolicy.defaults(), o -> o.callTimeout(Duration.ofMinutes(1)))) {
      encrypt(scenario);
      scenario.pass(SOFT);
      scenario.calls.take();
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("loadLatest(IK)", answer -> gate.asMono().then(answer));
      scenario.calls.change("load(SK)", answer -> gate.asMono().then(answer));
      encrypt(scenario);
      Await.until(() -> scenario.calls.count("loadLatest(IK)") == 1);
      Await.until(() -> scenario.calls.count("load(SK)") == 1);

      // Answered 5 minutes after it was asked, one minute before the key would be too old.
      scenario.pass(Duration.ofMinutes(5));
      gate.tryEmitEmpty();
      Await.until(() -> scenario.factory.stats().loads() == 0);
      scenario.calls.fail("loadLatest(IK)", new MetastoreException("down", null, true));
      scenario.calls.fail("load(SK)", new MetastoreException("down", null, true));
      scenario.pass(Duration.ofMinutes(54));
      // 59 minutes after it was asked: used still.
      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .expectNextCount(1)
          .verifyComplete();

      scenario.pass(Duration.ofMinutes(1));
      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyError(MetastoreException.class);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"fails", "is never answered"})
  void refreshThatDoesNotSucceed_isTriedAgainWithPauses_andTheKeyIsNotUsedBeyondThePeriod(
      String how) {
    try (Scenario scenario = scenario()) {
      Queue<KeyEvent> events = new ConcurrentLinkedQueue<>();
      Disposable subscription = scenario.factory.keyEvents().subscribe(events::add);
      encrypt(scenario);
      scenario.pass(SOFT);
      scenario.calls.take();
      for (String call : new String[] {"loadLatest(IK)", "load(SK)"}) {
        scenario.calls.change(
            call,
            answer ->
                how.equals("fails")
                    ? Mono.error(new MetastoreException("down", null, false))
                    : Mono.never());
      }

      encrypt(scenario);
      Await.until(() -> scenario.calls.count("loadLatest(IK)") > 0);
      long asked = 0;
      for (Duration age = SOFT; age.compareTo(PERIOD) < 0; age = age.plusSeconds(5)) {
        assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE);
        scenario.pass(Duration.ofSeconds(5));
        asked = scenario.calls.count("loadLatest(IK)");
      }

      // 72 times 5 seconds: without pauses there would be a refresh each time.
      assertThat(asked).isBetween(1L, 2 * 20L);
      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyErrorSatisfies(e -> assertThat(e).isInstanceOf(MetastoreException.class));
      Await.until(() -> events.stream().anyMatch(e -> e.type() == KeyEvent.Type.REFRESH_FAILED));
      assertThat(scenario.calls.count("store(IK)") + scenario.calls.count("store(SK)")).isZero();

      // A load under way is one that still meets what is over.
      Await.until(() -> scenario.factory.stats().loads() == 0);
      scenario.calls.answerAsBefore();
      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE);
      subscription.dispose();
    }
  }

  @Test
  void wallClockSetBackByADay_changesNothingOfIt() {
    try (Scenario scenario = scenario()) {
      encrypt(scenario);
      scenario.calls.take();
      scenario.wallClockOffsetSeconds.set(-86_400);
      scenario.pass(Duration.ofMinutes(48).minusNanos(1));
      encrypt(scenario);
      assertThat(scenario.calls.take()).isEmpty();

      scenario.pass(Duration.ofMinutes(6).plusNanos(1));
      encrypt(scenario);
      Await.until(() -> scenario.calls.count("loadLatest(IK)") == 1);

      scenario.calls.fail("loadLatest(IK)", new MetastoreException("down", null, false));
      scenario.pass(PERIOD);
      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyError(MetastoreException.class);
    }
  }

  @Test
  void revocationThatARefreshFinds_ends_theUseOfTheKey_andItsDataStillOpens() {
    try (Scenario scenario = scenario()) {
      DataRowRecord old = encrypt(scenario);
      get(store.revoke(KeySelector.id(INTERMEDIATE)));
      scenario.pass(SOFT);

      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE);
      // The refresh that this started makes the next key, ahead of the period.
      Await.until(() -> !keyOf(encrypt(scenario)).equals(MINUTE));

      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE.plus(SOFT));
      assertThat(get(scenario.session().decrypt(old))).isEqualTo(utf8("payload"));
    }
  }

  @Test
  void revocationOfTheSystemKey_isFoundByARefreshOfIt_alsoThroughAYoungerIntermediateKey() {
    try (Scenario scenario = scenario()) {
      get(scenario.factory.session("early").encrypt(utf8("payload")));
      scenario.pass(Duration.ofMinutes(30));
      encrypt(scenario);
      get(store.revoke(KeySelector.id(SYSTEM)));
      scenario.pass(SOFT.minusMinutes(30));
      scenario.calls.take();

      // The intermediate key is 24 minutes old; its system key is due.
      assertThat(keyOf(encrypt(scenario))).isEqualTo(MINUTE.plusSeconds(30 * 60));
      Await.until(() -> !keyOf(encrypt(scenario)).equals(MINUTE.plusSeconds(30 * 60)));

      DataRowRecord fresh = encrypt(scenario);
      EnvelopeKeyRecord key = get(store.load(INTERMEDIATE, keyOf(fresh)));
      assertThat(key.parentKeyMeta().orElseThrow().created()).isEqualTo(MINUTE.plus(SOFT));
      assertThat(scenario.calls.count("decryptKey")).isZero();
    }
  }

  @Test
  void keyThatWasRevoked_isNotUsed_alsoWhileItsSuccessorCannotBeMade() {
    try (Scenario scenario = scenario()) {
      encrypt(scenario);
      get(store.revoke(KeySelector.id(INTERMEDIATE)));
      scenario.calls.fail("store(IK)", new MetastoreException("read only", null, false));
      scenario.pass(SOFT);
      scenario.calls.take();
      encrypt(scenario);

      Await.until(() -> scenario.calls.count("store(IK)") >= 1);
      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyErrorMessage("read only");
    }
  }

  @Test
  void idleKeys_areNotRefreshed() {
    try (Scenario scenario = scenario()) {
      encrypt(scenario);
      scenario.calls.take();

      scenario.pass(PERIOD.multipliedBy(3));

      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void systemKeyIsKept_whileIntermediateKeysAreUsed() {
    CryptoPolicy policy =
        CryptoPolicy.builder()
            .partitionIdleTime(Duration.ofMinutes(10))
            .revokeCheckPeriod(Duration.ofDays(1))
            .build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      DataRowRecord record = encrypt(scenario);
      scenario.calls.take();
      for (int i = 0; i < 10; i++) {
        scenario.pass(Duration.ofMinutes(5));
        get(scenario.session().decrypt(record));
      }

      get(scenario.factory.session("other").encrypt(utf8("payload")));

      assertThat(scenario.calls.take()).containsExactly("loadLatest(IK)", "store(IK)");
    }
  }
}
