package io.asherah.reactive.metastore.dynamodb;

import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.metastore.dynamodb.Calls.Action;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import reactor.core.publisher.Mono;
import reactor.util.retry.Retry;
import software.amazon.awssdk.services.dynamodb.model.AttributeDefinition;
import software.amazon.awssdk.services.dynamodb.model.BillingMode;
import software.amazon.awssdk.services.dynamodb.model.CreateTableRequest;
import software.amazon.awssdk.services.dynamodb.model.DescribeTableRequest;
import software.amazon.awssdk.services.dynamodb.model.KeySchemaElement;
import software.amazon.awssdk.services.dynamodb.model.KeyType;
import software.amazon.awssdk.services.dynamodb.model.ResourceInUseException;
import software.amazon.awssdk.services.dynamodb.model.ResourceNotFoundException;
import software.amazon.awssdk.services.dynamodb.model.ScalarAttributeType;
import software.amazon.awssdk.services.dynamodb.model.TableDescription;
import software.amazon.awssdk.services.dynamodb.model.TableStatus;

/**
 * The table of a {@link DynamoDbMetastore}, to create it in tests and development, and to find out
 * whether one that exists has the right key. In production a table is created with deletion
 * protection and backups, see {@code docs/aws.md}. Immutable and safe for use by many threads.
 *
 * <p>Threads, time limits, cancellation and errors are those of the metastore.
 */
public final class DynamoDbTable {
  private static final Duration LOOK_AGAIN = Duration.ofMillis(500);
  private static final int LOOKS = 20;
  private static final Set<TableStatus> COMING = Set.of(TableStatus.CREATING, TableStatus.DELETING);
  private static final Map<String, ScalarAttributeType> TYPES =
      Map.of(KeyItem.ID, ScalarAttributeType.S, KeyItem.CREATED, ScalarAttributeType.N);

  private final Calls calls;

  DynamoDbTable(Calls calls) {
    this.calls = calls;
  }

  /**
   * Creates the table where it does not exist, billed by request and without indexes, and waits
   * until it can be used. Needs {@code dynamodb:CreateTable} and {@code dynamodb:DescribeTable}.
   *
   * @return completes empty when there is a table that can be used, however long that takes;
   *     signals what {@link #validate()} signals where there is one that cannot
   */
  public Mono<Void> create() {
    return calls
        .call(
            "create the table",
            Action.CREATE_TABLE,
            (client, configuration) ->
                client.createTable(
                    CreateTableRequest.builder()
                        .tableName(calls.table)
                        .attributeDefinitions(
                            attribute(KeyItem.ID, ScalarAttributeType.S),
                            attribute(KeyItem.CREATED, ScalarAttributeType.N))
                        .keySchema(
                            key(KeyItem.ID, KeyType.HASH), key(KeyItem.CREATED, KeyType.RANGE))
                        .billingMode(BillingMode.PAY_PER_REQUEST)
                        .overrideConfiguration(configuration)
                        .build()),
            created -> created.tableDescription() != null)
        .then()
        .onErrorResume(e -> e.getCause() instanceof ResourceInUseException, e -> Mono.empty())
        .then(
            describe()
                .filter(table -> !COMING.contains(table.tableStatus()))
                .repeatWhenEmpty(Integer.MAX_VALUE, empty -> empty.delayElements(LOOK_AGAIN)))
        // For moments, a new table may not be found; and one that is being deleted is gone then.
        .retryWhen(
            Retry.fixedDelay(LOOKS, LOOK_AGAIN)
                .filter(e -> e.getCause() instanceof ResourceNotFoundException)
                .onRetryExhaustedThrow((spec, signal) -> signal.failure()))
        .flatMap(this::requireFit);
  }

  private static AttributeDefinition attribute(String name, ScalarAttributeType type) {
    return AttributeDefinition.builder().attributeName(name).attributeType(type).build();
  }

  private static KeySchemaElement key(String name, KeyType type) {
    return KeySchemaElement.builder().attributeName(name).keyType(type).build();
  }

  /**
   * Finds out whether the table exists and has the key {@code Id} (S, partition key) and {@code
   * Created} (N, sort key). Needs {@code dynamodb:DescribeTable}.
   *
   * @return completes empty if it is so; signals a {@link MetastoreException} that says all that is
   *     not
   */
  public Mono<Void> validate() {
    return describe().flatMap(this::requireFit);
  }

  private Mono<Void> requireFit(TableDescription table) {
    List<String> problems = problems(table);
    return problems.isEmpty() ? Mono.empty() : Mono.error(() -> unfit(problems));
  }

  private Mono<TableDescription> describe() {
    return calls
        .call(
            "describe the table",
            Action.DESCRIBE_TABLE,
            (client, configuration) ->
                client.describeTable(
                    DescribeTableRequest.builder()
                        .tableName(calls.table)
                        .overrideConfiguration(configuration)
                        .build()),
            described -> described.table() != null)
        .map(described -> described.table());
  }

  private static List<String> problems(TableDescription table) {
    List<String> problems = new ArrayList<>();
    if (table.tableStatus() != TableStatus.ACTIVE && table.tableStatus() != TableStatus.UPDATING) {
      problems.add("its status is %s, and must be ACTIVE".formatted(table.tableStatusAsString()));
    }
    Map<KeyType, String> keys =
        table.keySchema().stream()
            .collect(Collectors.toMap(KeySchemaElement::keyType, KeySchemaElement::attributeName));
    if (!keys.equals(Map.of(KeyType.HASH, KeyItem.ID, KeyType.RANGE, KeyItem.CREATED))) {
      problems.add("its key is %s, and must be Id (HASH) and Created (RANGE)".formatted(keys));
    }
    for (AttributeDefinition attribute : table.attributeDefinitions()) {
      ScalarAttributeType type = TYPES.get(attribute.attributeName());
      if (type != null && type != attribute.attributeType()) {
        problems.add(
            "%s is of type %s, and must be %s"
                .formatted(attribute.attributeName(), attribute.attributeTypeAsString(), type));
      }
    }
    return problems;
  }

  private MetastoreException unfit(List<String> problems) {
    return new MetastoreException(
        "the table %s cannot be used for keys: %s. See docs/aws.md"
            .formatted(calls.table, String.join("; ", problems)),
        null,
        false);
  }
}
