package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.done;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import io.asherah.reactive.kms.aws.KeyEnvelope.Kek;
import io.asherah.reactive.kms.aws.KmsScenario.Failed;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.spi.MetricsRecorder;
import io.asherah.reactive.testsupport.Await;
import java.lang.ref.Reference;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.scheduler.VirtualTimeScheduler;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.services.kms.model.GenerateDataKeyResponse;
import software.amazon.awssdk.services.kms.model.KmsRequest;

/** How long a region is waited for, and where. */
class KmsRegionTest {
  private static final String HOOK = KmsRegionTest.class.getName();
  private static final Duration SHORT = Duration.ofMillis(1_500);
  private static final Duration LONG = Duration.ofSeconds(20);
  private static final String A = "us-west-2";
  private static final String B = "us-east-1";
  private static final String C = "eu-west-1";

  private final SecretFactory secrets =
      SecretFactory.builder().shutdownGrace(Duration.ZERO).build();
  private final Secret secret = get(secrets.create(bytes(1)));

  @AfterEach
  void close() {
    Schedulers.resetOnScheduleHook(HOOK);
    Reference.reachabilityFence(secret);
    secret.close();
    Await.until(() -> secrets.stats().liveSecrets() == 0);
    done(secrets.close());
  }

  /** Whose credentials never come, and keep no thread. */
  private static FakeClient stalled() {
    return FakeClient.with(CompletableFuture::new);
  }

  private static FakeClient silent() {
    return FakeClient.ready().sending(any -> new CompletableFuture<>());
  }

  private static KmsRegion region(FakeClient client, Duration timeout) {
    return new KmsRegion(A, "alias/key", KmsClient.ofUser(A, name -> client), timeout);
  }

  private static DataKey dataKey() {
    DataKey dataKey = new DataKey();
    dataKey.fill(bytes(9));
    return dataKey;
  }

  private static AwsKeyManagementService.Builder twoRegions(FakeClient a, FakeClient b) {
    return AwsKeyManagementService.builder()
        .region(A, "alias/key")
        .region(B, "alias/key")
        .clientFactory(region -> region.equals(A) ? a : b);
  }

  private static void isLate(Answer<?> answer) {
    assertThat(answer.isFailure()).isTrue();
    assertThat(answer.failure().kind()).isEqualTo(Kind.TIMEOUT);
  }

  // How long.

  @ParameterizedTest
  @CsvSource({
    "generate, false, PT1.5S, PT1.5S",
    "generate, false, PT20S, PT20S",
    "generate, true, PT1.5S, PT10S",
    "generate, true, PT20S, PT20S",
    "decrypt, false, PT1.5S, PT1.5S",
    "decrypt, false, PT20S, PT20S",
    "decrypt, true, PT1.5S, PT10S",
    "decrypt, true, PT20S, PT20S",
    "encrypt, false, PT1.5S, PT1.5S",
    "encrypt, false, PT20S, PT20S",
    "warmUp, true, PT1.5S, PT10S",
    "warmUp, true, PT20S, PT10S"
  })
  void credentialsThatNeverCome_areWaitedForSoLong(
      String operation, boolean isLast, Duration timeout, Duration patience) {
    StepVerifier.withVirtualTime(
            () -> call(operation, region(stalled(), timeout), dataKey(), isLast))
        .expectSubscription()
        .expectNoEvent(patience.minusMillis(1))
        .thenAwait(Duration.ofMillis(1))
        .assertNext(
            answer -> {
              isLate(answer);
              assertThat(answer.failure())
                  .hasMessageContaining(
                      "no credentials for %s within %d ms".formatted(A, patience.toMillis()));
            })
        .verifyComplete();
  }

  private static Mono<Answer<?>> call(
      String operation, KmsRegion region, DataKey dataKey, boolean isLast) {
    return switch (operation) {
      case "generate" -> region.generateDataKey(region.prepare(), dataKey, isLast).map(any -> any);
      case "decrypt" -> region.decrypt(dataKey, bytes(2), null, isLast).map(any -> any);
      case "encrypt" -> region.encrypt(region.prepare(), dataKey).map(any -> any);
      default -> region.warmUp().map(any -> any);
    };
  }

