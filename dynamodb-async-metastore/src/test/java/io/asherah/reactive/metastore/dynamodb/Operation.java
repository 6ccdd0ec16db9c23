package io.asherah.reactive.metastore.dynamodb;

import io.asherah.reactive.spi.KeySelector;
import java.util.function.BiFunction;
import org.reactivestreams.Publisher;

/** Everything that can be done, and the call of it that is looked at. */
enum Operation {
  LOAD((metastore, id) -> metastore.load(id, Aws.CREATED), "GetItem"),
  LOAD_LATEST((metastore, id) -> metastore.loadLatest(id), "Query"),
  STORE((metastore, id) -> metastore.store(id, Aws.at(7), Aws.record(Aws.at(7), 1)), "PutItem"),
  STORE_OF_A_DUPLICATE(
      (metastore, id) -> metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)), "PutItem"),
  LIST((metastore, id) -> metastore.list(KeySelector.id(id)), "Query"),
  LIST_OF_MANY((metastore, id) -> metastore.list(KeySelector.idPrefix(id)), "Scan"),
  REVOKE((metastore, id) -> metastore.revoke(KeySelector.id(id)), "Query"),
  REVOKE_UPDATING((metastore, id) -> metastore.revoke(KeySelector.id(id)), "UpdateItem"),
  DELETE((metastore, id) -> metastore.delete(KeySelector.id(id)), "Query"),
  DELETE_DELETING((metastore, id) -> metastore.delete(KeySelector.id(id)), "DeleteItem"),
  VALIDATE((metastore, id) -> metastore.table().validate(), "DescribeTable"),
  CREATE((metastore, id) -> metastore.table().create(), "CreateTable"),
  CREATE_WAITING((metastore, id) -> metastore.table().create(), "DescribeTable");

  final String call;
  private final BiFunction<DynamoDbMetastore, String, Publisher<?>> work;

  Operation(BiFunction<DynamoDbMetastore, String, Publisher<?>> work, String call) {
    this.work = work;
    this.call = call;
  }

  Publisher<?> of(DynamoDbMetastore metastore, String id) {
    return work.apply(metastore, id);
  }

  /** Whether the call is preceded by others. */
  boolean isSecondCall() {
    return this == REVOKE_UPDATING || this == DELETE_DELETING || this == CREATE_WAITING;
  }

  boolean isChange() {
    return switch (call) {
      case "PutItem", "UpdateItem", "DeleteItem", "CreateTable" -> true;
      default -> false;
    };
  }
}
