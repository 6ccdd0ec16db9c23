package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KeyEvent.Type;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.MetricsRecorder;
import io.asherah.reactive.testsupport.Await;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

/** What a factory tells of its keys, its operations and its calls. */
class KeyEventsTest {
  private static final Instant MINUTE = Instant.parse("2026-03-12T12:58:00Z");
  private static final KeyMeta INTERMEDIATE = new KeyMeta("_IK_partition_service_product", MINUTE);
  private static final KeyMeta SYSTEM = new KeyMeta("_SK_service_product", MINUTE);

  private final InMemoryMetastore store = new InMemoryMetastore();

  @Test
  void keysThatAreMade_replacedAndRevoked_areTold_toEverySubscriber() {
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      Queue<KeyEvent> one = new ConcurrentLinkedQueue<>();
      Queue<KeyEvent> other = new ConcurrentLinkedQueue<>();
      scenario.factory.keyEvents().subscribe(one::add);
      scenario.factory.keyEvents().subscribe(other::add);

      get(scenario.session().encrypt(utf8("payload")));
      Await.until(() -> one.size() == 2);
      assertThat(one)
          .containsExactlyInAnyOrder(
              new KeyEvent(Type.CREATED, SYSTEM, Scenario.START, null),
              new KeyEvent(Type.CREATED, INTERMEDIATE, Scenario.START, null));
      get(store.revoke(KeySelector.version(SYSTEM)));
      scenario.pass(Duration.ofMinutes(60));
      get(scenario.session().encrypt(utf8("payload")));

      Await.until(() -> one.size() == 5);
      assertThat(types(one))
          .containsExactlyInAnyOrder(
              Type.CREATED, Type.CREATED, Type.REVOKED, Type.ROTATED, Type.ROTATED);
      Await.until(() -> other.size() == 5);
      assertThat(other).containsExactlyInAnyOrderElementsOf(one);
    }
  }

  @Test
  void evictedKeys_areTold() {
    CryptoPolicy policy = CryptoPolicy.builder().maxCachedIntermediateKeys(1).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      Queue<KeyEvent> events = new ConcurrentLinkedQueue<>();
      scenario.factory.keyEvents().subscribe(events::add);
      get(scenario.session().encrypt(utf8("payload")));
      get(scenario.factory.session("other").encrypt(utf8("payload")));

      Await.until(() -> types(events).contains(Type.EVICTED));
      // What was forgotten was not evicted.
      get(scenario.session().forget().thenReturn(true));
      get(scenario.factory.session("other").forget().thenReturn(true));
      assertThat(types(events).stream().filter(Type.EVICTED::equals)).hasSize(1);
    }
  }

  private static List<Type> types(Queue<KeyEvent> events) {
    return events.stream().map(KeyEvent::type).toList();
  }

  /** The log goes to System.err here, at info level, as src/test/resources/simplelogger says. */
  @Test
  void log_namesNoPartition_exceptAtDebugLevel() {
    PrintStream before = System.err;
    ByteArrayOutputStream log = new ByteArrayOutputStream();
    System.setErr(new PrintStream(log, true, StandardCharsets.UTF_8));
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      get(scenario.factory.session("tenant-4711").encrypt(utf8("payload")));
      get(store.revoke(KeySelector.idPrefix("_")));
      scenario.calls.fail("store(IK)", new MetastoreException("read only", null, false));
      scenario.pass(Duration.ofMinutes(54));
      get(scenario.factory.session("tenant-4711").encrypt(utf8("payload")));
      Await.until(() -> log.toString(StandardCharsets.UTF_8).contains("could not be refreshed"));
    } finally {
      System.setErr(before);
    }
    assertThat(log.toString(StandardCharsets.UTF_8))
        .contains("created KeyMeta[id=_IK_****", "revoked, and not used")
        .doesNotContain("tenant-4711");
  }

  @Test
  void events_endWithTheFactory_alsoForThoseWhoComeLater() {
    Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "");
    StepVerifier.create(scenario.factory.keyEvents()).then(scenario::close).verifyComplete();
    StepVerifier.create(scenario.factory.keyEvents()).verifyComplete();
  }

  @Test
  void slowSubscriber_losesTheOldestEvents_andHoldsNobodyUp() {
    CryptoPolicy policy = CryptoPolicy.builder().maxCachedIntermediateKeys(2_000).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      AtomicInteger told = new AtomicInteger();
      scenario.factory.keyEvents().subscribe(event -> told.incrementAndGet());
      StepVerifier.create(scenario.factory.keyEvents(), 0)
          .then(
              () ->
                  Flux.range(0, 1_000)
                      .flatMap(
                          i -> scenario.factory.session("partition" + i).encrypt(utf8("payload")))
                      .then()
                      .block(Await.TIMEOUT))
          .then(() -> Await.until(() -> told.get() > 0))
          .thenRequest(1)
          .expectNextCount(1)
          .thenCancel()
          .verify(Await.TIMEOUT);
    }
  }

  @Test
  void recorder_isToldOfOperationsCallsAndLookUps() {
    Recording recorder = new Recording();
    try (Scenario scenario =
        new Scenario(
            store, CryptoPolicy.defaults(), options -> options.metricsRecorder(recorder))) {
      DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));
      get(scenario.session().encryptToJson(utf8("payload")));
      get(scenario.session().decrypt(record));
      StepVerifier.create(scenario.factory.session("other").decrypt(record)).verifyError();
      scenario.pass(Duration.ofMinutes(60));
      scenario.calls.fail("loadLatest(IK)", new MetastoreException("down", null, false));
      StepVerifier.create(scenario.session().encrypt(utf8("payload"))).verifyError();
      scenario.calls.answerAsBefore();

      assertThat(recorder.told)
          .containsExactlyInAnyOrder(
              "LATEST MISS",
              "custom LOAD_LATEST true",
              "custom LOAD_LATEST true",
              "custom ENCRYPT_KEY true",
              "custom STORE true",
              "custom STORE true",
              "encrypted true",
              "LATEST HIT",
              "encrypted true",
              "META HIT",
              "decrypted true",
              "decrypted false",
              "LATEST STALE",
              "custom LOAD_LATEST false",
              "encrypted false");
      Await.until(() -> recorder.events.size() == 2);
    }
  }

  @Test
  void callThatIsTooLate_isToldAsAFailure() {
    Recording recorder = new Recording();
    try (Scenario scenario =
        new Scenario(
            store,
            CryptoPolicy.defaults(),
            options ->
                options
                    .metricsRecorder(recorder)
                    .callTimeout(Duration.ofMillis(100))
                    .callAttempts(1))) {
      scenario.calls.change("loadLatest(IK)", answer -> Mono.never());
      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyError(MetastoreException.class);

      assertThat(recorder.told)
          .containsExactly("LATEST MISS", "custom LOAD_LATEST false", "encrypted false");
    }
  }

  @Test
  void recorderThatThrows_failsNoOperation() {
    MetricsRecorder broken =
        new MetricsRecorder() {
          @Override
          public void encrypted(long nanos, boolean isSuccess) {
            throw new NoSuchMethodError("broken");
          }

          @Override
          public void metastoreCalled(
              String metastore, MetastoreCall call, long nanos, boolean isSuccess) {
            throw new NoSuchMethodError("broken");
          }

          @Override
          public void kmsCalled(String kms, KmsCall call, long nanos, boolean isSuccess) {
            throw new NoSuchMethodError("broken");
          }

          @Override
          public void keyLookedUp(Cache cache, Lookup lookup) {
            throw new NoSuchMethodError("broken");
          }

          @Override
          public void keyEvent(KeyEvent event) {
            throw new NoSuchMethodError("broken");
          }
        };
    try (Scenario scenario =
        new Scenario(store, CryptoPolicy.defaults(), options -> options.metricsRecorder(broken))) {
      DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));
      assertThat(get(scenario.session().decrypt(record))).isEqualTo(utf8("payload"));
    }
  }

  @Test
  void fatalErrorOfADriver_isAnErrorAtOnce_alsoWithARecorder() {
    try (Scenario scenario =
        new Scenario(
            store, CryptoPolicy.defaults(), o -> o.metricsRecorder(new MetricsRecorder() {}))) {
      scenario.calls.throwFrom("loadLatest(IK)", new NoClassDefFoundError("driver/Missing"));

      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .expectErrorSatisfies(
              e -> assertThat(e).hasRootCauseInstanceOf(NoClassDefFoundError.class))
          .verify(Duration.ofSeconds(10));
    }
  }

  @Test
  void events_comeInOrder() {
    CryptoPolicy policy = CryptoPolicy.builder().maxCachedIntermediateKeys(2_000).build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      Queue<KeyEvent> events = new ConcurrentLinkedQueue<>();
      scenario.factory.keyEvents().subscribe(events::add);
      for (int i = 0; i < 200; i++) {
        get(scenario.factory.session("partition" + i).encrypt(utf8("payload")));
      }
      Await.until(() -> events.size() == 201);

      assertThat(events.stream().map(event -> event.key().id()))
          .startsWith("_SK_service_product", "_IK_partition0_service_product")
          .endsWith("_IK_partition199_service_product")
          .doesNotHaveDuplicates();
      assertThat(
              events.stream()
                  .skip(1)
                  .map(e -> Integer.parseInt(e.key().id().split("_")[2].substring(9))))
          .isSorted();
    }
  }

  private static final class Recording implements MetricsRecorder {
    private final Queue<String> told = new ConcurrentLinkedQueue<>();
    private final Queue<KeyEvent> events = new ConcurrentLinkedQueue<>();

    @Override
    public void encrypted(long nanos, boolean isSuccess) {
      assertThat(nanos).isNotNegative();
      told.add("encrypted " + isSuccess);
    }

    @Override
    public void decrypted(long nanos, boolean isSuccess) {
      assertThat(nanos).isNotNegative();
      told.add("decrypted " + isSuccess);
    }

    @Override
    public void metastoreCalled(
        String metastore, MetastoreCall call, long nanos, boolean isSuccess) {
      assertThat(nanos).isNotNegative();
      told.add(metastore + " " + call + " " + isSuccess);
    }

    @Override
    public void kmsCalled(String kms, KmsCall call, long nanos, boolean isSuccess) {
      assertThat(nanos).isNotNegative();
      told.add(kms + " " + call + " " + isSuccess);
    }

    @Override
    public void keyLookedUp(Cache cache, Lookup lookup) {
      told.add(cache + " " + lookup);
    }

    @Override
    public void keyEvent(KeyEvent event) {
      events.add(event);
    }
  }
}