  @ParameterizedTest
  @CsvSource({"generate, GenerateDataKey", "decrypt, Decrypt", "encrypt, Encrypt"})
  void answerThatNeverComes_isWaitedForAsLongAsTheRegionTimeout_alsoByTheLast(
      String operation, String named) {
    FakeClient client = silent();
    StepVerifier.withVirtualTime(() -> call(operation, region(client, SHORT), dataKey(), true))
        .expectSubscription()
        .expectNoEvent(SHORT.minusMillis(1))
        .thenAwait(Duration.ofMillis(1))
        .assertNext(
            answer -> {
              isLate(answer);
              assertThat(answer.failure()).hasMessageContaining(named + " was not answered");
            })
        .verifyComplete();
    assertThat(client.operations()).containsExactly(named);
  }

  /** So that the SDK gives it up, and not before a late answer could be wiped. */
  @ParameterizedTest
  @CsvSource({"generate", "decrypt", "encrypt"})
  void callOfTheSdk_mayTakeTwoSecondsMore(String operation) {
    FakeClient client = FakeClient.ready();
    assertThat(get(call(operation, region(client, LONG), dataKey(), true)).isFailure()).isFalse();
    assertThat(client.requests())
        .singleElement()
        .satisfies(
            request -> assertThat(limit(request)).isEqualTo(LONG.plus(Duration.ofSeconds(2))));
  }

  private static Duration limit(KmsRequest request) {
    return request.overrideConfiguration().orElseThrow().apiCallTimeout().orElseThrow();
  }

  /** Also where it came while nobody waited any more. */
  @Test
  void answerThatComesAfterTheRegionTimeout_isWiped() {
    Queue<CompletableFuture<Object>> answers = new ConcurrentLinkedQueue<>();
    Queue<Object> responses = new ConcurrentLinkedQueue<>();
    FakeClient client =
        FakeClient.ready()
            .sending(
                response -> {
                  CompletableFuture<Object> answer = new CompletableFuture<>();
                  responses.add(response);
                  answers.add(answer);
                  return answer;
                });
    DataKey dataKey = new DataKey();
    StepVerifier.withVirtualTime(() -> call("generate", region(client, SHORT), dataKey, true))
        .thenAwait(SHORT)
        .assertNext(KmsRegionTest::isLate)
        .verifyComplete();
    dataKey.close();
    var response = (GenerateDataKeyResponse) Objects.requireNonNull(responses.poll());
    assertThat(response.plaintext().asByteArray()).containsOnly(7);

    Objects.requireNonNull(answers.poll()).complete(response);

    assertThat(response.plaintext().asByteArray()).containsOnly(0);
  }

  @Test
  void stalledRegion_givesWayAfterTheRegionTimeout_whereAKeyIsOpened() {
    byte[] wrapped =
        get(twoRegions(FakeClient.ready(), FakeClient.ready()).build().encryptKey(secret));
    FakeClient b = FakeClient.ready();
    StepVerifier.withVirtualTime(
            () -> twoRegions(stalled(), b).regionTimeout(SHORT).build().decryptKey(wrapped))
        .expectSubscription()
        .expectNoEvent(SHORT.minusMillis(1))
        .then(() -> assertThat(b.requests()).isEmpty())
        .thenAwait(Duration.ofMillis(1))
        .assertNext(key -> assertThat(key.take()).isEqualTo(bytes(1)))
        .verifyComplete();
  }

  @Test
  void stalledRegion_givesWayAfterTheRegionTimeout_whereAKeyIsWrapped_andIsLeftOut() {
    FakeClient b = FakeClient.ready();
    StepVerifier.withVirtualTime(
            () -> twoRegions(stalled(), b).regionTimeout(SHORT).build().encryptKey(secret))
        .expectSubscription()
        .expectNoEvent(SHORT.minusMillis(1))
        .then(() -> assertThat(b.requests()).isEmpty())
        // And is not waited for once more, to wrap the data key.
        .thenAwait(Duration.ofMillis(1))
        .assertNext(
            envelope ->
                assertThat(KeyEnvelope.fromJson(envelope).keks())
                    .extracting(Kek::region)
                    .containsExactly(B))
        .verifyComplete();
    assertThat(b.operations()).containsExactly("GenerateDataKey");
  }

