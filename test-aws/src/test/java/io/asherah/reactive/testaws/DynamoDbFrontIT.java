package io.asherah.reactive.testaws;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.testsupport.Await;
import java.net.ConnectException;
import java.net.URI;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.DynamoDbException;
import software.amazon.awssdk.services.dynamodb.model.GetItemResponse;
import software.amazon.awssdk.services.dynamodb.model.InternalServerErrorException;
import software.amazon.awssdk.services.dynamodb.model.MultiRegionConsistency;
import software.amazon.awssdk.services.dynamodb.model.ProvisionedThroughputExceededException;
import software.amazon.awssdk.services.dynamodb.model.PutItemResponse;
import software.amazon.awssdk.services.dynamodb.model.ReplicaDescription;
import software.amazon.awssdk.services.dynamodb.model.TableDescription;

class DynamoDbFrontIT {
  private static final AtomicInteger TABLES = new AtomicInteger();
  private static final Map<String, AttributeValue> KEY =
      Map.of("Id", AttributeValue.fromS("\u00fcml\u00e4ut"));

  private final Clients clients = new Clients();
  private final DynamoDbFront front = DynamoDbFront.to(DynamoDbServer.shared());
  private final String table = "Front" + TABLES.incrementAndGet();
  private DynamoDbAsyncClient client;

  @BeforeEach
  void createTable() {
    Clients.createTable(clients.dynamoDb(DynamoDbServer.shared().endpoint()), table);
    client = clients.dynamoDb(front.endpoint());
  }

  @AfterEach
  void close() {
    clients.close();
    front.close();
  }

  private CompletableFuture<PutItemResponse> put() {
    return client.putItem(b -> b.tableName(table).item(KEY));
  }

  private CompletableFuture<GetItemResponse> get() {
    return client.getItem(b -> b.tableName(table).key(KEY).consistentRead(true));
  }

  /** Asks the server itself. */
  private boolean isStored() {
    DynamoDbAsyncClient direct = clients.dynamoDb(DynamoDbServer.shared().endpoint());
    return direct.getItem(b -> b.tableName(table).key(KEY)).join().hasItem();
  }

  private static void assertError(CompletableFuture<?> call, int status, @Nullable String code) {
    assertThat(Clients.failure(call))
        .isInstanceOfSatisfying(
            AwsServiceException.class,
            error -> {
              assertThat(error.statusCode()).isEqualTo(status);
              assertThat(error.awsErrorDetails().errorCode()).isEqualTo(code);
            });
  }

  @Test
  void aRequest_isForwarded_isAnsweredAndRecorded() {
    put().join();

    assertThat(get().join().item()).isEqualTo(KEY);
    assertThat(isStored()).isTrue();
    assertThat(front.operations()).containsExactly("PutItem", "GetItem");
    assertThat(front.calls("PutItem")).isEqualTo(1);
    assertThat(front.calls("Query")).isZero();
    assertThat(front.lastRequest("PutItem")).contains(table).contains("\u00fcml\u00e4ut");
    assertThat(front.lastRequest("GetItem")).contains("ConsistentRead");
    assertThat(front.lastRequest("Query")).isNull();
    assertThat(front.calls()).allMatch(Call::isAnswered);
    assertThat(front.underWay()).isZero();
  }

  @Test
  void aRequest_goesThroughCrt_isForwardedOrFailsAsThroughNetty() {
    client = clients.dynamoDb(front.endpoint(), "us-west-2", clients.crt());
    put().join();
    assertThat(get().join().item()).isEqualTo(KEY);

    front.fail(400, "ProvisionedThroughputExceededException", "slow down");

    assertThat(Clients.failure(get())).isInstanceOf(ProvisionedThroughputExceededException.class);
  }

  @Test
  void anError_ofTheServer_isForwarded() {
    CompletableFuture<?> missing = client.describeTable(b -> b.tableName("Missing"));

    assertError(missing, 400, "ResourceNotFoundException");
  }

