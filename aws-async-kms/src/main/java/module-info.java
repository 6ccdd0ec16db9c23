import org.jspecify.annotations.NullMarked;

/** Wraps the system keys of Asherah Reactive with AWS KMS. */
@NullMarked
module io.asherah.reactive.kms.aws {
  requires transitive io.asherah.reactive;
  requires transitive software.amazon.awssdk.auth;
  requires transitive software.amazon.awssdk.services.kms;
  requires static transitive org.jspecify;
  requires org.slf4j;
  requires software.amazon.awssdk.awscore;
  requires software.amazon.awssdk.core;
  requires software.amazon.awssdk.identity.spi;
  requires software.amazon.awssdk.regions;
  requires software.amazon.awssdk.retries;
  requires tools.jackson.core;

  exports io.asherah.reactive.kms.aws;
}