  /** A region whose data key, or whose credentials, never come. */
  enum Dead {
    SILENT,
    STALLED
  }

  private static FakeClient dead(Dead dead) {
    return dead == Dead.SILENT ? silent() : stalled();
  }

  private static FakeClient slow(Duration delay) {
    return FakeClient.ready()
        .sending(response -> Mono.delay(delay).thenReturn(response).toFuture());
  }

  private static AwsKeyManagementService.Builder threeRegions(
      Map<String, FakeClient> clients, MetricsRecorder recorder) {
    return AwsKeyManagementService.builder()
        .region(A, "alias/key")
        .region(B, "alias/key")
        .region(C, "alias/key")
        .metricsRecorder(recorder)
        .clientFactory(region -> Objects.requireNonNull(clients.get(region)));
  }

  private static Failed timeout(String region) {
    return new Failed("aws", region, Kind.TIMEOUT);
  }

  /** With the defaults: a session factory gives up after five seconds. */
  @ParameterizedTest
  @EnumSource
  void twoDeadRegionsOfThree_areWaitedForOnceEach(Dead dead) {
    KmsScenario.Recorder recorder = new KmsScenario.Recorder();
    Map<String, FakeClient> clients =
        Map.of(A, dead(dead), B, dead(dead), C, slow(Duration.ofMillis(500)));
    try (Log log = new Log()) {
      StepVerifier.withVirtualTime(() -> threeRegions(clients, recorder).build().encryptKey(secret))
          .expectSubscription()
          .expectNoEvent(Duration.ofMillis(3_499))
          .thenAwait(Duration.ofMillis(1))
          .assertNext(
              envelope ->
                  assertThat(KeyEnvelope.fromJson(envelope).keks())
                      .extracting(Kek::region)
                      .containsExactly(C))
          .verifyComplete();
      assertThat(log.warnings())
          .satisfiesExactly(
              made -> assertThat(made).startsWith(A + " could not make a data key: "),
              made -> assertThat(made).startsWith(B + " could not make a data key: "),
              leftOut ->
                  assertThat(leftOut)
                      .startsWith(A + " will not be able to open the new system key: "),
              leftOut ->
                  assertThat(leftOut)
                      .startsWith(B + " will not be able to open the new system key: "));
    }
    assertThat(recorder.take()).containsExactly(timeout(A), timeout(B));
    List<String> asked = dead == Dead.SILENT ? List.of("GenerateDataKey") : List.of();
    assertThat(client(clients, A).operations()).isEqualTo(asked);
    assertThat(client(clients, B).operations()).isEqualTo(asked);
    assertThat(client(clients, C).operations()).containsExactly("GenerateDataKey");
  }

  private static FakeClient client(Map<String, FakeClient> clients, String region) {
    return Objects.requireNonNull(clients.get(region));
  }

  @ParameterizedTest
  @EnumSource
  void twoDeadRegionsOfThree_areAnErrorThatMayPass_whereTwoAreRequired(Dead dead) {
    KmsScenario.Recorder recorder = new KmsScenario.Recorder();
    Map<String, FakeClient> clients =
        Map.of(A, dead(dead), B, dead(dead), C, slow(Duration.ofMillis(500)));
    StepVerifier.withVirtualTime(
            () -> threeRegions(clients, recorder).minimumRegions(2).build().encryptKey(secret))
        .expectSubscription()
        .expectNoEvent(Duration.ofMillis(3_499))
        .thenAwait(Duration.ofMillis(1))
        .verifyErrorSatisfies(
            e -> {
              assertThat(((KmsException) e).kind()).isEqualTo(Kind.TIMEOUT);
              assertThat(e)
                  .hasMessageContaining("1 of 3, and minimumRegions is 2")
                  .hasMessageContaining(A)
                  .hasMessageContaining(B);
              assertThat(e.getSuppressed()).hasSize(1);
            });
    assertThat(recorder.take()).containsExactly(timeout(A), timeout(B));
  }

