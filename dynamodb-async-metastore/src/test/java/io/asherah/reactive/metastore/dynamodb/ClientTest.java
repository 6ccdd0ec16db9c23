package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.SteadyTimeScheduler;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.scheduler.VirtualTimeScheduler;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProviderChain;
import software.amazon.awssdk.auth.credentials.SystemPropertyCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.services.dynamodb.DynamoDbServiceClientConfiguration;
import software.amazon.awssdk.services.dynamodb.model.ResourceNotFoundException;

/** How a client and its credentials are looked for, and what a limit of time ends. */
class ClientTest {
  private final SteadyTimeScheduler time = new SteadyTimeScheduler();
  private boolean isVirtual;

  @AfterEach
  void resetTime() {
    if (isVirtual) {
      VirtualTimeScheduler.reset();
    }
  }

  /** All of what is done then is done by the thread that subscribes, or that advances time. */
  private void useVirtualTime() {
    isVirtual = true;
    VirtualTimeScheduler.set(time);
  }

  /** Time passes when it is told to, and work is done on threads that may wait. */
  private void useVirtualTimeAndThreads() {
    isVirtual = true;
    Schedulers.setFactory(
        new Schedulers.Factory() {
          @Override
          public Scheduler newParallel(int parallelism, ThreadFactory threadFactory) {
            return time;
          }
        });
  }

  private static DynamoDbMetastore metastore(FakeClient client) {
    return DynamoDbMetastore.builder().client(client).table("keys").keySuffix("suffix").build();
  }

  private static Mono<?> load(DynamoDbMetastore metastore) {
    return metastore.load(FakeClient.ID, Aws.CREATED);
  }

  private static CompletableFuture<AwsCredentialsIdentity> there() {
    return CompletableFuture.completedFuture(FakeClient.identity());
  }

  /** Credentials that keep the thread that looks for them, while they are held. */
  private static final class Held implements Supplier<CompletableFuture<AwsCredentialsIdentity>> {
    private final AtomicInteger resolved = new AtomicInteger();
    private volatile CountDownLatch open = new CountDownLatch(0);

    @Override
    public CompletableFuture<AwsCredentialsIdentity> get() {
      resolved.incrementAndGet();
      try {
        assertThat(open.await(2 * Aws.TIMEOUT.toSeconds(), TimeUnit.SECONDS)).isTrue();
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
      return there();
    }
  }

  @Test
  void callsThatWaitForCredentials_keepOneThread_andTheyAreLookedForOnce() {
    Held held = new Held();
    FakeClient client = FakeClient.with(held);
    DynamoDbMetastore metastore = metastore(client);
    load(metastore).block(Aws.TIMEOUT);
    held.resolved.set(0);
    held.open = new CountDownLatch(1);
    Disposable.Composite calls = Disposables.composite();
    try {
      for (int i = 0; i < 3 * Schedulers.DEFAULT_BOUNDED_ELASTIC_SIZE; i++) {
        calls.add(
            Flux.from(Operation.values()[i % Operation.values().length].of(metastore, "_SK_a"))
                .subscribe());
      }
      Await.until(() -> held.resolved.get() == 1);
      // Those that wait no longer are no different.
      calls.dispose();

      for (int i = 0; i < 3; i++) {
        assertThat(
                Mono.fromSupplier(() -> 7)
                    .subscribeOn(Schedulers.boundedElastic())
                    .block(Aws.TIMEOUT))
            .isEqualTo(7);
      }

      assertThat(held.resolved).hasValue(1);
      StepVerifier.create(load(metastore)).then(held.open::countDown).verifyComplete();
      assertThat(held.resolved).hasValue(1);
    } finally {
      held.open.countDown();
    }
    load(metastore).block(Aws.TIMEOUT);
    assertThat(held.resolved).hasValue(2);
  }

  @ParameterizedTest
  @EnumSource
  void credentials_areResolvedOnceForEachCall_andGivenToIt(Operation operation) {
    Held held = new Held();
    FakeClient client = FakeClient.with(held);

    Flux.from(operation.of(metastore(client), FakeClient.ID)).blockLast(Aws.TIMEOUT);

    assertThat(client.operations()).contains(operation.call);
    assertThat(held.resolved).hasValue(client.requests().size());
    assertThat(client.requests())
        .allMatch(
            request ->
                request
                    .overrideConfiguration()
                    .orElseThrow()
                    .credentialsIdentityProvider()
                    .isPresent());
  }

  /** Whose question has those of the call that came first. */
  @Test
  void credentials_areNotResolvedForTheQuestionAboutReplicas() {
    Held held = new Held();
    FakeClient client = FakeClient.with(held);
    DynamoDbMetastore metastore = DynamoDbMetastore.create(client);

    load(metastore).block(Aws.TIMEOUT);
    Await.until(() -> client.requests().size() == 2);

    assertThat(client.operations()).containsExactlyInAnyOrder("GetItem", "DescribeTable");
    assertThat(held.resolved).hasValue(1);
    assertThat(client.requests())
        .allMatch(
            request ->
                request
                    .overrideConfiguration()
                    .orElseThrow()
                    .credentialsIdentityProvider()
                    .isPresent());
  }

