package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.testaws.DynamoDbFront;
import io.asherah.reactive.testaws.DynamoDbServer;
import io.asherah.reactive.testsupport.Await;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import reactor.core.publisher.Flux;
import reactor.test.StepVerifier;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;

/** A table with replicas in other regions, which DynamoDB Local has not. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ReplicatedTableIT {
  private static final String REPLICAS =
      "\"Replicas\":[{\"RegionName\":\"us-east-1\",\"ReplicaStatus\":\"ACTIVE\"}]";

  private static final String CONFLICT = "ReplicatedWriteConflictException";

  private final Aws aws = new Aws();
  private final SdkAsyncHttpClient http = aws.http(Aws.Http.NETTY);
  private final PrintStream before = System.err;
  private final String id = Aws.freshId();
  private DynamoDbFront front;
  private DynamoDbAsyncClient client;
  private ByteArrayOutputStream log;
  private String table;

  @BeforeEach
  void createTable() {
    front = DynamoDbFront.to(DynamoDbServer.shared());
    client = aws.client(front.endpoint(), http, builder -> {});
    table = Aws.newTable(aws.client(Aws.server(), http, builder -> {}));
    log = new ByteArrayOutputStream();
    System.setErr(new PrintStream(log, true, StandardCharsets.UTF_8));
  }

  @AfterEach
  void closeFront() {
    System.setErr(before);
    front.close();
  }

  @AfterAll
  void close() {
    aws.close();
  }

  @Test
  void replicatedTable_isWarnedOfOnce() {
    replicated(REPLICAS);
    DynamoDbMetastore metastore = Aws.patient(client, table).build();

    Flux.range(0, 20).flatMap(i -> metastore.load(id, Aws.CREATED)).blockLast(Aws.TIMEOUT);
    metastore.warmUp().block(Aws.TIMEOUT);
    Await.until(() -> warnings() > 0);
    Flux.range(0, 20).flatMap(i -> metastore.load(id, Aws.CREATED)).blockLast(Aws.TIMEOUT);

    assertThat(warnings()).isOne();
    assertThat(front.calls("DescribeTable")).isOne();
    assertThat(log.toString(StandardCharsets.UTF_8))
        .contains("The table " + table + " is replicated", "Set keySuffix");
  }

  @Test
  void warmUp_warns() {
    replicated(REPLICAS);

    Aws.patient(client, table).build().warmUp().block(Aws.TIMEOUT);

    Await.until(() -> warnings() == 1);
  }

  @Test
  void replicatedTable_isNotAskedFor_withASuffix() {
    replicated(REPLICAS);
    DynamoDbMetastore metastore = Aws.patient(client, table).keySuffix("us-west-2").build();

    metastore.warmUp().block(Aws.TIMEOUT);
    metastore.load(id, Aws.CREATED).block(Aws.TIMEOUT);

    assertThat(front.calls("DescribeTable")).isZero();
  }

  @Test
  void tableWithoutReplicas_isNotWarnedOf() {
    assertIsSilent("\"Replicas\":[]");
  }

  @Test
  void tableThatIsStronglyConsistentEverywhere_isNotWarnedOf() {
    assertIsSilent(REPLICAS + ",\"MultiRegionConsistency\":\"STRONG\"");
  }

  @Test
  void tableThatIsEventuallyConsistent_isWarnedOf() {
    replicated(REPLICAS + ",\"MultiRegionConsistency\":\"EVENTUAL\"");

    Aws.patient(client, table).build().warmUp().block(Aws.TIMEOUT);

    Await.until(() -> warnings() == 1);
  }

  @Test
  void denied_isSilent() {
    front.on("DescribeTable").fail(400, "AccessDeniedException", "no");
    assertIsSilent();
  }

  @Test
  void answerThatIsNone_isSilent() {
    front.on("DescribeTable").emptyAnswer();
    assertIsSilent();
  }

  @Test
  void answerThatIsCutShort_isSilent() {
    front.on("DescribeTable").truncate();
    assertIsSilent();
  }

  @Test
  void answerThatNeverComes_holdsNobodyUp() {
    front.on("DescribeTable").silent();
    DynamoDbMetastore metastore = Aws.patient(client, table).build();

    metastore.warmUp().block(Aws.TIMEOUT);
    assertThat(Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))).isTrue();
    Await.until(() -> front.underWay() == 1);
    metastore.close().block(Aws.TIMEOUT);
  }

  /** The SDK may wait for credentials or do other work on the thread that calls it. */
  @Test
  void clientThatWaitsWithTheQuestion_holdsNobodyUp() {
    CountDownLatch gate = new CountDownLatch(1);
    DynamoDbMetastore metastore = Aws.patient(whereDescribeTableMeets(gate::await), table).build();
    try {
      metastore.warmUp().block(Aws.TIMEOUT);
      assertThat(Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))).isTrue();
    } finally {
      gate.countDown();
    }
    Await.until(() -> front.calls("DescribeTable") == 1 && front.underWay() == 0);
  }

  @Test
  void clientThatThrows_isSilent() {
    DynamoDbMetastore metastore =
        Aws.patient(
                whereDescribeTableMeets(
                    () -> {
                      throw new IllegalStateException("of a client");
                    }),
                table)
            .build();

    assertThat(Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))).isTrue();
    assertThat(warnings()).isZero();
  }

  private interface Hook {
    void run() throws Exception;
  }

  private DynamoDbAsyncClient whereDescribeTableMeets(Hook hook) {
    return (DynamoDbAsyncClient)
        Proxy.newProxyInstance(
            DynamoDbAsyncClient.class.getClassLoader(),
            new Class<?>[] {DynamoDbAsyncClient.class},
            (proxy, method, arguments) -> {
              if (method.getName().equals("describeTable")) {
                hook.run();
              }
              try {
                return method.invoke(client, arguments);
              } catch (InvocationTargetException e) {
                throw e.getTargetException();
              }
            });
  }

  private void replicated(String members) {
    front
        .on("DescribeTable")
        .edit(json -> json.replaceFirst("\\{\"Table\":\\{", "{\"Table\":{" + members + ","));
  }

  private void assertIsSilent(String members) {
    replicated(members);
    assertIsSilent();
  }

  private void assertIsSilent() {
    DynamoDbMetastore metastore = Aws.patient(client, table).build();

    metastore.warmUp().block(Aws.TIMEOUT);
    assertThat(Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))).isTrue();
    assertThat(Aws.get(metastore.load(id, Aws.CREATED))).isEqualTo(Aws.record(Aws.CREATED, 1));
    Await.until(() -> front.calls("DescribeTable") == 1 && front.underWay() == 0);

    assertThat(warnings()).isZero();
  }

  private int warnings() {
    return log.toString(StandardCharsets.UTF_8).split(" is replicated to other regions", -1).length
        - 1;
  }

  // Writes of two regions that meet.

  @Test
  void conflict_whenOursIsThere_isTrue() {
    DynamoDbMetastore metastore = Aws.patient(client, table).keySuffix("x").build();
    front.on("PutItem").times(1).failAfterwards(400, CONFLICT, null);

    assertThat(Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))).isTrue();

    assertThat(front.operations()).containsExactly("PutItem", "GetItem");
    assertThat(front.lastRequest("GetItem")).contains("\"ConsistentRead\":true");
  }

  @Test
  void conflict_whenThatOfAnotherIsThere_isFalse() {
    DynamoDbMetastore metastore = Aws.patient(client, table).keySuffix("x").build();
    Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 2)));
    front.on("PutItem").times(1).fail(400, CONFLICT, null);

    assertThat(Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))).isFalse();

    assertThat(front.operations()).containsExactly("PutItem", "PutItem", "GetItem");
  }

  @Test
  void conflict_whenNoneIsThere_storesAgain() {
    DynamoDbMetastore metastore = Aws.patient(client, table).keySuffix("x").build();
    front.on("PutItem").times(1).fail(400, CONFLICT, null);

    assertThat(Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))).isTrue();

    assertThat(front.operations()).containsExactly("PutItem", "GetItem", "PutItem");
    assertThat(Aws.get(metastore.load(id, Aws.CREATED))).isEqualTo(Aws.record(Aws.CREATED, 1));
  }

  @Test
  void conflictTwice_isARetryableError() {
    DynamoDbMetastore metastore = Aws.patient(client, table).keySuffix("x").build();
    front.on("PutItem").fail(400, CONFLICT, null);

    StepVerifier.create(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))
        .expectErrorSatisfies(e -> assertIsRetryable(e))
        .verify(Aws.TIMEOUT);

    assertThat(front.operations()).containsExactly("PutItem", "GetItem", "PutItem");
  }

  @Test
  void conflictWhoseOutcomeCannotBeRead_isARetryableError() {
    DynamoDbMetastore metastore = Aws.patient(client, table).keySuffix("x").build();
    front.on("PutItem").fail(400, CONFLICT, null);
    front.on("GetItem").fail(500, "InternalServerError", null);

    StepVerifier.create(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))
        .expectErrorSatisfies(e -> assertIsRetryable(e))
        .verify(Aws.TIMEOUT);
  }

  private static void assertIsRetryable(Throwable e) {
    assertThat(e).isInstanceOf(MetastoreException.class).hasMessageContaining("again");
    assertThat(((MetastoreException) e).isRetryable()).isTrue();
  }
}