  /** It is asked again only where that need not be waited for. */
  @Test
  void regionThatFailedAtOnce_isAskedAgainToWrap_andOneThatWasLateIsNot() {
    KmsScenario.Recorder recorder = new KmsScenario.Recorder();
    FakeClient failing =
        FakeClient.ready()
            .sending(
                response ->
                    response instanceof GenerateDataKeyResponse
                        ? CompletableFuture.failedFuture(SdkClientException.create("intended"))
                        : CompletableFuture.completedFuture(response));
    Map<String, FakeClient> clients = Map.of(A, failing, B, silent(), C, FakeClient.ready());
    StepVerifier.withVirtualTime(() -> threeRegions(clients, recorder).build().encryptKey(secret))
        .thenAwait(SHORT)
        .assertNext(
            envelope ->
                assertThat(KeyEnvelope.fromJson(envelope).keks())
                    .extracting(Kek::region)
                    .containsExactly(A, C))
        .verifyComplete();
    assertThat(failing.operations()).containsExactly("GenerateDataKey", "Encrypt");
    assertThat(client(clients, B).operations()).containsExactly("GenerateDataKey");
    assertThat(recorder.take()).containsExactly(new Failed("aws", A, Kind.UNAVAILABLE), timeout(B));
  }

  /** Of a call, and not of one that was made before. */
  @Test
  void regionThatWasLate_isAskedAgainByTheNextCall() {
    AtomicInteger calls = new AtomicInteger();
    FakeClient a =
        FakeClient.ready()
            .sending(
                response ->
                    calls.getAndIncrement() == 0
                        ? new CompletableFuture<>()
                        : CompletableFuture.completedFuture(response));
    StepVerifier.withVirtualTime(
            () -> {
              AwsKeyManagementService kms = twoRegions(a, FakeClient.ready()).build();
              return kms.encryptKey(secret).concatWith(kms.encryptKey(secret));
            })
        .thenAwait(SHORT)
        .assertNext(
            envelope ->
                assertThat(KeyEnvelope.fromJson(envelope).keks())
                    .extracting(Kek::region)
                    .containsExactly(B))
        .assertNext(
            envelope ->
                assertThat(KeyEnvelope.fromJson(envelope).keks())
                    .extracting(Kek::region)
                    .containsExactly(A, B))
        .verifyComplete();
  }

  // What is wrong with a client.

  @ParameterizedTest
  @CsvSource({"generate", "decrypt", "encrypt"})
  void illegalArgumentOfTheUsersClient_isTold_whateverItDoesWithIt(String operation) {
    IllegalArgumentException mine = new IllegalArgumentException("mine");
    for (Function<Object, CompletableFuture<?>> sender :
        List.<Function<Object, CompletableFuture<?>>>of(
            any -> {
              throw mine;
            },
            any -> CompletableFuture.failedFuture(mine))) {
      FakeClient client = FakeClient.ready().sending(sender);
      Answer<?> answer = get(call(operation, region(client, LONG), dataKey(), true));
      assertThat(answer.failure().kind()).isEqualTo(Kind.OTHER);
      assertThat(answer.failure())
          .hasCause(mine)
          .hasMessageContaining("the client for " + A + " failed");
    }
  }

  /** As other implementations may write it. */
  @Test
  void entryInUpperCase_isOpenedByItsRegion() {
    AwsKeyManagementService kms = twoRegions(FakeClient.ready(), FakeClient.ready()).build();
    KeyEnvelope envelope = KeyEnvelope.fromJson(get(kms.encryptKey(secret)));
    List<Kek> upper =
        envelope.keks().stream()
            .filter(kek -> kek.region().equals(A))
            .map(kek -> new Kek("US-WEST-2", kek.arn(), kek.encryptedKek()))
            .toList();
    assertThat(upper).hasSize(1);

    assertThat(unwrap(kms, new KeyEnvelope(envelope.encryptedKey(), upper).toJson()))
        .isEqualTo(bytes(1));
  }