  @Test
  void anOperation_fails_itsErrorIsThatOfAwsAndOthersSucceed() {
    front.on("PutItem").fail(400, "ProvisionedThroughputExceededException", "slow down");

    Throwable error = Clients.failure(put());

    assertThat(error)
        .isInstanceOf(ProvisionedThroughputExceededException.class)
        .hasMessageContaining("slow down");
    assertThat(((AwsServiceException) error).awsErrorDetails().rawResponse().asUtf8String())
        .isEqualTo(
            "{\"__type\":\"com.amazonaws.dynamodb.v20120810"
                + "#ProvisionedThroughputExceededException\",\"message\":\"slow down\"}");
    assertThat(get().join().hasItem()).isFalse();
    front.healthy();
    put().join();
    assertThat(isStored()).isTrue();
  }

  @Test
  void anOperation_failsSoManyTimes_thenSucceeds() {
    front.on("GetItem").times(2).fail(500, "InternalServerError", null);
    front.on("GetItem").times(1).raw(503, "text/html", "<html>unavailable</html>");

    assertThat(Clients.failure(get())).isInstanceOf(InternalServerErrorException.class);
    assertThat(Clients.failure(get())).isInstanceOf(InternalServerErrorException.class);
    assertThat(Clients.failure(get()))
        .isInstanceOfSatisfying(
            DynamoDbException.class, error -> assertThat(error.statusCode()).isEqualTo(503));
    get().join();
  }

  @Test
  void twoFaults_areWithoutLimit_theLastHolds() {
    front.fail(500, "InternalServerError", null);
    front.fail(400, "ThrottlingException", null);

    assertError(get(), 400, "ThrottlingException");
    assertError(get(), 400, "ThrottlingException");
  }

  @Test
  void aStore_failsAfterwards_hasHappened() {
    front.on("PutItem").times(1).failAfterwards(500, "InternalServerError", "lost");

    assertThat(Clients.failure(put())).isInstanceOf(InternalServerErrorException.class);

    assertThat(isStored()).isTrue();
  }

  @Test
  void answers_areMalformed_theClientFails() {
    front.on("GetItem").garbage();
    assertThat(Clients.failure(get())).isInstanceOf(SdkClientException.class);
    front.on("GetItem").raw(500, "application/x-amz-json-1.0", "");
    assertError(get(), 500, null);
    front.healthy();
    front.on("GetItem").truncate();
    assertThat(Clients.failure(get())).isInstanceOf(SdkClientException.class);

    front.healthy();

    get().join();
  }

  @Test
  void anAnswer_isEmpty_theItemIsMissing() {
    put().join();
    front.on("GetItem").emptyAnswer();

    assertThat(get().join().hasItem()).isFalse();
  }

  @Test
  void anAnswer_isEdited_theClientBelievesIt() {
    front
        .on("DescribeTable")
        .edit(
            body ->
                body.replace(
                    "\"TableName\"",
                    "\"Replicas\":[{\"RegionName\":\"eu-west-1\"}],"
                        + "\"MultiRegionConsistency\":\"STRONG\",\"TableName\""));

    TableDescription description = client.describeTable(b -> b.tableName(table)).join().table();

    assertThat(description.tableName()).isEqualTo(table);
    assertThat(description.replicas())
        .extracting(ReplicaDescription::regionName)
        .containsExactly("eu-west-1");
    assertThat(description.multiRegionConsistency()).isEqualTo(MultiRegionConsistency.STRONG);
  }

  @Test
  void anEdit_throws_theCallFails() {
    front
        .on("GetItem")
        .edit(
            body -> {
              throw new IllegalStateException("of the test");
            });

    assertError(get(), 500, null);
  }

  @Test
  void anAnswer_isDelayed_comesLaterAndOthersAreNot() {
    front.on("PutItem").delay(Duration.ofMillis(300));
    long before = System.nanoTime();
    put().join();
    assertThat(Duration.ofNanos(System.nanoTime() - before))
        .isGreaterThanOrEqualTo(Duration.ofMillis(300));

    front.on("PutItem").delay(Duration.ofDays(1));
    CompletableFuture<PutItemResponse> late = put();
    Await.until(() -> front.underWay() == 1);
    get().join();

    assertThat(late).isNotDone();
  }

