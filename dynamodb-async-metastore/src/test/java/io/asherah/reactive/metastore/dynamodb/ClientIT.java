package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testaws.DynamoDbFront;
import io.asherah.reactive.testaws.DynamoDbServer;
import io.asherah.reactive.testsupport.Await;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProviderChain;
import software.amazon.awssdk.auth.credentials.SystemPropertyCredentialsProvider;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.identity.spi.ResolveIdentityRequest;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.utils.SdkAutoCloseable;

/** The life of a client, and where it gets its credentials. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ClientIT {
  private static final String TENANT = "tenant-4711";

  private final Aws aws = new Aws();
  private final SdkAsyncHttpClient http = aws.http(Aws.Http.NETTY);
  private final String id = "_IK_%s_%s".formatted(TENANT, Aws.freshId());
  private String table;
  private DynamoDbFront front;

  @BeforeAll
  void createTable() {
    table = Aws.newTable(aws.client(Aws.server(), http, builder -> {}));
  }

  @BeforeEach
  void open() {
    front = DynamoDbFront.to(DynamoDbServer.shared());
  }

  @AfterEach
  void closeFront() {
    front.close();
  }

  @AfterAll
  void close() {
    aws.close();
  }

  /** Has connections that are there already, since to close others takes the SDK five seconds. */
  private DynamoDbMetastore.Builder built() {
    return alone().clientCustomizer(builder -> builder.httpClient(http));
  }

  private DynamoDbMetastore.Builder alone() {
    return DynamoDbMetastore.builder()
        .table(table)
        .region("us-west-2")
        .endpoint(front.endpoint())
        .callTimeout(Aws.TIMEOUT)
        // It asks nobody, then, but for what it is told to.
        .keySuffix("us-west-2");
  }

  // Closing.

  @Test
  void clientBuiltHere_isClosed_andLaterCallsFail() {
    DynamoDbMetastore metastore = alone().credentialsProvider(Aws.credentials()).build();
    assertThat(Aws.get(metastore.store(Aws.freshId(), Aws.CREATED, Aws.record(Aws.CREATED, 1))))
        .isTrue();

    metastore.close().block(Aws.TIMEOUT);
    metastore.close().block(Aws.TIMEOUT);

    assertAllFail(metastore, false, "the metastore is closed");
  }

  @Test
  void metastoreNeverUsed_isClosedWithoutAClient() {
    AtomicInteger clients = new AtomicInteger();
    DynamoDbMetastore metastore =
        built().clientCustomizer(builder -> clients.incrementAndGet()).build();

    metastore.close().block(Aws.TIMEOUT);

    assertAllFail(metastore, false, "the metastore is closed");
    assertThat(clients).hasValue(0);
  }

  @Test
  void close_onAThreadThatMustNotBlock_doesNot() {
    DynamoDbMetastore metastore = built().credentialsProvider(Aws.credentials()).build();
    metastore.warmUp().block(Aws.TIMEOUT);

    metastore.close().subscribeOn(Schedulers.parallel()).block(Aws.TIMEOUT);
  }

  @Test
  void closeThatIsCancelled_happensNevertheless() {
    DynamoDbMetastore metastore = alone().credentialsProvider(Aws.credentials()).build();
    metastore.warmUp().block(Aws.TIMEOUT);

    metastore.close().subscribe().dispose();

    Await.until(
        () ->
            metastore
                .load(id, Aws.CREATED)
                .map(found -> false)
                .onErrorReturn(true)
                .blockOptional(Aws.TIMEOUT)
                .orElse(false));
  }

  /** A call under way has an end, too, which is an error. */
  @Test
  void callUnderWay_fails_whenTheClientIsClosed() {
    DynamoDbMetastore metastore = alone().credentialsProvider(Aws.credentials()).build();
    front.on("GetItem").hold();
    CompletableFuture<?> load = metastore.load(id, Aws.CREATED).toFuture();
    Await.until(() -> front.underWay() == 1);

    metastore.close().block(Aws.TIMEOUT);

    StepVerifier.create(Mono.fromFuture(load))
        .expectErrorSatisfies(e -> assertIsError(e, ""))
        .verify(Aws.TIMEOUT.multipliedBy(2));
  }

  @ParameterizedTest
  @EnumSource
  void clientOfTheUser_isNotClosed(Aws.Http kind) {
    DynamoDbAsyncClient client = aws.client(front.endpoint(), aws.http(kind), builder -> {});
    DynamoDbMetastore metastore = Aws.patient(client, table).keySuffix("x").build();
    metastore.warmUp().block(Aws.TIMEOUT);

    metastore.close().block(Aws.TIMEOUT);

    assertThat(client.describeTable(b -> b.tableName(table)).join().table()).isNotNull();
    assertAllFail(metastore, false, "the metastore is closed");
  }

  @ParameterizedTest
  @EnumSource
  void clientThatItsUserClosed_isAnError(Aws.Http kind) {
    SdkAsyncHttpClient own = aws.http(kind);
    DynamoDbAsyncClient client = aws.client(front.endpoint(), own, builder -> {});
    DynamoDbMetastore metastore = Aws.patient(client, table).keySuffix("x").build();
    assertThat(metastore.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();
    client.close();
    own.close();

    assertAllFail(metastore, false, "closed");
  }

  /** That of Netty goes on where its event loops do. */
  @Test
  void httpClientThatItsUserClosed_isAnError() {
    SdkAsyncHttpClient own = aws.http(Aws.Http.CRT);
    DynamoDbAsyncClient client = aws.client(front.endpoint(), own, builder -> {});
    DynamoDbMetastore metastore = Aws.patient(client, table).keySuffix("x").build();
    assertThat(metastore.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();
    own.close();

    assertAllFail(metastore, false, "closed");
  }

  @Test
  void credentialsProviderOfTheUser_isNotClosed() {
    AtomicBoolean isClosed = new AtomicBoolean();
    class Closeable implements AwsCredentialsProvider, SdkAutoCloseable {
      @Override
      public AwsCredentials resolveCredentials() {
        return AwsBasicCredentials.create("access", "secret");
      }

      @Override
      public void close() {
        isClosed.set(true);
      }
    }
    DynamoDbMetastore metastore = built().credentialsProvider(new Closeable()).build();
    metastore.warmUp().block(Aws.TIMEOUT);
    assertThat(metastore.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();

    metastore.close().block(Aws.TIMEOUT);

    assertThat(isClosed).isFalse();
  }

  @Test
  void httpClientOfTheUser_isNotClosed() {
    DynamoDbMetastore metastore = built().credentialsProvider(Aws.credentials()).build();
    assertThat(metastore.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();

    metastore.close().block(Aws.TIMEOUT);

    DynamoDbAsyncClient other = aws.client(front.endpoint(), http, builder -> {});
    assertThat(other.describeTable(b -> b.tableName(table)).join().table()).isNotNull();
  }

  // Starting.

  @Test
  void build_makesNoClient_andWarmUpMakesOne() {
    AtomicInteger clients = new AtomicInteger();
    AtomicInteger resolved = new AtomicInteger();
    DynamoDbMetastore metastore =
        built()
            .credentialsProvider(
                () -> {
                  resolved.incrementAndGet();
                  return AwsBasicCredentials.create("access", "secret");
                })
            .clientCustomizer(
                builder -> {
                  clients.incrementAndGet();
                  builder.httpClient(http);
                })
            .build();
    assertThat(clients).hasValue(0);

    Mono<Void> warmUp = metastore.warmUp();
    assertThat(clients).hasValue(0);
    Flux.range(0, 20).flatMap(i -> warmUp).then().block(Aws.TIMEOUT);

    assertThat(clients).hasValue(1);
    assertThat(resolved.get()).isPositive();
    assertThat(front.calls()).isEmpty();
    assertThat(metastore.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();
    assertThat(clients).hasValue(1);
    metastore.close().block(Aws.TIMEOUT);
  }

  @Test
  void builderUsedAgain_doesNotChangeWhatItMade() {
    DynamoDbMetastore.Builder builder = built().credentialsProvider(Aws.credentials());
    DynamoDbMetastore first = builder.build();
    builder.endpoint(URI.create("http://127.0.0.1:1")).table("other").keySuffix("");

    assertThat(first.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();
    assertThat(first.keySuffix()).isEqualTo("us-west-2");
    assertThat(first).hasToString("DynamoDbMetastore[%s]".formatted(table));
    first.close().block(Aws.TIMEOUT);
  }

  @Test
  void credentialsThatFail_areAnError_andAreTriedAgain() {
    AtomicBoolean isBroken = new AtomicBoolean(true);
    DynamoDbMetastore metastore =
        built()
            .credentialsProvider(
                () -> {
                  if (isBroken.get()) {
                    throw new IllegalStateException("no role for " + TENANT);
                  }
                  return AwsBasicCredentials.create("access", "secret");
                })
            .build();

    assertAllFail(metastore, false, "give the service a role");
    StepVerifier.create(metastore.warmUp())
        .expectErrorSatisfies(e -> assertIsError(e, "give the service a role"))
        .verify(Aws.TIMEOUT);

    isBroken.set(false);
    assertThat(metastore.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();
    metastore.close().block(Aws.TIMEOUT);
  }

  @Test
  void chainOfCredentialsThatFails_isRetryable() {
    AwsCredentialsProvider none =
        () -> {
          throw SdkClientException.create("none for " + TENANT);
        };
    DynamoDbMetastore chain =
        built()
            .credentialsProvider(
                AwsCredentialsProviderChain.of(SystemPropertyCredentialsProvider.create(), none))
            .build();
    assertAllFail(chain, true, "give the service a role");
    chain.close().block(Aws.TIMEOUT);

    DynamoDbMetastore bare = built().credentialsProvider(none).build();
    assertAllFail(bare, false, "give the service a role");
    bare.close().block(Aws.TIMEOUT);
  }

  @Test
  void asynchronousCredentialsThatFail_areAnError() {
    DynamoDbMetastore metastore =
        built()
            .credentialsProvider(
                new Asynchronous(
                    CompletableFuture.failedFuture(new IllegalStateException("no " + TENANT))))
            .build();

    assertAllFail(metastore, false, "give the service a role");
    metastore.close().block(Aws.TIMEOUT);
  }

  @Test
  void credentials_areResolvedOnceForEachCall() {
    AtomicInteger resolved = new AtomicInteger();
    AwsCredentialsProvider counting =
        () -> {
          resolved.incrementAndGet();
          return AwsBasicCredentials.create("access", "secret");
        };
    for (String suffix : List.of("us-west-2", "")) {
      resolved.set(0);
      int before = front.calls().size();
      DynamoDbMetastore metastore = built().keySuffix(suffix).credentialsProvider(counting).build();
      metastore.warmUp().block(Aws.TIMEOUT);
      assertThat(resolved).hasValue(1);

      Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)));
      assertThat(resolved).hasValue(2);
      Aws.get(metastore.load(id, Aws.CREATED));
      assertThat(resolved).hasValue(3);
      assertThat(Aws.get(metastore.revoke(KeySelector.id(id)))).isOne();
      assertThat(resolved).hasValue(5);
      assertThat(Aws.get(metastore.delete(KeySelector.id(id)))).isOne();
      assertThat(resolved).hasValue(7);

      // With those that came first, it asks for replicas.
      int questions = suffix.isEmpty() ? 1 : 0;
      Await.until(() -> front.calls().size() - before == 6 + questions);
      assertThat(resolved).hasValue(7);
      metastore.close().block(Aws.TIMEOUT);
    }
    assertThat(front.calls("DescribeTable")).isOne();
  }

  /** Also those that are resolved anew for each call, as by a provider that keeps nothing. */
  @Test
  void slowCredentials_doNotCountAgainstTheCallTimeout_andAreSharedByManyCalls() {
    Duration callTimeout = Duration.ofSeconds(3);
    // The first call of a JVM takes longer.
    DynamoDbMetastore first = built().credentialsProvider(Aws.credentials()).build();
    first.load(id, Aws.CREATED).block(Aws.TIMEOUT);
    first.close().block(Aws.TIMEOUT);
    AtomicInteger resolved = new AtomicInteger();
    AtomicInteger looking = new AtomicInteger();
    AtomicInteger mostLooking = new AtomicInteger();
    AwsCredentialsProvider slow =
        () -> {
          resolved.incrementAndGet();
          mostLooking.accumulateAndGet(looking.incrementAndGet(), Math::max);
          CountDownLatch never = new CountDownLatch(1);
          try {
            assertThat(never.await(callTimeout.plusSeconds(1).toMillis(), TimeUnit.MILLISECONDS))
                .isFalse();
          } catch (InterruptedException e) {
            throw new IllegalStateException(e);
          } finally {
            looking.decrementAndGet();
          }
          return AwsBasicCredentials.create("access", "secret");
        };
    // It asks for replicas, too.
    DynamoDbMetastore metastore =
        built().keySuffix("").callTimeout(callTimeout).credentialsProvider(slow).build();
    int loads = front.calls("GetItem");

    Flux.range(0, 60).flatMap(i -> metastore.load(id, Aws.CREATED), 60).blockLast(Aws.TIMEOUT);

    assertThat(front.calls("GetItem") - loads).isEqualTo(60);
    Await.until(() -> front.calls("DescribeTable") == 1);
    // That of all who came while it was looked for.
    assertThat(resolved.get()).isBetween(1, 2);
    assertThat(mostLooking).hasValue(1);
    metastore.close().block(Aws.TIMEOUT);
  }

  private record Asynchronous(CompletableFuture<AwsCredentialsIdentity> identity)
      implements AwsCredentialsProvider {
    @Override
    public AwsCredentials resolveCredentials() {
      throw new AssertionError("not asked for");
    }

    @Override
    public CompletableFuture<AwsCredentialsIdentity> resolveIdentity(
        ResolveIdentityRequest request) {
      return identity;
    }
  }

  @Test
  void clientThatCannotBeBuilt_isAnError_andIsTriedAgain() {
    AtomicInteger attempts = new AtomicInteger();
    DynamoDbMetastore metastore =
        built()
            .credentialsProvider(Aws.credentials())
            .clientCustomizer(
                builder -> {
                  if (attempts.incrementAndGet() == 1) {
                    throw new IllegalArgumentException("no proxy for " + TENANT);
                  }
                  builder.httpClient(http);
                })
            .build();

    StepVerifier.create(metastore.load(id, Aws.CREATED))
        .expectErrorSatisfies(
            e -> {
              assertIsError(e, "the client for DynamoDB could not be built: look at the cause");
              assertThat(e).hasCauseInstanceOf(IllegalArgumentException.class);
              assertThat(((MetastoreException) e).isRetryable()).isFalse();
            })
        .verify(Aws.TIMEOUT);
    assertThat(metastore.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();
    metastore.close().block(Aws.TIMEOUT);
  }

  /** In a profile without a region, and where no instance can be asked for one. */
  @Test
  void noRegion_isAnError(@TempDir Path dir) throws Exception {
    assumeTrue(System.getenv("AWS_REGION") == null, "AWS_REGION is set");
    List<String> names =
        List.of(
            "aws.disableEc2Metadata", "aws.configFile", "aws.sharedCredentialsFile", "aws.region");
    List<String> before = new ArrayList<>();
    names.forEach(name -> before.add(System.getProperty(name, "")));
    System.setProperty("aws.disableEc2Metadata", "true");
    System.setProperty("aws.configFile", Files.createFile(dir.resolve("config")).toString());
    System.setProperty("aws.sharedCredentialsFile", dir.resolve("config").toString());
    System.clearProperty("aws.region");
    try {
      DynamoDbMetastore metastore =
          DynamoDbMetastore.builder()
              .table(table)
              .credentialsProvider(Aws.credentials())
              .endpoint(front.endpoint())
              .build();
      // A chain does not say whether one of those that it asked may know it later.
      assertAllFail(metastore, true, "could not be built: look at the cause; it needs a region");
      metastore.close().block(Aws.TIMEOUT);
    } finally {
      for (int i = 0; i < names.size(); i++) {
        if (before.get(i).isEmpty()) {
          System.clearProperty(names.get(i));
        } else {
          System.setProperty(names.get(i), before.get(i));
        }
      }
    }
  }

  @Test
  void profile_hasTheCredentials(@TempDir Path dir) throws Exception {
    Path file = dir.resolve("credentials");
    Files.writeString(
        file,
        "[of-the-service]\naws_access_key_id = fromTheProfile\naws_secret_access_key = secret\n");
    String before = System.getProperty("aws.sharedCredentialsFile");
    System.setProperty("aws.sharedCredentialsFile", file.toString());
    try {
      DynamoDbMetastore metastore = built().profile("of-the-service").build();
      assertThat(metastore.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();
      metastore.close().block(Aws.TIMEOUT);

      DynamoDbMetastore missing = built().profile("of-nobody").build();
      assertAllFail(missing, false, "give the service a role");
      missing.close().block(Aws.TIMEOUT);
    } finally {
      if (before == null) {
        System.clearProperty("aws.sharedCredentialsFile");
      } else {
        System.setProperty("aws.sharedCredentialsFile", before);
      }
    }
  }

  /** A client that is built here makes one attempt; more are for the session factory. */
  @Test
  void clientBuiltHere_makesOneAttempt() {
    DynamoDbMetastore metastore = built().credentialsProvider(Aws.credentials()).build();
    front.fail(500, "InternalServerError", null);

    StepVerifier.create(metastore.load(id, Aws.CREATED)).verifyError(MetastoreException.class);

    assertThat(front.calls()).hasSize(1);
    metastore.close().block(Aws.TIMEOUT);
  }

  @Test
  void callTimeout_endsACall() {
    DynamoDbMetastore metastore =
        built().credentialsProvider(Aws.credentials()).callTimeout(Duration.ofSeconds(2)).build();
    metastore.warmUp().block(Aws.TIMEOUT);
    front.silent();

    StepVerifier.create(metastore.load(id, Aws.CREATED))
        .expectErrorSatisfies(e -> assertThat(((MetastoreException) e).isRetryable()).isTrue())
        .verify(Aws.TIMEOUT);
    metastore.close().block(Aws.TIMEOUT);
  }

  private void assertAllFail(DynamoDbMetastore metastore, boolean isRetryable, String... advice) {
    List<Publisher<?>> all =
        List.of(
            metastore.load(id, Aws.CREATED),
            metastore.loadLatest(id),
            metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)),
            metastore.list(KeySelector.id(id)),
            metastore.list(KeySelector.idPrefix(id)),
            metastore.revoke(KeySelector.id(id)),
            metastore.delete(KeySelector.id(id)),
            metastore.table().create(),
            metastore.table().validate());
    for (Publisher<?> one : all) {
      StepVerifier.create(Flux.from(one))
          .expectErrorSatisfies(
              e -> {
                assertIsError(e, advice);
                assertThat(((MetastoreException) e).isRetryable())
                    .as("%s caused by %s", e, e.getCause())
                    .isEqualTo(isRetryable);
              })
          .verify(Aws.TIMEOUT);
    }
  }

  private static void assertIsError(Throwable e, String... advice) {
    assertThat(e).isInstanceOf(MetastoreException.class);
    assertThat(e.getMessage()).containsAnyOf(advice).doesNotContain(TENANT);
  }
}
