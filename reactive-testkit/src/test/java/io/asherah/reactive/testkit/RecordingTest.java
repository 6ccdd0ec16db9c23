package io.asherah.reactive.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testkit.RecordingMetastore.Operation;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

/** Both doubles, which share what they are made of. */
class RecordingTest {
  private static final String IK = "_IK_tenant_service_product";
  private static final String SK = "_SK_service_product";
  private static final Instant AT = Instant.ofEpochSecond(60);
  private static final EnvelopeKeyRecord RECORD =
      new EnvelopeKeyRecord(AT, new byte[60], null, false);
  private static final MetastoreException ERROR = new MetastoreException("broken", null, true);

  private final TestTime time = TestTime.startingAt(Instant.parse("2026-03-12T12:58:20Z"));
  private final InMemoryMetastore memory = new InMemoryMetastore("eu");
  private final RecordingMetastore metastore = RecordingMetastore.of(memory);
  private final RecordingKeyManagementService kms =
      RecordingKeyManagementService.of(
          StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"));

  private static RecordingMetastore.Call call(Operation operation, String id) {
    return new RecordingMetastore.Call(operation, id, Optional.empty());
  }

  private static RecordingMetastore.Call call(Operation operation, String id, Instant created) {
    return new RecordingMetastore.Call(operation, id, Optional.of(created));
  }

  @Test
  void calls_areRecordedAtSubscription_inOrder() {
    Mono<Boolean> store = metastore.store(SK, AT, RECORD);
    Mono<EnvelopeKeyRecord> load = metastore.load(SK, AT);
    assertThat(metastore.calls()).isEmpty();

    StepVerifier.create(store).expectNext(true).verifyComplete();
    StepVerifier.create(load).expectNext(RECORD).verifyComplete();
    StepVerifier.create(load).expectNext(RECORD).verifyComplete();
    StepVerifier.create(metastore.loadLatest(SK)).expectNext(RECORD).verifyComplete();

    assertThat(metastore.count(Operation.LOAD)).isEqualTo(2);
    assertThat(metastore.takeCalls())
        .containsExactly(
            call(Operation.STORE, SK, AT),
            call(Operation.LOAD, SK, AT),
            call(Operation.LOAD, SK, AT),
            call(Operation.LOAD_LATEST, SK));
    assertThat(metastore.calls()).isEmpty();
    assertThat(metastore.count(Operation.LOAD)).isZero();
  }

  @Test
  void inventory_isRecordedAndAnswered() {
    KeySelector selector = KeySelector.id(IK);
    memory.store(IK, AT, RECORD).block(Await.TIMEOUT);

    StepVerifier.create(metastore.list(selector)).expectNextCount(1).verifyComplete();
    StepVerifier.create(metastore.revoke(selector)).expectNext(1L).verifyComplete();
    StepVerifier.create(metastore.delete(selector)).expectNext(1L).verifyComplete();

    assertThat(metastore.calls())
        .containsExactly(
            call(Operation.LIST, IK), call(Operation.REVOKE, IK), call(Operation.DELETE, IK));
  }

  @Test
  void metastoreWithoutInventory_signalsThatItIsUnsupported() {
    RecordingMetastore plain = RecordingMetastore.of(new MetastoreTestKitTest.Plain());
    KeySelector all = KeySelector.idPrefix("");

    StepVerifier.create(plain.list(all)).verifyError(UnsupportedOperationException.class);
    StepVerifier.create(plain.revoke(all)).verifyError(UnsupportedOperationException.class);
    StepVerifier.create(plain.delete(all))
        .verifyErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(UnsupportedOperationException.class)
                    .hasMessageContaining("KeyInventory"));
    assertThat(plain.calls()).hasSize(3);
    assertThat(plain.inFlight()).isZero();
  }

  @Test
  void nameAndSuffix_areThoseOfTheWrapped() {
    assertThat(metastore.name()).isEqualTo("memory");
    assertThat(metastore.keySuffix()).isEqualTo("eu");
    assertThat(kms.name()).isEqualTo("static");
  }

  @Test
  void toString_hasNoPartition() {
    StepVerifier.create(metastore.loadLatest(IK)).verifyComplete();
    StepVerifier.create(metastore.load(SK, AT)).verifyComplete();

    assertThat(metastore).hasToString("RecordingMetastore[memory, inFlight=0]");
    assertThat(kms).hasToString("RecordingKeyManagementService[static, inFlight=0]");
    assertThat(metastore.calls())
        .hasToString(
            "[Call[LOAD_LATEST, id=****, created=any],"
                + " Call[LOAD, id=_SK_service_product, created=1970-01-01T00:01:00Z]]");
  }