  @Test
  void aStore_isDelayed_hasHappened() {
    front.on("PutItem").delay(Duration.ofDays(1));

    CompletableFuture<PutItemResponse> late = put();

    Await.until(this::isStored);
    assertThat(late).isNotDone();
  }

  @Test
  void aCall_isNeverAnswered_isUnderWayUntilTheClientGoes() {
    front.on("PutItem").silent();

    Call call;
    // Cancelling the future of a call does not reach the connection: not with this client.
    try (Clients leaving = new Clients()) {
      CompletableFuture<PutItemResponse> silent =
          leaving.dynamoDb(front.endpoint()).putItem(b -> b.tableName(table).item(KEY));
      Await.until(() -> front.underWay() == 1);
      call = front.calls().get(0);
      assertThat(call.isUnderWay()).isTrue();
      get().join();
      assertThat(silent).isNotDone();
      assertThat(isStored()).isFalse();
    }

    Await.until(() -> front.underWay() == 0);
    assertThat(call.isUnderWay()).isFalse();
    assertThat(call.isAnswered()).isFalse();
  }

  @Test
  void calls_areHeld_happenOnceTheyAreReleased() {
    front.on("PutItem").times(1).hold();
    CompletableFuture<PutItemResponse> held = put();
    Await.until(() -> front.underWay() == 1);
    assertThat(isStored()).isFalse();

    front.release();

    held.join();
    assertThat(isStored()).isTrue();
  }

  @Test
  void itIsHealthyAgain_whatWasHeldGoesOn() {
    front.on("PutItem").hold();
    CompletableFuture<PutItemResponse> held = put();
    Await.until(() -> front.underWay() == 1);

    front.healthy();

    held.join();
    put().join();
  }

  @Test
  void aHook_runsBeforeACall_andMayBlockIt() {
    CountDownLatch gate = new CountDownLatch(1);
    AtomicInteger runs = new AtomicInteger();
    front
        .on("PutItem")
        .times(1)
        .before(
            () -> {
              runs.incrementAndGet();
              try {
                gate.await();
              } catch (InterruptedException e) {
                throw new IllegalStateException(e);
              }
            });
    CompletableFuture<PutItemResponse> blocked = put();
    Await.until(() -> runs.get() == 1);
    get().join();
    assertThat(isStored()).isFalse();

    gate.countDown();

    blocked.join();
    assertThat(isStored()).isTrue();
    put().join();
    assertThat(runs).hasValue(1);
  }

  @Test
  void aHook_throws_theCallFailsAndDoesNotHappen() {
    front
        .on("PutItem")
        .before(
            () -> {
              throw new IllegalStateException("of the test");
            });

    assertError(put(), 500, null);

    assertThat(isStored()).isFalse();
  }

  @Test
  void itRefuses_connectionsAreRefusedUntilItAcceptsAgain() {
    URI endpoint = front.endpoint();
    get().join();

    front.refuse();
    front.refuse();

    DynamoDbAsyncClient late = clients.dynamoDb(endpoint);
    assertThat(Clients.failure(late.listTables())).hasRootCauseInstanceOf(ConnectException.class);
    assertThat(front.calls("ListTables")).isZero();

    front.accept();
    front.accept();

    late.listTables().join();
    assertThat(front.endpoint()).isEqualTo(endpoint);
    front.refuse();
    front.healthy();
    clients.dynamoDb(endpoint).listTables().join();
  }

  @Test
  void itRefuses_aCallIsUnderWay_isStillAnswered() {
    front.on("PutItem").hold();
    CompletableFuture<PutItemResponse> held = put();
    Await.until(() -> front.underWay() == 1);

    front.refuse();
    front.release();

    held.join();
  }

  @Test
  void itIsClosed_callsUnderWayFail() {
    front.silent();
    List<CompletableFuture<GetItemResponse>> silent = Stream.generate(this::get).limit(10).toList();
    Await.until(() -> front.underWay() == 10);

    front.close();
    front.close();

    assertThat(silent)
        .allSatisfy(
            call -> assertThat(Clients.failure(call)).isInstanceOf(SdkClientException.class));
    assertThat(front.underWay()).isZero();
    assertThatThrownBy(() -> front.times(0)).isInstanceOf(IllegalArgumentException.class);
  }
}
