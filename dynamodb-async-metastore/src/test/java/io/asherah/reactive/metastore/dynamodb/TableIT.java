package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.testaws.DynamoDbFront;
import io.asherah.reactive.testaws.DynamoDbServer;
import java.util.UUID;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import reactor.core.publisher.Flux;
import reactor.test.StepVerifier;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeDefinition;
import software.amazon.awssdk.services.dynamodb.model.BillingMode;
import software.amazon.awssdk.services.dynamodb.model.KeySchemaElement;
import software.amazon.awssdk.services.dynamodb.model.TableDescription;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class TableIT {
  private final Aws aws = new Aws();
  private final String name = "t" + UUID.randomUUID();
  private DynamoDbFront front;
  private DynamoDbAsyncClient client;

  @BeforeAll
  void open() {
    front = DynamoDbFront.to(DynamoDbServer.shared());
    client = aws.client(front.endpoint());
  }

  @AfterEach
  void heal() {
    front.healthy();
  }

  @AfterAll
  void close() {
    aws.close();
    front.close();
  }

  private DynamoDbTable table(String of) {
    // Does not ask for replicas, which would be counted too.
    return Aws.patient(client, of).keySuffix("suffix").build().table();
  }

  @Test
  void create_makesTheTableOfAllOthers() {
    String fresh = name + "a";
    table(fresh).create().block(Aws.TIMEOUT);
    table(fresh).create().block(Aws.TIMEOUT);

    TableDescription made = client.describeTable(b -> b.tableName(fresh)).join().table();
    assertThat(made.keySchema())
        .containsExactly(
            KeySchemaElement.builder().attributeName("Id").keyType("HASH").build(),
            KeySchemaElement.builder().attributeName("Created").keyType("RANGE").build());
    assertThat(made.attributeDefinitions())
        .containsExactlyInAnyOrder(
            AttributeDefinition.builder().attributeName("Id").attributeType("S").build(),
            AttributeDefinition.builder().attributeName("Created").attributeType("N").build());
    assertThat(made.billingModeSummary().billingMode()).isEqualTo(BillingMode.PAY_PER_REQUEST);
    assertThat(made.hasGlobalSecondaryIndexes()).isFalse();
    assertThat(made.hasLocalSecondaryIndexes()).isFalse();
    table(fresh).validate().block(Aws.TIMEOUT);
  }

  @Test
  void create_byManyAtOnce_isNoError() {
    String fresh = name + "b";

    Flux.range(0, 20).flatMap(i -> table(fresh).create()).blockLast(Aws.TIMEOUT);

    table(fresh).validate().block(Aws.TIMEOUT);
  }

  @Test
  void create_waitsForTheTable() {
    String fresh = name + "c";
    int before = front.calls("DescribeTable");
    front.on("DescribeTable").times(1).edit(json -> json.replace("\"ACTIVE\"", "\"CREATING\""));
    // As for moments after a table was made.
    front.on("DescribeTable").times(1).fail(400, "ResourceNotFoundException", null);

    table(fresh).create().block(Aws.TIMEOUT);

    assertThat(front.calls("DescribeTable") - before).isEqualTo(3);
  }

  @Test
  void validate_ofNoTable_isAnError() {
    StepVerifier.create(table(name + "none").validate())
        .expectErrorSatisfies(e -> assertIsError(e, "does not exist"))
        .verify(Aws.TIMEOUT);
  }

  @Test
  void validate_tellsAllThatIsWrong() {
    String other = name + "d";
    client
        .createTable(
            b ->
                b.tableName(other)
                    .billingMode(BillingMode.PAY_PER_REQUEST)
                    .attributeDefinitions(
                        AttributeDefinition.builder()
                            .attributeName("Id")
                            .attributeType("N")
                            .build())
                    .keySchema(
                        KeySchemaElement.builder().attributeName("Id").keyType("HASH").build()))
        .join();

    StepVerifier.create(table(other).validate())
        .expectErrorSatisfies(
            e -> {
              assertIsError(e, "Id is of type N, and must be S");
              assertIsError(e, "Created (RANGE)");
              assertIsError(e, other);
            })
        .verify(Aws.TIMEOUT);
  }

  @Test
  void validate_tellsSwappedKeys() {
    String other = name + "e";
    client
        .createTable(
            b ->
                b.tableName(other)
                    .billingMode(BillingMode.PAY_PER_REQUEST)
                    .attributeDefinitions(
                        AttributeDefinition.builder()
                            .attributeName("id")
                            .attributeType("S")
                            .build(),
                        AttributeDefinition.builder()
                            .attributeName("Created")
                            .attributeType("S")
                            .build())
                    .keySchema(
                        KeySchemaElement.builder().attributeName("id").keyType("HASH").build(),
                        KeySchemaElement.builder()
                            .attributeName("Created")
                            .keyType("RANGE")
                            .build()))
        .join();

    StepVerifier.create(table(other).validate())
        .expectErrorSatisfies(
            e -> {
              assertIsError(e, "must be Id (HASH)");
              assertIsError(e, "Created is of type S, and must be N");
            })
        .verify(Aws.TIMEOUT);
    // And whoever uses it nevertheless is told.
    StepVerifier.create(
            Aws.patient(client, other)
                .keySuffix("x")
                .build()
                .store("_SK_a", Aws.CREATED, Aws.record(Aws.CREATED, 1)))
        .expectErrorSatisfies(e -> assertIsError(e, "another key than Id (S) and Created (N)"))
        .verify(Aws.TIMEOUT);
  }

  private static void assertIsError(Throwable e, String part) {
    assertThat(e).isInstanceOf(MetastoreException.class).hasMessageContaining(part);
    assertThat(((MetastoreException) e).isRetryable()).isFalse();
  }
}
