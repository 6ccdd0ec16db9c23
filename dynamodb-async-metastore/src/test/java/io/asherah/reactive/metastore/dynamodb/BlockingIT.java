package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.spi.KeySelector;
import java.time.Duration;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.blockhound.BlockingOperationError;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.identity.spi.ResolveIdentityRequest;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClientBuilder;

/** With BlockHound, which the test platform installs: nothing blocks a thread that must not. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class BlockingIT {
  private final Aws aws = new Aws();
  private SdkAsyncHttpClient netty;
  private String table;

  @BeforeAll
  void createTable() {
    netty = aws.http(Aws.Http.NETTY);
    table = Aws.newTable(aws.client(Aws.server(), netty, builder -> {}));
  }

  @AfterAll
  void close() {
    aws.close();
  }

  /** The proof that the other tests can fail. */
  @Test
  void blockingCredentials_areFoundWhereAClientIsCalledDirectly() {
    DynamoDbAsyncClient client =
        aws.client(Aws.server(), netty, b -> b.credentialsProvider(new Slow()));

    assertThatThrownBy(
            () ->
                Mono.defer(
                        () ->
                            Mono.fromFuture(
                                client.getItem(
                                    b -> b.tableName(table).key(Aws.key("x", Aws.CREATED)))))
                    .subscribeOn(Schedulers.parallel())
                    .block(Aws.TIMEOUT))
        .satisfies(e -> assertThat(causedByBlocking(e)).as("%s", e).isTrue());
  }

  private static boolean causedByBlocking(Throwable e) {
    for (Throwable cause = e; cause != null; cause = cause.getCause()) {
      if (cause instanceof BlockingOperationError) {
        return true;
      }
    }
    return false;
  }

  /** What blocks may throw an error that somebody on the way swallows, so threads count, too. */
  @ParameterizedTest
  @EnumSource
  void slowCredentialsThatExpire_blockNobody(Aws.Http kind) {
    Slow credentials = new Slow();
    SdkAsyncHttpClient http = aws.http(kind);
    assertWorks(credentials, client -> client.httpClient(http));
    assertThat(credentials.resolved).hasValue(Slow.TIMES);
    assertThat(credentials.threads).allMatch(name -> name.startsWith("boundedElastic-"));
  }

  @Test
  void asynchronousSlowCredentials_blockNobody() {
    assertWorks(new SlowAsynchronous(), client -> client.httpClient(netty));
  }

  private void assertWorks(
      AwsCredentialsProvider credentials, Consumer<DynamoDbAsyncClientBuilder> options) {
    DynamoDbMetastore metastore =
        DynamoDbMetastore.builder()
            .table(table)
            .region("us-west-2")
            .endpoint(Aws.server())
            .credentialsProvider(credentials)
            .clientCustomizer(options)
            .callTimeout(Aws.TIMEOUT)
            .build();
    EnvelopeKeyRecord record = Aws.record(Aws.CREATED, 1);

    Long answers =
        Aws.get(
            Flux.range(0, 60)
                .flatMap(
                    i -> {
                      String id = "_SK_" + UUID.randomUUID();
                      KeySelector key = KeySelector.id(id);
                      return metastore
                          .store(id, Aws.CREATED, record)
                          .then(onParallel(metastore.store(id, Aws.CREATED, record)))
                          .then(onParallel(metastore.load(id, Aws.CREATED)))
                          .then(onParallel(metastore.loadLatest(id)))
                          .then(onParallel(metastore.list(key).count()))
                          .then(onParallel(metastore.revoke(key)))
                          .then(onParallel(metastore.delete(key)))
                          .subscribeOn(Schedulers.parallel());
                    },
                    50)
                .reduce(0L, Long::sum));
    onParallel(metastore.table().validate()).block(Aws.TIMEOUT);
    onParallel(metastore.close()).block(Aws.TIMEOUT);

    assertThat(answers).isEqualTo(60);
  }

  private static <T> Mono<T> onParallel(Mono<T> work) {
    return work.subscribeOn(Schedulers.parallel());
  }

  /** Takes a second, blocking, each time when what it had has expired, which is after some use. */
  private static final class Slow implements AwsCredentialsProvider {
    static final int TIMES = 3;

    /** However many calls share one: of 60 things 50 are done at once, by 9 calls or more each. */
    private static final int USES = 4;

    final AtomicInteger resolved = new AtomicInteger();
    final Set<String> threads = ConcurrentHashMap.newKeySet();
    private int uses;

    @Override
    public synchronized AwsCredentials resolveCredentials() {
      threads.add(Thread.currentThread().getName());
      if (uses++ % USES == 0 && resolved.get() < TIMES) {
        resolved.incrementAndGet();
        try {
          TimeUnit.SECONDS.sleep(1);
        } catch (InterruptedException e) {
          throw new IllegalStateException(e);
        }
      }
      return AwsSessionCredentials.builder()
          .accessKeyId("access")
          .secretAccessKey("secret")
          .sessionToken("token")
          .build();
    }
  }

  /** Takes a while, and answers on a thread that must not block. */
  private static final class SlowAsynchronous implements AwsCredentialsProvider {
    @Override
    public AwsCredentials resolveCredentials() {
      throw new AssertionError("not asked for");
    }

    @Override
    public CompletableFuture<AwsCredentialsIdentity> resolveIdentity(
        ResolveIdentityRequest request) {
      return Mono.delay(Duration.ofMillis(20), Schedulers.parallel())
          .<AwsCredentialsIdentity>map(late -> AwsCredentialsIdentity.create("access", "secret"))
          .toFuture();
    }
  }
}