  @Test
  void lastRegion_isWaitedForLonger_whereTheOthersHaveFailed() {
    FakeClient b = stalled();
    StepVerifier.withVirtualTime(
            () -> twoRegions(stalled(), b).regionTimeout(SHORT).build().encryptKey(secret))
        .expectSubscription()
        .expectNoEvent(SHORT.plusSeconds(10).minusMillis(1))
        .thenAwait(Duration.ofMillis(1))
        .verifyErrorSatisfies(e -> assertThat(((KmsException) e).kind()).isEqualTo(Kind.TIMEOUT));
  }

  // Where.

  @Test
  void answers_areGoneOnWith_onThreadsThatMayWait() throws InterruptedException {
    ExecutorService eventLoop =
        Executors.newSingleThreadExecutor(task -> new Thread(task, "event-loop"));
    Queue<String> threads = new ConcurrentLinkedQueue<>();
    MetricsRecorder recorder =
        new MetricsRecorder() {
          @Override
          public void kmsRegionFailed(String kms, String region, Kind kind) {
            threads.add(Thread.currentThread().getName());
          }
        };
    try {
      Function<Object, CompletableFuture<?>> answering =
          response -> CompletableFuture.supplyAsync(() -> response, eventLoop);
      Function<Object, CompletableFuture<?>> failing =
          response ->
              CompletableFuture.supplyAsync(
                  () -> {
                    throw SdkClientException.create("intended");
                  },
                  eventLoop);
      FakeClient a =
          FakeClient.with(() -> CompletableFuture.supplyAsync(FakeClient::identity, eventLoop));
      FakeClient b =
          FakeClient.with(() -> CompletableFuture.supplyAsync(FakeClient::identity, eventLoop));
      AwsKeyManagementService kms =
          twoRegions(a, b).regionTimeout(KmsScenario.PATIENCE).metricsRecorder(recorder).build();
      for (FakeClient failed : List.of(a, b)) {
        a.sending(answering);
        b.sending(answering);
        byte[] wrapped = get(kms.encryptKey(secret));
        failed.sending(failing);
        get(
            kms.encryptKey(secret)
                .doOnNext(
                    any ->
                        assertThat(Thread.currentThread().getName()).isNotEqualTo("event-loop")));
        assertThat(
                get(kms.decryptKey(wrapped)
                        .doOnNext(any -> threads.add(Thread.currentThread().getName())))
                    .take())
            .isEqualTo(bytes(1));
        done(kms.warmUp().doOnTerminate(() -> threads.add(Thread.currentThread().getName())));
      }
      a.sending(failing);
      b.sending(failing);
      StepVerifier.create(
              kms.encryptKey(secret)
                  .doOnError(any -> threads.add(Thread.currentThread().getName())))
          .verifyError(KmsException.class);
    } finally {
      eventLoop.shutdown();
      assertThat(
              eventLoop.awaitTermination(
                  Await.TIMEOUT.toSeconds(), java.util.concurrent.TimeUnit.SECONDS))
          .isTrue();
    }
    // Twice: one region failed twice or once, one key was opened, all were warmed up; one error.
    assertThat(threads).hasSizeGreaterThan(8).allMatch(name -> name.startsWith("boundedElastic"));
  }

  // Behind others.

  /** Keeps the tasks that begin calls from threads, as others do that were there before. */
  private static final class FullScheduler {
    private final Queue<Runnable> queued = new ConcurrentLinkedQueue<>();
    private final AtomicInteger running = new AtomicInteger();

    FullScheduler() {
      Schedulers.onScheduleHook(
          HOOK,
          task -> {
            if (task instanceof CompletableFuture.AsynchronousCompletionTask) {
              queued.add(task);
              return () -> {};
            }
            return () -> {
              running.incrementAndGet();
              try {
                task.run();
              } finally {
                running.decrementAndGet();
              }
            };
          });
    }

    /** Returns when one is queued, and whoever queued it has gone. */
    void awaitQueued() {
      Await.until(() -> !queued.isEmpty() && running.get() == 0);
    }

