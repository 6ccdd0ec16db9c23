package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.test.StepVerifier;

class CloseTest {
  private static final List<String> ENCRYPT_BOUNDARIES =
      List.of("loadLatest(IK)", "loadLatest(SK)", "encryptKey", "store(SK)", "store(IK)");
  private static final List<String> DECRYPT_BOUNDARIES =
      List.of("load(IK)", "load(SK)", "decryptKey");

  static Stream<Arguments> boundaries() {
    return Stream.of("error", "cancel", "cancel and answer later", "never")
        .flatMap(
            how ->
                Stream.concat(
                    ENCRYPT_BOUNDARIES.stream().map(call -> Arguments.of("encrypt", call, how)),
                    DECRYPT_BOUNDARIES.stream().map(call -> Arguments.of("decrypt", call, how))));
  }

  /** Whatever happens at whichever call, nothing is left after close(). */
  @ParameterizedTest
  @MethodSource("boundaries")
  void nothingIsLeft(String operation, String call, String how) {
    InMemoryMetastore shared = new InMemoryMetastore();
    DataRowRecord record;
    try (Scenario writer = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      record = get(writer.factory.session("other").encrypt(utf8("payload")));
    }
    InMemoryMetastore store = operation.equals("encrypt") ? new InMemoryMetastore() : shared;
    Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "");
    SessionFactory factory = ownFactory(scenario, store);
    Session session = factory.session("other");
    Mono<?> mono =
        operation.equals("encrypt") ? session.encrypt(utf8("payload")) : session.decrypt(record);
    Sinks.Empty<Void> gate = Sinks.empty();
    AtomicReference<Throwable> ended = new AtomicReference<>();
    scenario.calls.change(
        call,
        answer ->
            switch (how) {
              case "error" -> Mono.error(new MetastoreException("down", null, true));
              case "cancel", "never" -> Mono.never();
              default -> gate.asMono().then(answer);
            });

    if (how.equals("error")) {
      StepVerifier.create(mono).verifyError(MetastoreException.class);
    } else {
      Disposable subscription = mono.subscribe(result -> {}, ended::set);
      Await.until(() -> scenario.calls.count(call) == 1);
      if (!how.equals("never")) {
        subscription.dispose();
      }
    }

    factory.close().block(Await.TIMEOUT);
    gate.tryEmitEmpty();

