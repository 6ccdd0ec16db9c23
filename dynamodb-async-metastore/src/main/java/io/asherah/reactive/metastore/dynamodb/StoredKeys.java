package io.asherah.reactive.metastore.dynamodb;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.metastore.dynamodb.Calls.Action;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Signal;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.ConditionalCheckFailedException;
import software.amazon.awssdk.services.dynamodb.model.DeleteItemRequest;
import software.amazon.awssdk.services.dynamodb.model.QueryRequest;
import software.amazon.awssdk.services.dynamodb.model.ReturnConsumedCapacity;
import software.amazon.awssdk.services.dynamodb.model.ScanRequest;
import software.amazon.awssdk.services.dynamodb.model.UpdateItemRequest;

/**
 * Lists, revokes and deletes what a selector selects: the versions of one id by a query, those of
 * many by a scan, which reads the whole table. A page is read when the one before it is used up.
 */
final class StoredKeys {
  /** Items that Rust keeps in the table, which are no keys. */
  private static final String FOREIGN = "__asherah_internal_";

  /** How many keys are changed at the same time; each is a call. */
  private static final int AT_ONCE = 8;

  private final Calls calls;

  StoredKeys(Calls calls) {
    this.calls = calls;
  }

  Flux<KeyInfo> list(KeySelector selector) {
    return pages("list keys", Condition.of(selector), "Id, Created, KeyRecord")
        .concatMapIterable(this::inOrder, 1);
  }

  /** In a scan, versions of a key are next to each other, but nobody promises their order. */
  private List<KeyInfo> inOrder(List<Map<String, AttributeValue>> page) {
    return page.stream()
        .map(this::info)
        .sorted(
            Comparator.<KeyInfo, String>comparing(key -> key.meta().id())
                .thenComparing(key -> key.meta().created()))
        .toList();
  }

  private KeyInfo info(Map<String, AttributeValue> item) {
    KeyMeta meta = KeyItem.meta(item, calls.table);
    EnvelopeKeyRecord record = KeyItem.record(meta.id(), item, calls.table);
    return new KeyInfo(meta, record.isRevoked(), record.parentKeyMeta());
  }

  Mono<Long> revoke(KeySelector selector) {
    return count("revoke keys", Condition.ofUnrevoked(selector), this::revoke);
  }

  private Mono<?> revoke(Map<String, AttributeValue> key) {
    return calls.call(
        "revoke a key",
        Action.UPDATE_ITEM,
        (client, configuration) ->
            client.updateItem(
                UpdateItemRequest.builder()
                    .tableName(calls.table)
                    .key(key)
                    .updateExpression("SET KeyRecord.Revoked = :true")
                    // An update of an item that is not there would make one.
                    .conditionExpression("attribute_exists(KeyRecord) AND " + Condition.UNREVOKED)
                    .expressionAttributeValues(Map.of(":true", AttributeValue.fromBool(true)))
                    .returnConsumedCapacity(ReturnConsumedCapacity.TOTAL)
                    .overrideConfiguration(configuration)
                    .build()),
        response -> response.consumedCapacity() != null);
  }

  Mono<Long> delete(KeySelector selector) {
    return count("delete keys", Condition.of(selector), this::delete);
  }

  private Mono<?> delete(Map<String, AttributeValue> key) {
    return calls.call(
        "delete a key",
        Action.DELETE_ITEM,
        (client, configuration) ->
            client.deleteItem(
                DeleteItemRequest.builder()
                    .tableName(calls.table)
                    .key(key)
                    .conditionExpression("attribute_exists(Id)")
                    .returnConsumedCapacity(ReturnConsumedCapacity.TOTAL)
                    .overrideConfiguration(configuration)
                    .build()),
        response -> response.consumedCapacity() != null);
  }

  /**
   * Counts changes, but those that another one has made meanwhile. Of several that fail at the same
   * time, one error is signalled; until then errors are values. Items need not be keys for that:
   * who deletes must get rid of any.
   */
  private Mono<Long> count(
      String what, Condition condition, Function<Map<String, AttributeValue>, Mono<?>> change) {
    return pages(what, condition, "Id, Created")
        .concatMapIterable(page -> page, 1)
        .materialize()
        .flatMap(key -> changed(key, change), AT_ONCE)
        .filter(outcome -> !outcome.isOnComplete())
        .<Long>dematerialize()
        .count();
  }

  private static Mono<Signal<Long>> changed(
      Signal<Map<String, AttributeValue>> key,
      Function<Map<String, AttributeValue>, Mono<?>> change) {
    Throwable failure = key.getThrowable();
    if (failure != null) {
      return Mono.just(Signal.error(failure));
    }
    Map<String, AttributeValue> found = key.get();
    return found == null
        ? Mono.empty()
        : change
            .apply(found)
            .thenReturn(1L)
            .onErrorResume(
                e -> e.getCause() instanceof ConditionalCheckFailedException, e -> Mono.empty())
            .materialize();
  }

  // Pages.

