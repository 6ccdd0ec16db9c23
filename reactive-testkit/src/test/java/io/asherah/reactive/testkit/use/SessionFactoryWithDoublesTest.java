package io.asherah.reactive.testkit.use;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.Session;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testkit.RecordingKeyManagementService;
import io.asherah.reactive.testkit.RecordingMetastore;
import io.asherah.reactive.testkit.RecordingMetastore.Operation;
import io.asherah.reactive.testkit.TestTime;
import io.asherah.reactive.testsupport.Await;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;
import reactor.test.StepVerifier;

/** The doubles and the time behind a session factory, from another package, as users do. */
class SessionFactoryWithDoublesTest {
  private static final MetastoreException ERROR = new MetastoreException("broken", null, true);

  private final TestTime time = TestTime.startingAt(Instant.parse("2026-03-12T12:58:20Z"));
  private final InMemoryMetastore memory = new InMemoryMetastore();
  private final RecordingMetastore metastore = RecordingMetastore.of(memory);
  private final RecordingKeyManagementService kms =
      RecordingKeyManagementService.of(
          StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"));

  private SessionFactory factory() {
    return SessionFactory.builder("product", "service")
        .metastore(metastore)
        .keyManagementService(kms)
        .clock(time.clock())
        .ticker(time.ticker())
        .timerScheduler(time.scheduler())
        .callAttempts(1)
        .build();
  }

  private static byte[] payload() {
    return "payload".getBytes(StandardCharsets.UTF_8);
  }

  @Test
  void firstEncryption_asksForBothKeysAndStoresThem_datedByTheClock() {
    SessionFactory factory = factory();
    Session session = factory.session("tenant");

    StepVerifier.create(session.encrypt(payload()).then(session.encrypt(payload())))
        .expectNextCount(1)
        .verifyComplete();

    assertThat(metastore.takeCalls())
        .extracting(RecordingMetastore.Call::operation)
        .containsExactlyInAnyOrder(
            Operation.LOAD_LATEST, Operation.LOAD_LATEST, Operation.STORE, Operation.STORE);
    assertThat(kms.takeCalls())
        .containsExactly(
            new RecordingKeyManagementService.Call(
                RecordingKeyManagementService.Operation.ENCRYPT_KEY));
    StepVerifier.create(memory.list(KeySelector.idPrefix("")))
        .thenConsumeWhile(key -> key.meta().created().equals(Instant.parse("2026-03-12T12:58:00Z")))
        .verifyComplete();
    StepVerifier.create(factory.close()).verifyComplete();
  }

  @Test
  void outageOfTheMetastore_failsOperations_untilItRecovers() {
    SessionFactory factory = factory();
    Session session = factory.session("tenant");
    metastore.outage(ERROR);
    StepVerifier.create(session.encrypt(payload())).verifyError(MetastoreException.class);

    metastore.recover();
    time.advance(Duration.ofMinutes(1));
    StepVerifier.create(session.encrypt(payload())).expectNextCount(1).verifyComplete();
    StepVerifier.create(factory.close()).verifyComplete();
  }

  @Test
  void failureOfTheKeyManagementService_isSignalled() {
    SessionFactory factory = factory();
    kms.failNext(
        RecordingKeyManagementService.Operation.ENCRYPT_KEY,
        1,
        new KmsException(KmsException.Kind.ACCESS_DENIED, "not you", null));
    StepVerifier.create(factory.session("tenant").encrypt(payload()))
        .verifyError(KmsException.class);
    StepVerifier.create(factory.close()).verifyComplete();
  }

  @Test
  void concurrentOperations_shareOneLoad_whichIsSeenInFlight() {
    SessionFactory factory = factory();
    Sinks.Empty<Void> gate = Sinks.empty();
    metastore.holdUntil(Operation.LOAD_LATEST, gate.asMono());

    StepVerifier.create(
            Flux.range(0, 50)
                .flatMap(i -> factory.session("tenant").encrypt(payload()), 50)
                .count())
        .expectSubscription()
        .then(() -> Await.until(() -> metastore.inFlight() == 1))
        .then(
            () -> {
              metastore.recover();
              gate.emitEmpty(Sinks.EmitFailureHandler.FAIL_FAST);
            })
        .expectNext(50L)
        .verifyComplete();

    assertThat(metastore.count(Operation.LOAD_LATEST)).isEqualTo(2);
    assertThat(metastore.maxInFlight()).isOne();
    StepVerifier.create(factory.close()).verifyComplete();
  }
}
