import org.jspecify.annotations.NullMarked;

/** Keeps the keys of Asherah Reactive in Amazon DynamoDB. */
@NullMarked
module io.asherah.reactive.metastore.dynamodb {
  requires transitive io.asherah.reactive;
  requires transitive software.amazon.awssdk.auth;
  requires transitive software.amazon.awssdk.services.dynamodb;
  requires static transitive org.jspecify;
  requires org.slf4j;
  requires software.amazon.awssdk.awscore;
  requires software.amazon.awssdk.core;
  requires software.amazon.awssdk.identity.spi;
  requires software.amazon.awssdk.regions;
  requires software.amazon.awssdk.retries;

  exports io.asherah.reactive.metastore.dynamodb;
}