  private Flux<List<Map<String, AttributeValue>>> pages(
      String what, Condition condition, String attributes) {
    return condition.selectsNothing
        ? Flux.empty()
        : page(what, condition, attributes, null)
            .expand(
                page ->
                    page.next.isEmpty()
                        ? Mono.empty()
                        : page(what, condition, attributes, page.next))
            .map(Page::items);
  }

  private Mono<Page> page(
      String what,
      Condition condition,
      String attributes,
      @Nullable Map<String, AttributeValue> after) {
    return condition.isQuery
        ? query(what, condition, attributes, after)
        : scan(what, condition, attributes, after);
  }

  private Mono<Page> query(
      String what,
      Condition condition,
      String attributes,
      @Nullable Map<String, AttributeValue> after) {
    return calls
        .call(
            what,
            Action.QUERY,
            (client, configuration) ->
                client.query(
                    QueryRequest.builder()
                        .tableName(calls.table)
                        .consistentRead(true)
                        .keyConditionExpression(condition.key)
                        .filterExpression(condition.filter)
                        .expressionAttributeValues(condition.values)
                        .projectionExpression(attributes)
                        .exclusiveStartKey(after)
                        .returnConsumedCapacity(ReturnConsumedCapacity.TOTAL)
                        .overrideConfiguration(configuration)
                        .build()),
            response -> response.hasItems() && response.consumedCapacity() != null)
        .map(found -> new Page(found.items(), found.lastEvaluatedKey()));
  }

  private Mono<Page> scan(
      String what,
      Condition condition,
      String attributes,
      @Nullable Map<String, AttributeValue> after) {
    return calls
        .call(
            what,
            Action.SCAN,
            (client, configuration) ->
                client.scan(
                    ScanRequest.builder()
                        .tableName(calls.table)
                        .consistentRead(true)
                        .filterExpression(condition.filter)
                        .expressionAttributeValues(condition.values)
                        .projectionExpression(attributes)
                        .exclusiveStartKey(after)
                        .returnConsumedCapacity(ReturnConsumedCapacity.TOTAL)
                        .overrideConfiguration(configuration)
                        .build()),
            response -> response.hasItems() && response.consumedCapacity() != null)
        .map(found -> new Page(found.items(), found.lastEvaluatedKey()));
  }

  private record Page(List<Map<String, AttributeValue>> items, Map<String, AttributeValue> next) {}

  /** What is asked for: of a query by the key, of a scan by a filter. */
  private static final class Condition {
    static final String UNREVOKED =
        "(attribute_not_exists(KeyRecord.Revoked) OR KeyRecord.Revoked <> :true)";

    final boolean selectsNothing;
    final boolean isQuery;
    final @Nullable String key;
    final @Nullable String filter;
    final Map<String, AttributeValue> values = new HashMap<>();

    private Condition(KeySelector selector, List<String> others) {
      long first = wholeSecond(Objects.requireNonNullElse(selector.from(), Instant.MIN));
      long last = wholeSecond(Objects.requireNonNullElse(selector.before(), Instant.MAX)) - 1;
      String id = selector.id();
      this.isQuery = !selector.isPrefix();
      this.selectsNothing =
          first > last
              || (!id.isEmpty() && !KeyItem.mayBeId(id))
              || (isQuery && id.startsWith(FOREIGN));
      List<String> keys = new ArrayList<>();
      if (isQuery) {
        keys.add("Id = :id");
      } else {
        keys.add("NOT begins_with(Id, :foreign)");
        values.put(":foreign", AttributeValue.fromS(FOREIGN));
      }
      if (!isQuery && !id.isEmpty()) {
        keys.add("begins_with(Id, :id)");
      }
      if (!id.isEmpty()) {
        values.put(":id", AttributeValue.fromS(id));
      }
      if (selector.from() != null || selector.before() != null) {
        // One condition, because a query takes no more on a sort key.
        keys.add("Created BETWEEN :from AND :to");
        values.put(":from", AttributeValue.fromN(Long.toString(first)));
        values.put(":to", AttributeValue.fromN(Long.toString(last)));
      }
      this.key = isQuery ? String.join(" AND ", keys) : null;
      List<String> filters = new ArrayList<>(isQuery ? List.of() : keys);
      filters.addAll(others);
      this.filter = filters.isEmpty() ? null : String.join(" AND ", filters);
    }

    static Condition of(KeySelector selector) {
      return new Condition(selector, List.of());
    }

    static Condition ofUnrevoked(KeySelector selector) {
      Condition condition =
          new Condition(selector, List.of("attribute_type(KeyRecord, :map)", UNREVOKED));
      condition.values.put(":map", AttributeValue.fromS("M"));
      condition.values.put(":true", AttributeValue.fromBool(true));
      return condition;
    }
  }

  /** Times of keys are whole seconds: from a part of one on means from the next on. */
  private static long wholeSecond(Instant time) {
    return time.getEpochSecond() + (time.getNano() == 0 ? 0 : 1);
  }
}
