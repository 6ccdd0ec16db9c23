package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.done;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.testsupport.Await;
import java.io.IOException;
import java.lang.ref.Reference;
import java.lang.ref.WeakReference;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.scheduler.VirtualTimeScheduler;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.services.kms.KmsAsyncClient;
import software.amazon.awssdk.services.kms.KmsServiceClientConfiguration;

/** How a client and its credentials are looked for. */
class KmsClientTest {
  private static final String REGION = "us-west-2";

  private final SecretFactory secrets =
      SecretFactory.builder().shutdownGrace(Duration.ZERO).build();
  private final Secret secret = get(secrets.create(bytes(1)));

  @AfterEach
  void close() {
    Reference.reachabilityFence(secret);
    secret.close();
    Await.until(() -> secrets.stats().liveSecrets() == 0);
    done(secrets.close());
  }

  private static AwsKeyManagementService kms(Function<String, KmsAsyncClient> clients) {
    return AwsKeyManagementService.builder()
        .region(REGION, "alias/key")
        .regionTimeout(KmsScenario.PATIENCE)
        .clientFactory(clients)
        .build();
  }

  /** Credentials that keep the thread that looks for them, while they are held. */
  private static final class Held implements Supplier<CompletableFuture<AwsCredentialsIdentity>> {
    private final AtomicInteger resolved = new AtomicInteger();
    private volatile CountDownLatch open = new CountDownLatch(0);

