package io.asherah.reactive;

import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
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

class ConcurrencyTest {
  private static final int MANY = 1_000;

  @Test
  void firstEncryptsOfOnePartition_makeOneKeyOfEachKind() {
    try (Scenario scenario = new Scenario()) {
      List<DataRowRecord> records =
          Flux.range(0, MANY)
              .flatMap(
                  i ->
                      scenario
                          .session()
                          .encrypt(utf8("payload"))
                          .subscribeOn(Schedulers.parallel()),
                  MANY)
              .collectList()
              .block(Await.TIMEOUT);

      assertThat(records).hasSize(MANY);
      assertThat(parents(Objects.requireNonNull(records))).hasSize(1);
      assertThat(scenario.calls.take())
          .containsExactly(
              "loadLatest(IK)", "loadLatest(SK)", "encryptKey", "store(SK)", "store(IK)");
      assertThat(scenario.secrets.stats().liveSecrets()).isEqualTo(2);
    }
  }

  @Test
  void firstEncryptsOfManyPartitions_makeOneIntermediateKeyEach_andOneSystemKey() {
    CryptoPolicy policy = CryptoPolicy.builder().maxCachedIntermediateKeys(2 * MANY).build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "")) {
      List<DataRowRecord> records =
          Flux.range(0, 3 * MANY)
              .flatMap(
                  i ->
                      scenario
                          .factory
                          .session("partition" + i % MANY)
                          .encrypt(utf8("payload"))
                          .subscribeOn(Schedulers.parallel()),
                  3 * MANY)
              .collectList()
              .block(Await.TIMEOUT);

      assertThat(records).hasSize(3 * MANY);
      assertThat(parents(Objects.requireNonNull(records))).hasSize(MANY);
      assertThat(scenario.calls.count("store(SK)")).isOne();
      assertThat(scenario.calls.count("encryptKey")).isOne();
      assertThat(scenario.calls.count("decryptKey")).isZero();
      assertThat(scenario.calls.count("loadLatest(IK)")).isEqualTo(MANY);
      assertThat(scenario.calls.count("store(IK)")).isEqualTo(MANY);
      assertThat(scenario.factory.stats().cachedIntermediateKeys()).isEqualTo(MANY);
    }
  }

  @Test
  void moreKeysAtOnceThanMayWaitForLockedMemory_allGetIn() {
    try (Scenario scenario =
        new Scenario(new InMemoryMetastore(), CryptoPolicy.defaults(), "", 4)) {
      // All get in within five seconds, or those who wait are refused.
      int keys = 150;
      Long sealed =
          Flux.range(0, keys)
              .flatMap(
                  i ->
                      scenario
                          .factory
                          .session("partition" + i)
                          .encrypt(utf8("payload"))
                          .subscribeOn(Schedulers.parallel()),
                  keys)
              .count()
              .block(Await.TIMEOUT);

      assertThat(sealed).isEqualTo(keys);
      assertThat(scenario.calls.count("store(IK)")).isEqualTo(keys);
    }
  }

  @Test
  void continuationSchedulerWithoutTime_isEnough() {
    ExecutorService threads = Executors.newFixedThreadPool(2);
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(new InMemoryMetastore())
            .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
            .continuationScheduler(Schedulers.fromExecutorService(threads))
            .build();

    Long opened =
        Flux.range(0, MANY)
            .flatMap(
                i -> {
                  Session session = factory.session("partition" + i % 100);
                  return session.encryptToJson(utf8("payload")).flatMap(session::decryptJson);
                })
            .count()
            .block(Await.TIMEOUT);

    assertThat(opened).isEqualTo(MANY);
    factory.close().block(Await.TIMEOUT);
    threads.shutdown();
  }

  @Test
  void firstDecryptsOfOnePartition_loadEachKeyOnce() {
    InMemoryMetastore shared = new InMemoryMetastore();
    try (Scenario writer = new Scenario(shared, CryptoPolicy.defaults(), "");
        Scenario reader = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = Scenario.get(writer.session().encrypt(utf8("payload")));

      Long opened =
          Flux.range(0, MANY)
              .flatMap(
                  i -> reader.session().decrypt(record).subscribeOn(Schedulers.parallel()), MANY)
              .count()
              .block(Await.TIMEOUT);

      assertThat(opened).isEqualTo(MANY);
      assertThat(reader.calls.take()).containsExactly("load(IK)", "load(SK)", "decryptKey");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {MANY - 1, MANY})
  void subscribersThatCancelAtRandomMoments_changeNothingForTheOthers(int cancelling) {
    try (Scenario scenario = new Scenario()) {
      Random random = new Random(cancelling);
      Scheduler threads = Schedulers.newParallel("cancelling", 4);
      Queue<DataRowRecord> records = new ConcurrentLinkedQueue<>();
      Queue<Throwable> errors = new ConcurrentLinkedQueue<>();
      CountDownLatch started = new CountDownLatch(MANY - 1);
      CountDownLatch ended = new CountDownLatch(MANY);
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("loadLatest(IK)", answer -> gate.asMono().then(answer));
      Supplier<Disposable> subscribe =
          () ->
              scenario
                  .session()
                  .encrypt(utf8("payload"))
                  .doFinally(signal -> ended.countDown())
                  .subscribe(records::add, errors::add);
      Disposable first = subscribe.get();
      // One who leaves before a load was registered starts none.
      Await.until(() -> scenario.calls.count("loadLatest(IK)") == 1);
      for (int i = 1; i < MANY; i++) {
        int number = i;
        int micros = random.nextInt(3_000);
        threads.schedule(
            () -> {
              Disposable subscription = subscribe.get();
              if (number < cancelling) {
                threads.schedule(subscription::dispose, micros, TimeUnit.MICROSECONDS);
              }
              if (number == MANY / 2) {
                first.dispose();
                gate.tryEmitEmpty();
              }
              started.countDown();
            });
      }

      Await.until(() -> started.getCount() == 0 && ended.getCount() == 0);
      Await.until(() -> scenario.factory.stats().loads() == 0);
      assertThat(errors).isEmpty();
      assertThat(records.size()).isGreaterThanOrEqualTo(MANY - cancelling);
      assertThat(parents(List.copyOf(records)).size()).isLessThanOrEqualTo(1);
      assertThat(scenario.calls.take())
          .containsExactly(
              "loadLatest(IK)", "loadLatest(SK)", "encryptKey", "store(SK)", "store(IK)");
      // The load was cached for whoever comes next.
      assertThat(scenario.factory.stats().cachedIntermediateKeys()).isOne();
      assertThat(scenario.secrets.stats().liveSecrets()).isEqualTo(2);
      threads.dispose();
    }
  }

  @Test
  void oneCallAtATime_isEnoughForManyColdPartitions() {
    try (Scenario scenario = withOptions(options -> options.maxConcurrentCalls(1))) {
      InFlight inFlight = new InFlight(scenario);

      Long sealed =
          Flux.range(0, 500)
              .flatMap(i -> scenario.factory.session("partition" + i).encrypt(utf8("payload")), 500)
              .count()
              .block(Await.TIMEOUT);

      assertThat(sealed).isEqualTo(500);
      assertThat(inFlight.mostToMetastore.get()).isOne();
      assertThat(inFlight.mostToKms.get()).isOne();
    }
  }

  @Test
  void metastoreThatNeverAnswers_neverHasMoreCallsThanTheBound_andServesOnAfterwards() {
    try (Scenario scenario =
        withOptions(
            options ->
                options
                    .maxConcurrentCalls(3)
                    .callTimeout(Duration.ofSeconds(1))
                    .loadTimeout(Duration.ofSeconds(4)))) {
      for (String call : InFlight.TO_METASTORE) {
        scenario.calls.change(call, answer -> Mono.never());
      }
      InFlight inFlight = new InFlight(scenario);

      List<Throwable> errors =
          Flux.range(0, 200)
              .flatMap(
                  i ->
                      scenario
                          .factory
                          .session("partition" + i)
                          .encrypt(utf8("payload"))
                          .<Throwable>map(record -> new AssertionError("sealed"))
                          .onErrorResume(Mono::just),
                  200)
              .collectList()
              .block(Await.TIMEOUT);

      assertThat(errors)
          .hasSize(200)
          .allSatisfy(e -> assertThat(((AppEncryptionException) e).isRetryable()).isTrue());
      assertThat(inFlight.mostToMetastore.get()).isEqualTo(3);
      // For loads that nobody waits for any more nothing is asked, however many were queued.
      Await.until(() -> scenario.factory.stats().loads() == 0);
      long asked = scenario.calls.count("loadLatest(IK)");
      assertThat(asked).isLessThan(3 * 200);

      scenario.calls.answerAsBefore();
      assertThat(Scenario.get(scenario.session().encrypt(utf8("payload")))).isNotNull();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 5})
  void kmsThatAlwaysThrottles_isCalledAsOftenAsAllowedForEachLoad(int attempts) {
    try (Scenario scenario = withOptions(options -> options.callAttempts(attempts))) {
      KmsException throttled = new KmsException(KmsException.Kind.THROTTLED, "slow down", null);
      scenario.calls.fail("encryptKey", throttled);

      for (int load = 1; load <= 2; load++) {
        List<Throwable> errors =
            Flux.range(0, 100)
                .flatMap(
                    i ->
                        scenario
                            .session()
                            .encrypt(utf8("payload"))
                            .<Throwable>map(record -> new AssertionError("sealed"))
                            .onErrorResume(Mono::just),
                    100)
                .collectList()
                .block(Await.TIMEOUT);
        assertThat(errors).hasSize(100).allMatch(e -> e == throttled);
        // Those who subscribe while a load fails may start another one.
        long loads = scenario.calls.count("loadLatest(SK)");
        assertThat(scenario.calls.count("encryptKey")).isEqualTo(attempts * loads);
        scenario.calls.take();
      }
    }
  }

  @Test
  void errorThatIsNotRetryable_isNotRetried() {
    try (Scenario scenario = new Scenario()) {
      scenario.calls.fail(
          "encryptKey", new KmsException(KmsException.Kind.ACCESS_DENIED, "no", null));

      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyError(KmsException.class);

      assertThat(scenario.calls.count("encryptKey")).isOne();
    }
  }

  @Test
  void failureThatPasses_isNotNoticed() {
    try (Scenario scenario = new Scenario()) {
      AtomicInteger calls = new AtomicInteger();
      scenario.calls.change(
          "loadLatest(IK)",
          answer ->
              calls.getAndIncrement() < 2
                  ? Mono.error(new MetastoreException("down", null, true))
                  : answer);

      assertThat(Scenario.get(scenario.session().encrypt(utf8("payload")))).isNotNull();

      assertThat(scenario.calls.count("loadLatest(IK)")).isEqualTo(3);
    }
  }

  @Test
  void joinersOfALoad_goOnEachOnAWorkerOfItsOwn() {
    Scheduler workers = Schedulers.newParallel("joiner", 4);
    try (Scenario scenario = withOptions(options -> options.continuationScheduler(workers))) {
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("store(IK)", answer -> gate.asMono().then(answer));
      ConcurrentMap<String, AtomicInteger> sealedOn = new ConcurrentHashMap<>();
      CompletableFuture<Void> all =
          Flux.range(0, MANY)
              .flatMap(
                  i ->
                      scenario
                          .session()
                          .encrypt(utf8("payload"))
                          .doOnNext(
                              record ->
                                  sealedOn
                                      .computeIfAbsent(
                                          Thread.currentThread().getName(),
                                          name -> new AtomicInteger())
                                      .incrementAndGet()),
                  MANY)
              .then()
              .toFuture();
      Await.until(() -> scenario.calls.count("store(IK)") == 1);

      gate.tryEmitEmpty();
      all.orTimeout(30, TimeUnit.SECONDS).join();

      assertThat(sealedOn).hasSize(4);
      assertThat(sealedOn.values())
          .allSatisfy(count -> assertThat(count.get()).isLessThan(MANY / 2));
    }
    workers.dispose();
  }

  @Test
  void fullQueueOfLockedMemory_doesNotAskTheKmsAgain() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheNothing().build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "", 1)) {
      DataRowRecord record = Scenario.get(scenario.session().encrypt(utf8("payload")));
      scenario.calls.take();

      Long opened =
          Flux.range(0, 50)
              .flatMap(i -> scenario.session().decrypt(record), 50)
              .count()
              .block(Await.TIMEOUT);

      assertThat(opened).isEqualTo(50);
      assertThat(scenario.calls.count("decryptKey")).isEqualTo(50);
    }
  }

  @Test
  void answerThatNeverEnds_isAnErrorAfterTheCallTimeout_andGivesItsTurnBack() {
    try (Scenario scenario =
        withOptions(
            o -> o.maxConcurrentCalls(1).callAttempts(1).callTimeout(Duration.ofSeconds(3)))) {
      Scenario.get(scenario.session().encrypt(utf8("payload")));
      scenario.session().forget().block(Await.TIMEOUT);
      scenario.calls.change(
          "loadLatest(IK)", answer -> Mono.fromDirect(Flux.concat(answer, Mono.never())));

      StepVerifier.create(scenario.session().encrypt(utf8("payload")))
          .verifyErrorMessage("the metastore did not load the latest key within PT3S");

      scenario.calls.answerAsBefore();
      assertThat(Scenario.get(scenario.session().encrypt(utf8("payload")))).isNotNull();
    }
  }

  private static Scenario withOptions(UnaryOperator<SessionFactory.Builder> options) {
    return new Scenario(new InMemoryMetastore(), CryptoPolicy.defaults(), options);
  }

  /** Counts the calls under way, on top of whatever else is to happen to them. */
  private static final class InFlight {
    private static final List<String> TO_METASTORE =
        List.of(
            "loadLatest(IK)", "loadLatest(SK)", "load(IK)", "load(SK)", "store(IK)", "store(SK)");

    private final AtomicInteger mostToMetastore = new AtomicInteger();
    private final AtomicInteger mostToKms = new AtomicInteger();

    private InFlight(Scenario scenario) {
      AtomicInteger toMetastore = new AtomicInteger();
      AtomicInteger toKms = new AtomicInteger();
      TO_METASTORE.forEach(
          call ->
              scenario.calls.watch(call, answer -> counted(answer, toMetastore, mostToMetastore)));
      List.of("encryptKey", "decryptKey")
          .forEach(call -> scenario.calls.watch(call, answer -> counted(answer, toKms, mostToKms)));
    }

    private static Mono<Object> counted(
        Mono<Object> answer, AtomicInteger now, AtomicInteger most) {
      // Long enough for others to come if they may.
      return Mono.delay(Duration.ofMillis(1))
          .then(answer)
          .doOnSubscribe(s -> most.accumulateAndGet(now.incrementAndGet(), Math::max))
          // Not doFinally: the next call may begin on another thread before that is told.
          .doOnTerminate(now::decrementAndGet)
          .doOnCancel(now::decrementAndGet);
    }
  }

  private static Set<KeyMeta> parents(List<DataRowRecord> records) {
    return records.stream()
        .map(record -> record.key().parentKeyMeta().orElseThrow())
        .collect(Collectors.toSet());
  }
}