  @Test
  void whatTheWrappedThrows_isSignalled() {
    StepVerifier.create(metastore.loadLatest("")).verifyError(IllegalArgumentException.class);
    assertThat(metastore.calls()).hasSize(1);
    assertThat(metastore.inFlight()).isZero();
  }

  @Test
  void fail_failsThatOperation_withoutCallingTheWrapped() {
    metastore.fail(Operation.STORE, ERROR);

    for (int i = 0; i < 3; i++) {
      StepVerifier.create(metastore.store(SK, AT, RECORD)).verifyErrorMatches(ERROR::equals);
    }
    StepVerifier.create(metastore.load(SK, AT)).verifyComplete();
    assertThat(metastore.calls()).hasSize(4);

    metastore.recover();
    StepVerifier.create(metastore.store(SK, AT, RECORD)).expectNext(true).verifyComplete();
  }

  @Test
  void failNext_failsThatManyCalls() {
    metastore.failNext(Operation.LOAD_LATEST, 2, ERROR);
    Mono<EnvelopeKeyRecord> load = metastore.loadLatest(SK);

    StepVerifier.create(load).verifyErrorMatches(ERROR::equals);
    StepVerifier.create(load).verifyErrorMatches(ERROR::equals);
    StepVerifier.create(load).verifyComplete();
    assertThatThrownBy(() -> metastore.failNext(Operation.LOAD, -1, ERROR))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void failNext_isSharedByConcurrentCalls() {
    metastore.failNext(Operation.LOAD, 7, ERROR);
    Mono<Long> failed =
        Flux.range(0, 100)
            .flatMap(
                i ->
                    metastore
                        .load(SK, AT)
                        .thenReturn(false)
                        .onErrorReturn(true)
                        .subscribeOn(Schedulers.parallel()),
                100)
            .filter(isFailed -> isFailed)
            .count();

    StepVerifier.create(failed).expectNext(7L).verifyComplete();
  }

  @Test
  void outage_failsAll_untilRecovered() {
    metastore.outage(ERROR);
    KeySelector all = KeySelector.idPrefix("");

    StepVerifier.create(metastore.load(SK, AT)).verifyErrorMatches(ERROR::equals);
    StepVerifier.create(metastore.loadLatest(SK)).verifyErrorMatches(ERROR::equals);
    StepVerifier.create(metastore.store(SK, AT, RECORD)).verifyErrorMatches(ERROR::equals);
    StepVerifier.create(metastore.list(all)).verifyErrorMatches(ERROR::equals);
    StepVerifier.create(metastore.revoke(all)).verifyErrorMatches(ERROR::equals);
    StepVerifier.create(metastore.delete(all)).verifyErrorMatches(ERROR::equals);
    assertThat(metastore.inFlight()).isZero();

    metastore.recover();
    StepVerifier.create(metastore.load(SK, AT)).verifyComplete();
  }

  @Test
  void delayedAnswer_comesLate_butTheCallIsMadeAtOnce() {
    metastore.delay(Operation.STORE, Duration.ofSeconds(3), time.scheduler());

    StepVerifier.create(metastore.store(SK, AT, RECORD))
        .expectSubscription()
        .then(
            () -> {
              assertThat(memory.load(SK, AT).block(Await.TIMEOUT)).isEqualTo(RECORD);
              assertThat(metastore.inFlight()).isOne();
              time.advance(Duration.ofMillis(2_999));
              assertThat(metastore.inFlight()).isOne();
            })
        .then(() -> time.advance(Duration.ofMillis(1)))
        .expectNext(true)
        .verifyComplete();
    assertThat(metastore.inFlight()).isZero();
  }

  @Test
  void delayedAnswers_ofAllKinds_areThoseOfTheWrapped() {
    metastore.delay(Duration.ofMillis(1), Schedulers.parallel());

    StepVerifier.create(metastore.loadLatest(SK)).verifyComplete();
    StepVerifier.create(metastore.store(SK, AT, RECORD)).expectNext(true).verifyComplete();
    StepVerifier.create(metastore.store(IK, AT, RECORD)).expectNext(true).verifyComplete();
    StepVerifier.create(metastore.load(SK, AT)).expectNext(RECORD).verifyComplete();
    StepVerifier.create(metastore.list(KeySelector.idPrefix("")))
        .expectNextCount(2)
        .verifyComplete();
    StepVerifier.create(metastore.loadLatest("")).verifyError(IllegalArgumentException.class);
  }

  @Test
  void delayedFailure_isLate() {
    metastore.delay(Duration.ofSeconds(3), time.scheduler());
    metastore.outage(ERROR);

    StepVerifier.create(Mono.when(metastore.loadLatest(SK), metastore.list(KeySelector.id(SK))))
        .expectSubscription()
        .then(() -> assertThat(metastore.inFlight()).isEqualTo(2))
        .then(() -> time.advance(Duration.ofSeconds(3)))
        .verifyErrorMatches(ERROR::equals);
  }

  @Test
  void neverAnswer_isInFlightUntilCancelled() {
    metastore.neverAnswer(Operation.STORE);
    Disposable subscription = metastore.store(SK, AT, RECORD).subscribe();
    assertThat(metastore.inFlight()).isOne();

    metastore.recover();
    assertThat(metastore.inFlight()).isOne();

    subscription.dispose();
    assertThat(metastore.inFlight()).isZero();
    assertThat(memory.load(SK, AT).block(Await.TIMEOUT)).isEqualTo(RECORD);
  }

  @Test
  void neverAnswer_toAnything_isForAllOperations() {
    metastore.neverAnswer();
    Disposable loads =
        Flux.merge(
                metastore.load(SK, AT),
                metastore.loadLatest(SK),
                metastore.list(KeySelector.id(SK)))
            .subscribe();

    assertThat(metastore.inFlight()).isEqualTo(3);
    loads.dispose();
    assertThat(metastore.inFlight()).isZero();
    assertThat(metastore.maxInFlight()).isEqualTo(3);
  }

  @Test
  void heldAnswers_comeWhenTheGateCompletes() {
    Sinks.Empty<Void> gate = Sinks.empty();
    metastore.holdUntil(gate.asMono());

    StepVerifier.create(
            Flux.range(0, 5).flatMap(i -> metastore.loadLatest(SK).thenReturn(i)).count())
        .expectSubscription()
        .then(() -> assertThat(metastore.inFlight()).isEqualTo(5))
        .then(() -> gate.emitEmpty(Sinks.EmitFailureHandler.FAIL_FAST))
        .expectNext(5L)
        .verifyComplete();
    assertThat(metastore.inFlight()).isZero();
    assertThat(metastore.maxInFlight()).isEqualTo(5);
  }

  @Test
  void gateThatFails_isTheAnswer() {
    metastore.holdUntil(Operation.LOAD, Flux.just(1, 2).concatWith(Mono.error(ERROR)));
    StepVerifier.create(metastore.load(SK, AT)).verifyErrorMatches(ERROR::equals);
    assertThat(metastore.inFlight()).isZero();
  }

  @Test
  void callEnds_beforeItsAnswerIsPassedOn() {
    Mono<Integer> seen = metastore.store(SK, AT, RECORD).map(stored -> metastore.inFlight());
    StepVerifier.create(seen).expectNext(0).verifyComplete();
  }

  @Test
  void keyHeldBackForACallerWhoIsGone_isClosed() {
    CryptoKey key = CryptoKey.takeOwnershipOf(new byte[CryptoKey.LENGTH]);
    RecordingKeyManagementService holding = RecordingKeyManagementService.of(new Answering(key));
    holding.neverAnswer(RecordingKeyManagementService.Operation.DECRYPT_KEY);

    holding.decryptKey(new byte[60]).subscribe().dispose();

    assertThat(holding.inFlight()).isZero();
    assertThatThrownBy(key::take).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void keyThatWasPassedOn_isLeftToTheSubscriber() {
    CryptoKey key = CryptoKey.takeOwnershipOf(new byte[CryptoKey.LENGTH]);
    RecordingKeyManagementService late = RecordingKeyManagementService.of(new Answering(key));
    late.delay(Duration.ofSeconds(1), time.scheduler());

    StepVerifier.create(late.decryptKey(new byte[60]))
        .expectSubscription()
        .then(() -> time.advance(Duration.ofSeconds(1)))
        .expectNext(key)
        .verifyComplete();

    assertThat(key.take()).hasSize(CryptoKey.LENGTH);
  }

  private record Answering(CryptoKey key) implements KeyManagementService {
    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return Mono.empty();
    }

    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return Mono.just(key);
    }
  }
}