    @Override
    public CompletableFuture<AwsCredentialsIdentity> get() {
      resolved.incrementAndGet();
      try {
        assertThat(open.await(KmsScenario.PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
      return CompletableFuture.completedFuture(FakeClient.identity());
    }
  }

  @Test
  void callsThatWaitForCredentials_keepOneThread_andTheyAreLookedForOnce() {
    Held held = new Held();
    AwsKeyManagementService kms = kms(region -> FakeClient.with(held));
    byte[] wrapped = get(kms.encryptKey(secret));
    held.resolved.set(0);
    held.open = new CountDownLatch(1);
    Disposable.Composite calls = Disposables.composite();
    try {
      for (int i = 0; i < 3 * Schedulers.DEFAULT_BOUNDED_ELASTIC_SIZE; i++) {
        calls.add(
            (i % 2 == 0 ? kms.encryptKey(secret).then() : kms.decryptKey(wrapped).then())
                .subscribe());
      }
      Await.until(() -> held.resolved.get() == 1);
      // Those that wait no longer are no different.
      calls.dispose();

      for (int i = 0; i < 3; i++) {
        assertThat(
                Mono.fromSupplier(() -> 7)
                    .subscribeOn(Schedulers.boundedElastic())
                    .block(Await.TIMEOUT))
            .isEqualTo(7);
      }

      assertThat(held.resolved).hasValue(1);
      StepVerifier.create(kms.decryptKey(wrapped))
          .then(held.open::countDown)
          .assertNext(key -> assertThat(key.take()).isEqualTo(bytes(1)))
          .verifyComplete();
      assertThat(held.resolved).hasValue(1);
    } finally {
      held.open.countDown();
    }
    assertThat(unwrap(kms, wrapped)).isEqualTo(bytes(1));
    assertThat(held.resolved).hasValue(2);
  }

  @Test
  void whoeverNoLongerWaitsForCredentials_isForgotten_alsoWhereTheyNeverCome() {
    AwsKeyManagementService kms = kms(region -> FakeClient.with(CompletableFuture::new));
    WeakReference<Object> waiter = waitAndGiveUp(kms);
    Await.until(
        () -> {
          System.gc();
          return waiter.get() == null;
        });
    Reference.reachabilityFence(kms);
  }

  /** Credentials that come when a test has them come. */
  private static final class Promised
      implements Supplier<CompletableFuture<AwsCredentialsIdentity>> {
    private final List<CompletableFuture<AwsCredentialsIdentity>> all = new ArrayList<>();

    @Override
    public CompletableFuture<AwsCredentialsIdentity> get() {
      CompletableFuture<AwsCredentialsIdentity> next = new CompletableFuture<>();
      all.add(next);
      return next;
    }

    int count() {
      return all.size();
    }

    void come(int index) {
      all.get(index).complete(FakeClient.identity());
    }
  }

  private static KmsClient promising(Promised promised) {
    FakeClient client = FakeClient.with(promised);
    return KmsClient.ofUser(REGION, name -> client);
  }

  /** Whether credentials came to somebody who asked. */
  private static AtomicBoolean ask(KmsClient client) {
    AtomicBoolean has = new AtomicBoolean();
    client.ready().subscribe(any -> has.set(true));
    return has;
  }

  private static void inVirtualTime(Consumer<VirtualTimeScheduler> test) {
    VirtualTimeScheduler time = VirtualTimeScheduler.getOrSet();
    try {
      test.accept(time);
    } finally {
      VirtualTimeScheduler.reset();
    }
  }

  @Test
  void credentialsThatNeverCome_areLookedForAnew_afterAWhile() {
    inVirtualTime(
        time -> {
          Promised promised = new Promised();
          KmsClient client = promising(promised);
          ask(client);
          time.advanceTimeBy(KmsClient.PATIENCE.minusMillis(1));
          ask(client);
          assertThat(promised.count()).isEqualTo(1);

          time.advanceTimeBy(Duration.ofMillis(1));
          AtomicBoolean later = ask(client);

          assertThat(promised.count()).isEqualTo(2);
          assertThat(later).isFalse();
          promised.come(1);
          assertThat(later).isTrue();
        });
  }

  @Test
  void credentialsThatComeAfterOthersWereLookedFor_goToWhoWaitsForThem_andDoNoHarm() {
    inVirtualTime(
        time -> {
          Promised promised = new Promised();
          KmsClient client = promising(promised);
          AtomicBoolean first = ask(client);
          time.advanceTimeBy(KmsClient.PATIENCE);
          AtomicBoolean second = ask(client);
          assertThat(promised.count()).isEqualTo(2);

          promised.come(0);
          assertThat(first).isTrue();
          assertThat(second).isFalse();
          // The newer ones are still looked for, once.
          AtomicBoolean third = ask(client);
          assertThat(promised.count()).isEqualTo(2);
          assertThat(third).isFalse();

          promised.come(1);
          assertThat(second).isTrue();
          assertThat(third).isTrue();
          ask(client);
          assertThat(promised.count()).isEqualTo(3);
        });
  }

  @Test
  void credentialsThatCameInTime_doNotEndTheNextSearch() {
    inVirtualTime(
        time -> {
          Promised promised = new Promised();
          KmsClient client = promising(promised);
          ask(client);
          time.advanceTimeBy(KmsClient.PATIENCE.minusMillis(1));
          promised.come(0);
          ask(client);
          assertThat(promised.count()).isEqualTo(2);

          time.advanceTimeBy(KmsClient.PATIENCE.minusMillis(1));
          ask(client);
          assertThat(promised.count()).isEqualTo(2);
          time.advanceTimeBy(Duration.ofMillis(1));
          ask(client);
          assertThat(promised.count()).isEqualTo(3);
        });
  }

  @Test
  void regionWhosePromisedCredentialsNeverCame_isNotLost() {
    AtomicInteger asked = new AtomicInteger();
    FakeClient client =
        FakeClient.with(
            () ->
                asked.getAndIncrement() == 0
                    ? new CompletableFuture<>()
                    : CompletableFuture.completedFuture(FakeClient.identity()));
    StepVerifier.withVirtualTime(
            () -> {
              AwsKeyManagementService kms =
                  AwsKeyManagementService.builder()
                      .region(REGION, "alias/key")
                      .clientFactory(region -> client)
                      .build();
              return kms.warmUp()
                  .thenReturn(new byte[0])
                  .onErrorResume(
                      e -> Mono.delay(Duration.ofMillis(1)).then(kms.encryptKey(secret)));
            })
        .expectSubscription()
        .expectNoEvent(KmsClient.PATIENCE)
        .thenAwait(Duration.ofMillis(1))
        .assertNext(wrapped -> assertThat(wrapped).isNotEmpty())
        .verifyComplete();
    assertThat(asked).hasValue(2);
  }

  private static WeakReference<Object> waitAndGiveUp(AwsKeyManagementService kms) {
    Object waiter = new Object();
    kms.warmUp().doOnTerminate(waiter::hashCode).subscribe().dispose();
    return new WeakReference<>(waiter);
  }

  @Test
  void credentialsThatCameOrFailed_areLookedForAgainByTheNextCall() {
    AtomicInteger resolved = new AtomicInteger();
    AwsKeyManagementService kms =
        kms(
            region ->
                FakeClient.with(
                    () ->
                        resolved.incrementAndGet() % 2 == 0
                            ? CompletableFuture.failedFuture(SdkClientException.create("none"))
                            : CompletableFuture.completedFuture(FakeClient.identity())));
    for (int i = 1; i < 6; i += 2) {
      done(kms.warmUp());
      assertThat(resolved).hasValue(i);
      StepVerifier.create(kms.warmUp()).verifyError(KmsException.class);
      assertThat(resolved).hasValue(i + 1);
    }
  }

  static Stream<Supplier<@Nullable KmsServiceClientConfiguration>> configurations() {
    return Stream.of(
        () -> null,
        () -> KmsServiceClientConfiguration.builder().build(),
        () -> {
          throw new UnsupportedOperationException("intended");
        });
  }

  /** It gets them by itself. */
  @ParameterizedTest
  @MethodSource("configurations")
  void clientThatDoesNotTellItsCredentials_isUsed(
      Supplier<@Nullable KmsServiceClientConfiguration> configuration) {
    FakeClient client = FakeClient.telling(configuration);
    AwsKeyManagementService kms = kms(region -> client);

    done(kms.warmUp());
    assertThat(unwrap(kms, get(kms.encryptKey(secret)))).isEqualTo(bytes(1));

    assertThat(client.requests())
        .hasSize(2)
        .allMatch(
            request ->
                request
                    .overrideConfiguration()
                    .orElseThrow()
                    .credentialsIdentityProvider()
                    .isEmpty());
  }

  static Stream<Arguments> failures() {
    return Stream.of(
        Arguments.of(new IllegalStateException("no role"), Kind.OTHER),
        Arguments.of(new NoClassDefFoundError("sts"), Kind.OTHER),
        Arguments.of(new NullPointerException(), Kind.OTHER),
        Arguments.of(new IOException("not of the SDK"), Kind.OTHER),
        Arguments.of(SdkClientException.create("no role"), Kind.ACCESS_DENIED),
        Arguments.of(
            SdkClientException.create("no role", new IOException("refused")), Kind.UNAVAILABLE),
        Arguments.of(
            SdkClientException.create("no role", new TimeoutException("late")), Kind.UNAVAILABLE));
  }

  /** Wherever it comes from: the factory, the provider, or what the provider promised. */
  @ParameterizedTest
  @MethodSource("failures")
  void failureToGetReady_isOfItsKind_andNamesTheCause(Throwable e, Kind kind) {
    for (Function<String, KmsAsyncClient> clients :
        Stream.<Function<String, KmsAsyncClient>>of(
                region -> KmsClientTest.<KmsAsyncClient, RuntimeException>sneak(e),
                region ->
                    FakeClient.telling(
                        () ->
                            KmsClientTest.<KmsServiceClientConfiguration, RuntimeException>sneak(
                                e)),
                region ->
                    FakeClient.with(
                        () ->
                            KmsClientTest
                                .<CompletableFuture<AwsCredentialsIdentity>, RuntimeException>sneak(
                                    e)),
                region -> FakeClient.with(() -> CompletableFuture.failedFuture(e)),
                region ->
                    FakeClient.with(
                        () ->
                            CompletableFuture.supplyAsync(
                                () -> KmsClientTest.<AwsCredentialsIdentity, Error>sneak(e))))
            .toList()) {
      StepVerifier.create(kms(clients).encryptKey(secret))
          .verifyErrorSatisfies(
              failure -> {
                assertThat(((KmsException) failure).kind()).isEqualTo(kind);
                assertThat(failure).hasMessageContaining(REGION).hasCause(e);
              });
    }
  }

  @SuppressWarnings("unchecked")
  private static <T, E extends Throwable> T sneak(Throwable e) throws E {
    throw (E) e;
  }

  @Test
  void providerThatReturnsNothing_isAnError() {
    @SuppressWarnings("NullAway") // that is what is tested
    FakeClient client = FakeClient.with(() -> null);
    StepVerifier.create(kms(region -> client).encryptKey(secret))
        .verifyErrorSatisfies(e -> assertThat(((KmsException) e).kind()).isEqualTo(Kind.OTHER));
    assertThat(client.requests()).isEmpty();
  }
}
