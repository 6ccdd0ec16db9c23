package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.done;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import io.asherah.reactive.kms.aws.KmsScenario.Failed;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testsupport.Await;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.scheduler.VirtualTimeScheduler;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.core.retry.RetryMode;
import software.amazon.awssdk.core.retry.RetryPolicy;
import software.amazon.awssdk.http.SdkHttpConfigurationOption;
import software.amazon.awssdk.http.async.AsyncExecuteRequest;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.utils.AttributeMap;
import software.amazon.awssdk.utils.SdkAutoCloseable;

/** Where clients and credentials come from, when they are made ready, and who closes them. */
class ClientsIT {
  private final KmsScenario scenario = new KmsScenario(3);

  @AfterEach
  void close() {
    scenario.close();
  }

  /** Credentials that can be closed, wait and fail. */
  private static final class Credentials implements AwsCredentialsProvider, SdkAutoCloseable {
    final AtomicInteger resolved = new AtomicInteger();
    final AtomicBoolean isClosed = new AtomicBoolean();
    volatile CountDownLatch open = new CountDownLatch(0);
    volatile RuntimeException failure = SdkClientException.create("no role");
    volatile boolean isFailing;

    @Override
    public AwsCredentials resolveCredentials() {
      resolved.incrementAndGet();
      try {
        assertThat(open.await(KmsScenario.PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
      if (isFailing) {
        throw failure;
      }
      return KmsScenario.credentials().resolveCredentials();
    }

    @Override
    public void close() {
      isClosed.set(true);
    }
  }

  /** Tells whether it was closed. */
  private static final class ClosingHttp implements SdkAsyncHttpClient {
    private final SdkAsyncHttpClient http;
    private final AtomicInteger closed;

    ClosingHttp(SdkAsyncHttpClient http, AtomicInteger closed) {
      this.http = http;
      this.closed = closed;
    }

    @Override
    public CompletableFuture<Void> execute(AsyncExecuteRequest request) {
      return http.execute(request);
    }

    @Override
    public String clientName() {
      return http.clientName();
    }

    @Override
    public void close() {
      closed.incrementAndGet();
      http.close();
    }

    record Builder(AtomicInteger closed) implements SdkAsyncHttpClient.Builder<Builder> {
      @Override
      public SdkAsyncHttpClient buildWithDefaults(AttributeMap defaults) {
        assertThat(defaults.containsKey(SdkHttpConfigurationOption.MAX_CONNECTIONS)).isNotNull();
        return new ClosingHttp(
            software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient.builder()
                .buildWithDefaults(defaults),
            closed);
      }
    }
  }

  // warmUp().

  @Test
  void warmUp_buildsAllClients_resolvesCredentials_andCallsNoService() {
    Map<String, Integer> customized = new ConcurrentHashMap<>();
    Credentials credentials = new Credentials();
    AwsKeyManagementService kms =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .credentialsProvider(credentials)
            .clientCustomizer(
                (region, builder) -> {
                  customized.merge(region, 1, Integer::sum);
                  assertThat(Schedulers.isInNonBlockingThread()).isFalse();
                  scenario.customize(region, builder);
                })
            .build();
    assertThat(customized).isEmpty();
    assertThat(credentials.resolved).hasValue(0);

    done(kms.warmUp().subscribeOn(Schedulers.parallel()));
    done(kms.warmUp());

    assertThat(customized)
        .containsOnly(
            Map.entry(scenario.name(0), 1),
            Map.entry(scenario.name(1), 1),
            Map.entry(scenario.name(2), 1));
    assertThat(credentials.resolved.get()).isGreaterThanOrEqualTo(3);
    assertThat(scenario.server.requests()).isEmpty();
    assertThat(unwrap(kms, scenario.wrap(kms, 1))).isEqualTo(bytes(1));
    assertThat(customized.values()).containsOnly(1);
    done(kms.close());
  }

  @Test
  void warmUp_withoutCredentials_fails() {
    Credentials credentials = new Credentials();
    credentials.isFailing = true;
    AwsKeyManagementService kms = scenario.ownClients().credentialsProvider(credentials).build();
    try (Log log = new Log()) {
      StepVerifier.create(kms.warmUp())
          .verifyErrorSatisfies(
              e -> {
                assertThat(((KmsException) e).kind()).isEqualTo(Kind.ACCESS_DENIED);
                assertThat(e)
                    .hasMessageContaining("no credentials")
                    .hasMessageContaining(scenario.name(2));
                assertThat(e.getCause()).hasMessage("no role");
              });
      assertThat(log.warnings()).isEmpty();
    }
    credentials.failure = new IllegalStateException("not of the SDK");
    StepVerifier.create(kms.warmUp())
        .verifyErrorSatisfies(
            e -> {
              assertThat(((KmsException) e).kind()).isEqualTo(Kind.OTHER);
              assertThat(e)
                  .hasMessageContaining("there is no client")
                  .hasMessageContaining(scenario.name(2));
              assertThat(e.getCause()).hasMessage("not of the SDK");
            });
    // It is tried again by whoever needs it.
    credentials.isFailing = false;
    assertThat(unwrap(kms, scenario.wrap(kms, 1))).isEqualTo(bytes(1));
    done(kms.close());
  }

  @Test
  void warmUp_ofTooFewRegions_fails_ofEnough_warns() {
    AwsKeyManagementService.Builder builder =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .clientFactory(
                region -> {
                  if (region.equals(scenario.name(1))) {
                    throw new IllegalStateException("no client for it");
                  }
                  return scenario.client(region);
                });
    try (Log log = new Log()) {
      done(builder.minimumRegions(2).build().warmUp());
      assertThat(log.warnings())
          .singleElement()
          .asString()
          .startsWith(scenario.name(1) + " is not ready: ");
    }
    assertThat(scenario.recorder.take())
        .containsExactly(new Failed("aws", scenario.name(1), Kind.OTHER));
    StepVerifier.create(builder.minimumRegions(3).build().warmUp())
        .verifyErrorSatisfies(
            e -> assertThat(e).isInstanceOf(KmsException.class).hasMessageContaining("2 of 3"));
    assertThat(scenario.server.requests()).isEmpty();
  }

  @Test
  void clientFactoryThatReturnsNothing_isAnError() {
    @SuppressWarnings("NullAway") // that is what is tested
    AwsKeyManagementService kms =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .clientFactory(region -> null)
            .build();
    StepVerifier.create(kms.warmUp()).verifyError(KmsException.class);
    try (Secret secret = scenario.secret(1)) {
      StepVerifier.create(kms.encryptKey(secret)).verifyError(KmsException.class);
    }
  }

  @Test
  void clientThatReturnsNothing_isAnError() {
    AwsKeyManagementService kms =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .clientFactory(region -> new NothingClient())
            .build();
    try (Secret secret = scenario.secret(1)) {
      StepVerifier.create(kms.encryptKey(secret)).verifyError(KmsException.class);
    }
  }

  private static final class NothingClient
      implements software.amazon.awssdk.services.kms.KmsAsyncClient {
    @Override
    @SuppressWarnings("NullAway") // that is what is tested
    public CompletableFuture<software.amazon.awssdk.services.kms.model.GenerateDataKeyResponse>
        generateDataKey(software.amazon.awssdk.services.kms.model.GenerateDataKeyRequest request) {
      return null;
    }

    @Override
    public String serviceName() {
      return "kms";
    }

    @Override
    public void close() {}
  }

  @Test
  void credentials_areResolvedOnceForEachCall() {
    Credentials credentials = new Credentials();
    AwsKeyManagementService kms = scenario.ownClients().credentialsProvider(credentials).build();

    byte[] wrapped = scenario.wrap(kms, 1);
    assertThat(credentials.resolved).hasValue(3);
    unwrap(kms, wrapped);

    assertThat(credentials.resolved).hasValue(4);
    assertThat(scenario.server.requests()).hasSize(4);
    done(kms.close());
  }

  /** Also those that are resolved anew for each call. */
  @Test
  void slowCredentials_doNotCountAgainstTheRegionTimeout() {
    Duration regionTimeout = Duration.ofSeconds(3);
    // The first call of a JVM takes longer.
    unwrap(scenario.builder().build(), scenario.wrap(scenario.builder().build(), 1));
    AtomicInteger resolved = new AtomicInteger();
    AwsCredentialsProvider slow =
        () -> {
          resolved.incrementAndGet();
          CountDownLatch never = new CountDownLatch(1);
          try {
            assertThat(never.await(regionTimeout.plusSeconds(1).toMillis(), TimeUnit.MILLISECONDS))
                .isFalse();
          } catch (InterruptedException e) {
            throw new IllegalStateException(e);
          }
          return KmsScenario.credentials().resolveCredentials();
        };
    AwsKeyManagementService kms =
        AwsKeyManagementService.builder()
            .region(scenario.name(0), scenario.key(0).arn())
            .regionTimeout(regionTimeout)
            .credentialsProvider(slow)
            .clientCustomizer(scenario::customize)
            .build();

    assertThat(scenario.wrap(kms, 1)).isNotEmpty();

    assertThat(resolved.get()).isPositive();
    done(kms.close());
  }

  @Test
  void credentialsThatNeverCome_areATimeout() {
    Credentials credentials = new Credentials();
    credentials.open = new CountDownLatch(1);
    AwsKeyManagementService kms = scenario.ownClients().credentialsProvider(credentials).build();
    // Made before, so that only the limits are of virtual time, which is not for many threads.
    Mono<Void> warmUp = kms.warmUp();
    VirtualTimeScheduler time = VirtualTimeScheduler.getOrSet();
    try {
      CompletableFuture<@Nullable Void> ready = warmUp.toFuture();
      // Each is looked for, and has a limit.
      Await.until(() -> credentials.resolved.get() == 3 && time.getScheduledTaskCount() == 3);
      time.advanceTimeBy(KmsClient.PATIENCE.minusMillis(1));
      assertThat(ready).isNotDone();
      time.advanceTimeBy(Duration.ofMillis(1));
      StepVerifier.create(Mono.fromFuture(ready))
          .verifyErrorSatisfies(
              e -> {
                assertThat(((KmsException) e).kind()).isEqualTo(Kind.TIMEOUT);
                assertThat(((KmsException) e).isRetryable()).isTrue();
                assertThat(e).hasMessageContaining("no credentials for " + scenario.name(2));
              });
    } finally {
      VirtualTimeScheduler.reset();
    }
    credentials.open.countDown();
    done(kms.warmUp());
    done(kms.close());
  }

  @Test
  void profile_isWhereCredentialsComeFrom(@TempDir Path dir) throws IOException {
    Path file = dir.resolve("credentials");
    Files.writeString(
        file, "[there]\naws_access_key_id = fromProfile\naws_secret_access_key = secret\n");
    String property = "aws.sharedCredentialsFile";
    String before = System.getProperty(property);
    System.setProperty(property, file.toString());
    try {
      AwsKeyManagementService kms = scenario.ownClients().profile("there").build();
      assertThat(scenario.wrap(kms, 1)).isNotEmpty();
      done(kms.close());
      AwsKeyManagementService missing = scenario.ownClients().profile("missing").build();
      StepVerifier.create(missing.warmUp())
          .verifyErrorSatisfies(
              e -> assertThat(((KmsException) e).kind()).isEqualTo(Kind.ACCESS_DENIED));
      done(missing.close());
    } finally {
      if (before == null) {
        System.clearProperty(property);
      } else {
        System.setProperty(property, before);
      }
    }
  }

  // What a call is.

  @Test
  void clientsBuiltHere_makeOneAttempt() {
    AwsKeyManagementService kms =
        scenario.ownClients().credentialsProvider(KmsScenario.credentials()).build();
    for (int i = 0; i < 3; i++) {
      scenario.region(i).fail(500, "KMSInternalException", null);
    }
    try (Secret secret = scenario.secret(1)) {
      StepVerifier.create(kms.encryptKey(secret)).verifyError(KmsException.class);
    }
    assertThat(scenario.server.requests()).hasSize(3);
    done(kms.close());
  }

  static Stream<Consumer<ClientOverrideConfiguration.Builder>> otherSettings() {
    return Stream.of(
        o -> {},
        o -> o.putHeader("x-of-the-user", "yes"),
        o -> o.apiCallTimeout(KmsScenario.PATIENCE).apiCallAttemptTimeout(KmsScenario.PATIENCE));
  }

  @ParameterizedTest
  @MethodSource("otherSettings")
  void customizerThatSetsSomethingElse_leavesASingleAttempt(
      Consumer<ClientOverrideConfiguration.Builder> settings) {
    AwsKeyManagementService kms = customized(settings);
    scenario.server.region(scenario.name(0)).fail(500, "KMSInternalException", null);
    assertThat(scenario.wrap(kms, 1)).isNotEmpty();
    assertThat(scenario.region(0).calls("GenerateDataKey")).isEqualTo(1);
    done(kms.close());
  }

  private static Arguments attempts(
      int attempts, Consumer<ClientOverrideConfiguration.Builder> settings) {
    return Arguments.of(attempts, settings);
  }

  @SuppressWarnings("deprecation") // the SDK still has it
  static Stream<Arguments> moreAttempts() {
    return Stream.of(
        attempts(
            2,
            o ->
                o.retryStrategy(
                    DefaultRetryStrategy.standardStrategyBuilder().maxAttempts(2).build())),
        attempts(3, o -> o.retryStrategy(RetryMode.STANDARD)),
        attempts(2, o -> o.retryStrategy(b -> b.maxAttempts(2))),
        attempts(3, o -> o.retryPolicy(RetryMode.STANDARD)),
        attempts(2, o -> o.retryPolicy(RetryPolicy.builder().numRetries(1).build())));
  }

  @ParameterizedTest
  @MethodSource("moreAttempts")
  void customizerThatWantsMoreAttempts_hasThem(
      int attempts, Consumer<ClientOverrideConfiguration.Builder> settings) {
    AwsKeyManagementService kms = customized(settings);
    scenario.server.region(scenario.name(0)).fail(500, "KMSInternalException", null);
    assertThat(scenario.wrap(kms, 1)).isNotEmpty();
    assertThat(scenario.region(0).calls("GenerateDataKey")).isEqualTo(attempts);
    done(kms.close());
  }

  private AwsKeyManagementService customized(
      Consumer<ClientOverrideConfiguration.Builder> configuration) {
    return scenario
        .withRegions(AwsKeyManagementService.builder())
        .credentialsProvider(KmsScenario.credentials())
        .clientCustomizer(
            (region, builder) -> {
              scenario.customize(region, builder);
              builder.overrideConfiguration(configuration);
            })
        .build();
  }

  @Test
  void silentRegion_isGivenUpAfterTheRegionTimeout_byClientsBuiltHere() {
    AwsKeyManagementService kms =
        scenario
            .ownClients()
            .credentialsProvider(KmsScenario.credentials())
            .regionTimeout(Duration.ofSeconds(3))
            .build();
    // The first calls take longer.
    scenario.wrap(kms, 1);
    scenario.region(0).silent();
    int before = scenario.region(0).calls().size();
    assertThat(scenario.wrap(kms, 1)).isNotEmpty();
    // Made nothing, and was not asked to wrap.
    assertThat(scenario.recorder.take())
        .containsExactly(new Failed("aws", scenario.name(0), Kind.TIMEOUT));
    assertThat(scenario.region(0).operations().stream().skip(before))
        .containsExactly("GenerateDataKey");
    // The call itself is given up, too.
    Await.until(() -> scenario.region(0).underWay() == 0);
    done(kms.close());
  }

  @Test
  void nothingHappens_beforeASubscription() {
    AtomicInteger built = new AtomicInteger();
    AwsKeyManagementService kms =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .clientFactory(
                region -> {
                  built.incrementAndGet();
                  return scenario.client(region);
                })
            .build();
    try (Secret secret = scenario.secret(1)) {
      Mono<byte[]> encrypt = kms.encryptKey(secret);
      Mono<?> decrypt = kms.decryptKey(new byte[60]);
      Mono<Void> warmUp = kms.warmUp();
      Mono<Void> close = kms.close();
      assertThat(List.of(encrypt, decrypt, warmUp, close)).doesNotContainNull();
      assertThat(built).hasValue(0);
      assertThat(get(encrypt)).isNotEmpty();
      assertThat(built).hasValue(3);
    }
  }

  @Test
  void manyFirstCallsAtOnce_shareOneClientForEachRegion() {
    Map<String, Integer> built = new ConcurrentHashMap<>();
    AwsKeyManagementService kms =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .clientFactory(
                region -> {
                  built.merge(region, 1, Integer::sum);
                  return scenario.client(region);
                })
            .build();
    try (Secret secret = scenario.secret(1)) {
      assertThat(
              get(
                  Flux.range(0, 50)
                      .flatMap(i -> kms.encryptKey(secret).subscribeOn(Schedulers.parallel()), 50)
                      .count()))
          .isEqualTo(50);
    }
    assertThat(built.values()).containsOnly(1);
  }

  // close().

  @Test
  void close_closesClientsBuiltHere_andNotTheCredentials() {
    AtomicInteger closed = new AtomicInteger();
    Credentials credentials = new Credentials();
    AwsKeyManagementService kms =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .credentialsProvider(credentials)
            .clientCustomizer(
                (region, builder) ->
                    builder
                        .httpClientBuilder(new ClosingHttp.Builder(closed))
                        .endpointOverride(scenario.server.region(region).endpoint()))
            .build();
    byte[] wrapped = scenario.wrap(kms, 1);
    assertThat(closed).hasValue(0);

    done(kms.close().subscribeOn(Schedulers.parallel()));

    assertThat(closed).hasValue(3);
    assertThat(credentials.isClosed).isFalse();
    done(kms.close());
    assertThat(closed).hasValue(3);
    int calls = scenario.server.requests().size();
    StepVerifier.create(kms.decryptKey(wrapped))
        .verifyErrorSatisfies(
            e -> {
              assertThat(((KmsException) e).kind()).isEqualTo(Kind.OTHER);
              assertThat(((KmsException) e).isRetryable()).isFalse();
              assertThat(e).hasMessageContaining("closed");
            });
    StepVerifier.create(kms.warmUp()).verifyError(KmsException.class);
    try (Secret secret = scenario.secret(1)) {
      StepVerifier.create(kms.encryptKey(secret)).verifyError(KmsException.class);
    }
    assertThat(scenario.server.requests()).hasSize(calls);
  }

  @Test
  void close_beforeAnyUse_buildsNothing() {
    AtomicInteger built = new AtomicInteger();
    AwsKeyManagementService kms =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .clientCustomizer((region, builder) -> built.incrementAndGet())
            .build();
    done(kms.close());
    StepVerifier.create(kms.warmUp()).verifyError(KmsException.class);
    assertThat(built).hasValue(0);
  }

  @Test
  void close_leavesTheClientsOfTheUserOpen() {
    Map<String, WatchedClient> clients = new ConcurrentHashMap<>();
    AwsKeyManagementService.Builder builder =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .clientFactory(
                region ->
                    clients.computeIfAbsent(
                        region, name -> new WatchedClient(scenario.client(name))));
    AwsKeyManagementService first = builder.build();
    AwsKeyManagementService second = builder.build();
    byte[] wrapped = scenario.wrap(first, 1);

    done(first.close());

    assertThat(clients.values()).hasSize(3).noneMatch(WatchedClient::isClosed);
    StepVerifier.create(first.decryptKey(wrapped)).verifyError(KmsException.class);
    assertThat(unwrap(second, wrapped)).isEqualTo(bytes(1));
    assertThat(unwrap(second, scenario.wrap(second, 2))).isEqualTo(bytes(2));
  }

  @Test
  void closeCancelled_closesNevertheless() {
    AtomicInteger closed = new AtomicInteger();
    AwsKeyManagementService kms =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .credentialsProvider(KmsScenario.credentials())
            .clientCustomizer(
                (region, builder) ->
                    builder
                        .httpClientBuilder(new ClosingHttp.Builder(closed))
                        .endpointOverride(scenario.server.region(region).endpoint()))
            .build();
    done(kms.warmUp());
    kms.close().subscribe().dispose();
    Await.until(() -> closed.get() == 3);
  }

  @Test
  void closeDuringCalls_endsThemWithAnError() {
    AwsKeyManagementService kms =
        scenario
            .withRegions(AwsKeyManagementService.builder())
            .credentialsProvider(KmsScenario.credentials())
            .clientCustomizer(
                (region, builder) ->
                    builder
                        .httpClientBuilder(new ClosingHttp.Builder(new AtomicInteger()))
                        .endpointOverride(scenario.server.region(region).endpoint()))
            .build();
    byte[] wrapped = scenario.wrap(kms, 1);
    for (int i = 0; i < 3; i++) {
      scenario.region(i).hold();
    }
    AtomicReference<Throwable> error = new AtomicReference<>();
    kms.decryptKey(wrapped).subscribe(any -> {}, error::set);
    Await.until(() -> scenario.region(0).underWay() == 1);

    done(kms.close());

    Await.until(() -> error.get() != null);
    assertThat(Objects.requireNonNull(error.get())).isInstanceOf(KmsException.class);
  }
}
