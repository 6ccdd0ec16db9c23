package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.testsupport.Await;
import java.lang.ref.WeakReference;
import java.net.URI;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.test.StepVerifier;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.identity.spi.ResolveIdentityRequest;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;

class DynamoDbMetastoreTest {
  private static final DynamoDbAsyncClient CLIENT =
      new DynamoDbAsyncClient() {
        @Override
        public String serviceName() {
          return "dynamodb";
        }

        @Override
        public void close() {
          throw new AssertionError("closed");
        }
      };

  @Test
  void defaults_areThoseOfOthers() {
    DynamoDbMetastore metastore = DynamoDbMetastore.create(CLIENT);

    assertThat(metastore).hasToString("DynamoDbMetastore[EncryptionKey]");
    assertThat(metastore.keySuffix()).isEmpty();
    assertThat(metastore.name()).isEqualTo("dynamodb");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "abc",
        "Encryption.Key_1-2",
        "arn:aws:dynamodb:us-west-2:123456789012:table/EncryptionKey"
      })
  void table_isANameOrAnArn(String table) {
    assertThat(DynamoDbMetastore.builder().client(CLIENT).table(table).build().toString())
        .contains(table);
  }

  static Stream<String> badTables() {
    return Stream.of("", "a", "ab", "a b c", "a/b", "a:b:c", "t\u00e4ble", "x".repeat(256), "arn:");
  }

  @ParameterizedTest
  @MethodSource("badTables")
  void tableThatCannotBe_isRefused(String table) {
    assertThatThrownBy(() -> DynamoDbMetastore.builder().table(table))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("3 to 255");
  }

  static Stream<Consumer<DynamoDbMetastore.Builder>> badValues() {
    return Stream.of(
        b -> b.keySuffix("us_west"),
        b -> b.callTimeout(Duration.ZERO),
        b -> b.callTimeout(Duration.ofSeconds(-1)),
        b -> b.callTimeout(Duration.ofDays(1).plusNanos(1)),
        b -> b.region(""),
        b -> b.region(" "),
        b -> b.profile(""),
        b -> b.profile(" "),
        b -> b.endpoint(URI.create("localhost")),
        b -> b.endpoint(URI.create("/path")));
  }

  @ParameterizedTest
  @MethodSource("badValues")
  void badValue_isRefused(Consumer<DynamoDbMetastore.Builder> option) {
    assertThatThrownBy(() -> option.accept(DynamoDbMetastore.builder()))
        .isInstanceOf(IllegalArgumentException.class);
  }

  static Stream<Consumer<DynamoDbMetastore.Builder>> optionsOfAClientBuiltHere() {
    return Stream.of(
        b -> b.region("us-west-2"),
        b -> b.endpoint(URI.create("http://localhost:8000")),
        b -> b.credentialsProvider(Aws.credentials()),
        b -> b.profile("other"),
        b -> b.clientCustomizer(builder -> {}));
  }

  @ParameterizedTest
  @MethodSource("optionsOfAClientBuiltHere")
  void clientAndOptionsForAnother_areRefusedTogether(Consumer<DynamoDbMetastore.Builder> option) {
    DynamoDbMetastore.Builder builder = DynamoDbMetastore.builder().client(CLIENT);
    option.accept(builder);

    assertThatThrownBy(builder::build)
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("the client is given");
  }

  @Test
  void twoSourcesOfCredentials_areRefused() {
    assertThatThrownBy(
            () ->
                DynamoDbMetastore.builder()
                    .credentialsProvider(Aws.credentials())
                    .profile("other")
                    .build())
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("credentialsProvider and profile");
  }

  @Test
  void optionsThatFitTogether_areTaken() {
    DynamoDbMetastore metastore =
        DynamoDbMetastore.builder()
            .table("table")
            .keySuffix("us-west-2")
            .callTimeout(Duration.ofDays(1))
            .region("us-west-2")
            .endpoint(URI.create("http://localhost:8000"))
            .credentialsProvider(Aws.credentials())
            .clientCustomizer(builder -> {})
            .build();

    assertThat(metastore.keySuffix()).isEqualTo("us-west-2");
  }

  @Test
  void timeWithAPartOfASecond_isRefused() {
    DynamoDbMetastore metastore = DynamoDbMetastore.create(CLIENT);

    assertThatThrownBy(() -> metastore.load("_SK_a", Aws.CREATED.plusNanos(1)))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(
            () -> metastore.store("_SK_a", Aws.CREATED.plusNanos(1), Aws.record(Aws.CREATED, 1)))
        .isInstanceOf(IllegalArgumentException.class);
  }

  /** Before anybody is called. */
  @Test
  void idThatIsTooLong_isRefusedWithoutNamingThePartition() {
    String id = "_IK_tenant-4711" + "x".repeat(2_048);
    StepVerifier.create(
            DynamoDbMetastore.create(CLIENT).store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))
        .expectErrorSatisfies(
            e -> {
              assertThat(e)
                  .isInstanceOf(MetastoreException.class)
                  .hasMessageContaining("shorter names");
              assertThat(e.getMessage()).doesNotContain("tenant-4711");
            })
        .verify();
  }

  /** A client that is the user's may be anything. */
  @Test
  void clientThatCanNothing_isAnErrorAndNeverClosed() {
    DynamoDbMetastore metastore = DynamoDbMetastore.create(CLIENT);

    StepVerifier.create(metastore.load("_SK_a", Aws.CREATED))
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(MetastoreException.class)
                    .hasMessageContaining("UnsupportedOperationException"))
        .verify();
    metastore.close().block(Aws.TIMEOUT);
  }

  @Test
  void whoeverNoLongerWaitsForCredentials_isForgotten_alsoWhereTheyNeverCome() {
    DynamoDbMetastore metastore =
        DynamoDbMetastore.builder()
            .region("us-west-2")
            .credentialsProvider(new NeverComing())
            .build();
    WeakReference<Object> waiter = waitAndGiveUp(metastore);
    Await.until(
        () -> {
          System.gc();
          return waiter.get() == null;
        });
    metastore.close().block(Aws.TIMEOUT);
  }

  private static WeakReference<Object> waitAndGiveUp(DynamoDbMetastore metastore) {
    Object waiter = new Object();
    metastore.warmUp().doOnTerminate(waiter::hashCode).subscribe().dispose();
    return new WeakReference<>(waiter);
  }

  private static final class NeverComing implements AwsCredentialsProvider {
    @Override
    public AwsCredentials resolveCredentials() {
      throw new UnsupportedOperationException();
    }

    @Override
    public CompletableFuture<AwsCredentialsIdentity> resolveIdentity(
        ResolveIdentityRequest request) {
      return new CompletableFuture<>();
    }
  }
}