  static Stream<Supplier<@Nullable DynamoDbServiceClientConfiguration>> configurations() {
    return Stream.of(
        () -> null,
        () -> DynamoDbServiceClientConfiguration.builder().build(),
        () -> {
          throw new UnsupportedOperationException("intended");
        });
  }

  /** It gets them by itself. */
  @ParameterizedTest
  @MethodSource("configurations")
  void clientThatDoesNotTellItsCredentials_isUsed(
      Supplier<@Nullable DynamoDbServiceClientConfiguration> configuration) {
    FakeClient client = FakeClient.telling(configuration);

    load(metastore(client)).block(Aws.TIMEOUT);

    assertThat(client.requests())
        .hasSize(1)
        .allMatch(
            request ->
                request
                    .overrideConfiguration()
                    .orElseThrow()
                    .credentialsIdentityProvider()
                    .isEmpty());
  }

  // Credentials that do not come.

  @Test
  void promiseThatIsNeverKept_isLookedForAnew_afterTenSeconds() {
    useVirtualTime();
    CompletableFuture<AwsCredentialsIdentity> never = new CompletableFuture<>();
    AtomicInteger resolved = new AtomicInteger();
    FakeClient client = FakeClient.with(() -> resolved.incrementAndGet() == 1 ? never : there());
    DynamoDbMetastore metastore = metastore(client);
    List<Throwable> errors = new ArrayList<>();
    for (int i = 0; i < 2; i++) {
      load(metastore).subscribe(found -> {}, errors::add);
      time.advanceTimeBy(Client.PATIENCE.dividedBy(2));
    }
    assertThat(errors).hasSize(1);
    assertCredentialsNeverCame(errors);
    assertThat(resolved).hasValue(1);

    StepVerifier.create(load(metastore)).verifyComplete();

    assertThat(resolved).hasValue(2);
    time.advanceTimeBy(Client.PATIENCE);
    assertThat(errors).hasSize(2);
    assertCredentialsNeverCame(errors);
    assertThat(client.requests()).hasSize(1);
  }

  /** The first one must not take the place of the second. */
  @Test
  void promiseThatIsKeptTooLate_doesNotEndWhatIsLookedForThen() {
    useVirtualTime();
    Queue<CompletableFuture<AwsCredentialsIdentity>> promises = new ConcurrentLinkedQueue<>();
    DynamoDbMetastore metastore =
        metastore(
            FakeClient.with(
                () -> {
                  CompletableFuture<AwsCredentialsIdentity> promise = new CompletableFuture<>();
                  promises.add(promise);
                  return promise;
                }));
    List<Throwable> errors = new ArrayList<>();
    load(metastore).subscribe(found -> {}, errors::add);
    time.advanceTimeBy(Client.PATIENCE);
    assertCredentialsNeverCame(errors);
    List<Boolean> ended = new ArrayList<>();
    load(metastore).doOnTerminate(() -> ended.add(true)).subscribe();
    assertThat(promises).hasSize(2);

    promises.remove().complete(FakeClient.identity());
    assertThat(ended).isEmpty();
    load(metastore).doOnTerminate(() -> ended.add(true)).subscribe();
    assertThat(promises).hasSize(1);

    promises.remove().complete(FakeClient.identity());
    assertThat(ended).hasSize(2);
  }

  @Test
  void credentialsThatKeepTheirThread_areWaitedForTenSeconds() {
    useVirtualTimeAndThreads();
    Held held = new Held();
    held.open = new CountDownLatch(1);
    FakeClient client = FakeClient.with(held);
    DynamoDbMetastore metastore = metastore(client);
    Queue<Throwable> errors = new ConcurrentLinkedQueue<>();
    try {
      load(metastore).subscribe(found -> {}, errors::add);
      Await.until(() -> held.resolved.get() == 1);
      time.advanceTimeBy(Client.PATIENCE.minusMillis(1));
      assertThat(errors).isEmpty();

      time.advanceTimeBy(Duration.ofMillis(1));

      Await.until(() -> !errors.isEmpty());
      assertCredentialsNeverCame(errors);
      assertThat(client.requests()).isEmpty();
    } finally {
      held.open.countDown();
    }
    load(metastore).block(Aws.TIMEOUT);
  }

  private static void assertCredentialsNeverCame(Iterable<Throwable> errors) {
    assertThat(errors)
        .isNotEmpty()
        .allSatisfy(
            e -> {
              assertThat(e)
                  .isInstanceOf(MetastoreException.class)
                  .hasMessageContaining("no credentials for DynamoDB to load a key")
                  .hasMessageContaining("within 10000 ms");
              assertThat(((MetastoreException) e).isRetryable()).isTrue();
            });
  }