    void runAll() {
      for (Runnable next = queued.poll(); next != null; next = queued.poll()) {
        next.run();
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"generate", "decrypt", "encrypt"})
  void callThatWasQueuedUntilItsLimitHadPassed_isNotBegun(String operation) {
    FakeClient client = FakeClient.ready();
    DataKey dataKey = dataKey();
    FullScheduler full = new FullScheduler();

    // Its threads are real ones, and only the limit is of virtual time.
    KmsRegion region = region(client, SHORT);
    VirtualTimeScheduler time = VirtualTimeScheduler.getOrSet();
    try {
      CompletableFuture<Answer<?>> answer = call(operation, region, dataKey, true).toFuture();
      full.awaitQueued();
      time.advanceTimeBy(SHORT);
      isLate(get(Mono.fromFuture(answer)));
    } finally {
      VirtualTimeScheduler.reset();
    }
    assertThat(full.queued).hasSize(1);
    full.runAll();

    assertThat(client.requests()).isEmpty();
    assertThat(dataKey.plaintext()).isEqualTo(bytes(9));
    dataKey.close();
    assertThat(dataKey.plaintext()).containsOnly(0);
  }

  @ParameterizedTest
  @CsvSource({"generate", "decrypt", "encrypt"})
  void callThatWasQueuedUntilItsSubscriberWasGone_isNotBegun(String operation) {
    FakeClient client = FakeClient.ready();
    DataKey dataKey = dataKey();
    FullScheduler full = new FullScheduler();

    Disposable subscriber =
        call(operation, region(client, KmsScenario.PATIENCE), dataKey, true).subscribe();
    full.awaitQueued();
    subscriber.dispose();
    full.runAll();

    assertThat(client.requests()).isEmpty();
    dataKey.close();
    assertThat(dataKey.plaintext()).containsOnly(0);
  }

  @ParameterizedTest
  @CsvSource({"generate, GenerateDataKey", "decrypt, Decrypt", "encrypt, Encrypt"})
  void callThatWasQueued_isBegunWhereSomebodyWaits(String operation, String named) {
    FakeClient client = FakeClient.ready();
    FullScheduler full = new FullScheduler();

    CompletableFuture<Answer<?>> answer =
        call(operation, region(client, KmsScenario.PATIENCE), dataKey(), true).toFuture();
    full.awaitQueued();
    full.runAll();

    assertThat(get(Mono.fromFuture(answer)).isFailure()).isFalse();
    assertThat(client.operations()).containsExactly(named);
  }

  /** Whichever task it is that the scheduler does not take. */
  @Test
  void fullScheduler_isAnErrorThatMayPass_andNothingIsLeft() {
    FakeClient client = FakeClient.ready();
    AwsKeyManagementService kms =
        AwsKeyManagementService.builder()
            .region(A, "alias/key")
            .regionTimeout(KmsScenario.PATIENCE)
            .clientFactory(region -> client)
            .build();
    byte[] wrapped = get(kms.encryptKey(secret));
    AtomicInteger tasks = new AtomicInteger();
    AtomicInteger refused = new AtomicInteger();
    Schedulers.onScheduleHook(
        HOOK,
        task -> {
          if (isOfBoundedElastic() && tasks.getAndDecrement() == 0) {
            refused.incrementAndGet();
            throw new RejectedExecutionException("intended");
          }
          return task;
        });
    int failed = 0;
    for (int at = 0; refused.get() == at; at++) {
      tasks.set(at);
      Object result =
          get(kms.decryptKey(wrapped).<Object>map(key -> key).onErrorResume(Mono::just));
      if (result instanceof KmsException e) {
        failed++;
        assertThat(e.kind()).isEqualTo(Kind.UNAVAILABLE);
        assertThat(e).hasMessageContaining(A).hasMessageContaining("boundedElastic");
      } else {
        assertThat(((io.asherah.reactive.spi.CryptoKey) result).take()).isEqualTo(bytes(1));
      }
      tasks.set(-1);
      assertThat(unwrap(kms, wrapped)).isEqualTo(bytes(1));
    }
    // To look for credentials, to go on with them, to make the call, and to go on with its answer.
    assertThat(failed).isEqualTo(4);
  }

  private static boolean isOfBoundedElastic() {
    return StackWalker.getInstance()
        .walk(
            frames ->
                frames.anyMatch(frame -> frame.getClassName().contains("BoundedElasticScheduler")));
  }
}