    if (how.equals("never")) {
      Await.until(() -> ended.get() instanceof FactoryClosedException);
    }
    assertThat(factory.stats().memory().liveSecrets()).isZero();
    assertThat(factory.stats().memory().lockedBytes()).isZero();
    assertThat(factory.stats().memory().openRegions()).isZero();
    assertThat(factory.stats().cachedIntermediateKeys()).isZero();
    assertThat(factory.stats().cachedSystemKeys()).isZero();
    StepVerifier.create(mono).verifyError(FactoryClosedException.class);
    scenario.calls.answerAsBefore();
    scenario.close();
  }

  /** A factory on the scenario's recorded back ends, with locked memory of its own. */
  private static SessionFactory ownFactory(Scenario scenario, InMemoryMetastore store) {
    return SessionFactory.builder("product", "service")
        .metastore(scenario.recording(store, ""))
        .keyManagementService(
            scenario.recording(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY)))
        .closeTimeout(Duration.ofMillis(50))
        .build();
  }

  @Test
  void afterSuccess_nothingIsLeft_andEveryOperationSignalsClosed() {
    InMemoryMetastore store = new InMemoryMetastore();
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(store)
            .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
            .build();
    Session session = factory.session("partition");
    byte[] json = get(session.encryptToJson(utf8("payload")));
    DataRowRecord record = DataRowRecord.fromJson(json);
    assertThat(factory.stats().memory().liveSecrets()).isEqualTo(2);

    factory.close().block(Await.TIMEOUT);
    factory.close().block(Await.TIMEOUT);

    assertThat(factory.stats().memory().liveSecrets()).isZero();
    assertThat(factory.stats().memory().lockedBytes()).isZero();
    assertThat(factory.stats().memory().openRegions()).isZero();
    Persistence persistence =
        Persistence.of(key -> Mono.just(record), (key, value) -> Mono.empty());
    Persistence absent = Persistence.of(key -> Mono.empty(), (key, value) -> Mono.empty());
    for (Mono<?> operation :
        List.of(
            session.encrypt(utf8("payload")),
            session.encryptToJson(utf8("payload")),
            session.decrypt(record),
            session.decryptJson(json),
            session.store(utf8("payload"), persistence),
            session.load("key", persistence),
            session.load("absent", absent),
            session.forget(),
            factory.session("new").encrypt(utf8("payload")))) {
      StepVerifier.create(operation).verifyError(FactoryClosedException.class);
    }
  }

  @Test
  void close_waitsForOperationsInFlight() {
    try (Scenario scenario = new Scenario()) {
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("store(IK)", answer -> gate.asMono().then(answer));
      CompletableFuture<DataRowRecord> operation =
          scenario.session().encrypt(utf8("payload")).toFuture();
      Await.until(() -> scenario.calls.count("store(IK)") == 1);

      CompletableFuture<Void> closed = scenario.factory.close().toFuture();
      StepVerifier.create(scenario.session().encrypt(utf8("late")))
          .verifyError(FactoryClosedException.class);
      assertThat(closed).isNotDone();

      gate.tryEmitEmpty();
      assertThat(operation.orTimeout(30, TimeUnit.SECONDS).join()).isNotNull();
      closed.orTimeout(30, TimeUnit.SECONDS).join();
    }
  }

  @Test
  void close_wipesAfterTheTimeout_whenAnOperationNeverEnds() {
    InMemoryMetastore store = new InMemoryMetastore();
    try (Scenario scenario = new Scenario()) {
      SessionFactory factory = ownFactory(scenario, store);
      get(factory.session("one").encrypt(utf8("payload")));
      scenario.calls.change("loadLatest(IK)", answer -> Mono.never());
      CompletableFuture<DataRowRecord> stuck =
          factory.session("two").encrypt(utf8("payload")).toFuture();

      factory.close().block(Await.TIMEOUT);

      assertThat(factory.stats().memory().lockedBytes()).isZero();
      assertThatThrownBy(() -> stuck.orTimeout(30, TimeUnit.SECONDS).join())
          .hasCauseInstanceOf(FactoryClosedException.class);
    }
  }

  @Test
  void close_tellsAlsoThoseWhoWaitForALoadThatWasForgotten() {
    try (Scenario scenario = new Scenario()) {
      SessionFactory factory = ownFactory(scenario, new InMemoryMetastore());
      scenario.calls.change("loadLatest(IK)", answer -> Mono.never());
      CompletableFuture<DataRowRecord> stuck =
          factory.session("partition").encrypt(utf8("payload")).toFuture();
      Await.until(() -> scenario.calls.count("loadLatest(IK)") == 1);
      factory.session("partition").forget().block(Await.TIMEOUT);

      factory.close().block(Await.TIMEOUT);

      assertThatThrownBy(() -> stuck.orTimeout(10, TimeUnit.SECONDS).join())
          .hasCauseInstanceOf(FactoryClosedException.class);
    }
  }

  @Test
  void close_ofAnUnusedFactory_completes() {
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(new InMemoryMetastore())
            .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
            .build();
    StepVerifier.create(factory.close()).verifyComplete();
  }

  @Test
  void givenSecretFactory_staysOpen() {
    SecretFactory shared = SecretFactory.builder().build();
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(new InMemoryMetastore())
            .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
            .secretFactory(shared)
            .build();
    get(factory.session("partition").encrypt(utf8("payload")));

    factory.close().block(Await.TIMEOUT);

    assertThat(shared.stats().liveSecrets()).isZero();
    assertThat(get(shared.create(new byte[] {1}))).isNotNull();
    shared.close().block(Await.TIMEOUT);
  }

  @Test
  void closeTimeout_mustBePositive() {
    assertThatThrownBy(
            () ->
                SessionFactory.builder("product", "service")
                    .metastore(new InMemoryMetastore())
                    .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
                    .closeTimeout(Duration.ZERO))
        .hasMessage("closeTimeout must be positive and at most one day, was PT0S");
  }

  @Test
  void whatFollows_neverRunsOnTheThreadsThatLockMemory() {
    Scenario scenario = new Scenario();
    get(scenario.session().encrypt(utf8("payload")));
    scenario.pass(Duration.ofMinutes(1));
    String subscriber = Thread.currentThread().getName();

    for (Mono<?> operation :
        List.of(scenario.session().forget(), scenario.factory.shred("partition"))) {
      assertThat(threadThatEnds(operation)).startsWith("parallel-");
    }
    // The subscriber's own, if all partitions are warm before it has asked for the last.
    assertThat(threadThatEnds(scenario.factory.warmUp(List.of("partition"))))
        .matches(name -> name.startsWith("parallel-") || name.equals(subscriber));
    assertThat(threadThatEnds(scenario.factory.close())).startsWith("parallel-");
    scenario.close();
  }

  private static String threadThatEnds(Mono<?> operation) {
    CompletableFuture<String> thread = new CompletableFuture<>();
    operation
        .doFinally(signal -> thread.complete(Thread.currentThread().getName()))
        .then()
        .block(Await.TIMEOUT);
    return thread.orTimeout(30, TimeUnit.SECONDS).join();
  }
}