  static Stream<Arguments> failures() {
    AwsCredentialsProvider none =
        () -> {
          throw SdkClientException.create("none here");
        };
    Consumer<AwsCredentialsProvider> asked = AwsCredentialsProvider::resolveCredentials;
    return Stream.of(
        Arguments.of(SdkClientException.create("no role"), false),
        Arguments.of(thrown(() -> asked.accept(SystemPropertyCredentialsProvider.create())), false),
        Arguments.of(
            thrown(
                () ->
                    asked.accept(
                        AwsCredentialsProviderChain.of(
                            SystemPropertyCredentialsProvider.create(), none))),
            true),
        Arguments.of(SdkClientException.create("no role", new IOException("refused")), true),
        Arguments.of(new IllegalStateException(new IOException("not of the SDK")), false));
  }

  private static Throwable thrown(Runnable work) {
    try {
      work.run();
    } catch (RuntimeException e) {
      return e;
    }
    throw new AssertionError("it has credentials");
  }

  /** A chain does not say whether one of those that it asked may have some later. */
  @ParameterizedTest
  @MethodSource("failures")
  void credentialsThatFail_areRetryable_whereTheyMayComeLater(Throwable e, boolean isRetryable) {
    for (FakeClient client :
        List.of(
            FakeClient.with(() -> CompletableFuture.failedFuture(e)),
            FakeClient.with(
                () -> ClientTest.<CompletableFuture<AwsCredentialsIdentity>, Error>sneak(e)))) {
      StepVerifier.create(load(metastore(client)))
          .expectErrorSatisfies(
              failure -> {
                assertThat(failure)
                    .isInstanceOf(MetastoreException.class)
                    .hasMessageContaining("no credentials for DynamoDB to load a key")
                    .hasMessageContaining("give the service a role")
                    .hasCause(e);
                assertThat(((MetastoreException) failure).isRetryable()).isEqualTo(isRetryable);
              })
          .verify(Aws.TIMEOUT);
      assertThat(client.requests()).isEmpty();
    }
  }

  @SuppressWarnings("unchecked")
  private static <T, E extends Throwable> T sneak(Throwable e) throws E {
    throw (E) e;
  }

  // Calls.

  @ParameterizedTest
  @EnumSource
  void callThatIsLate_isRetryable_andOnlyAChangeMayHaveHappened(Operation operation) {
    useVirtualTime();
    FakeClient client =
        FakeClient.ready().sending(operation.call, answer -> new CompletableFuture<>());
    List<Throwable> errors = new ArrayList<>();
    Flux.from(operation.of(metastore(client), FakeClient.ID)).subscribe(found -> {}, errors::add);
    assertThat(client.operations()).endsWith(operation.call);
    time.advanceTimeBy(Duration.ofMillis(3_999));
    assertThat(errors).isEmpty();

    time.advanceTimeBy(Duration.ofMillis(1));

    assertThat(errors).hasSize(1);
    assertThat(errors.get(0))
        .isInstanceOf(MetastoreException.class)
        .hasMessageStartingWith("DynamoDB did not ")
        .hasMessageContaining("in the table keys within 4000 ms");
    assertThat(errors.get(0).getMessage())
        .endsWith(operation.isChange() ? "; whether it happened is not known" : "; try again later")
        .doesNotContain(operation.isChange() ? "later" : "known");
    assertThat(((MetastoreException) errors.get(0)).isRetryable()).isTrue();
  }

  /** Made a moment ago, it may not be found yet; but not for ever. */
  @ParameterizedTest
  @EnumSource(names = {"CREATE", "CREATE_WAITING"})
  void tableThatIsNeverFound_isAnError_afterTenSeconds(Operation operation) {
    useVirtualTime();
    FakeClient client =
        FakeClient.ready()
            .sending(operation.call, answer -> CompletableFuture.failedFuture(notFound()));
    List<Throwable> errors = new ArrayList<>();
    Flux.from(operation.of(metastore(client), FakeClient.ID)).subscribe(found -> {}, errors::add);
    time.advanceTimeBy(Duration.ofMillis(9_999));
    assertThat(errors).isEmpty();

    time.advanceTimeBy(Duration.ofMillis(1));

    assertThat(errors).hasSize(1);
    assertThat(errors.get(0))
        .isInstanceOf(MetastoreException.class)
        .hasMessageContaining("create it")
        .hasMessageContaining("in the table keys");
    assertThat(((MetastoreException) errors.get(0)).isRetryable()).isFalse();
  }

  private static Throwable notFound() {
    return ResourceNotFoundException.builder()
        .statusCode(400)
        .awsErrorDetails(AwsErrorDetails.builder().errorCode("ResourceNotFoundException").build())
        .build();
  }
}
