package io.asherah.reactive.metastore.dynamodb;

class NettyMetastoreIT extends MetastoreContract {
  NettyMetastoreIT() {
    super(Aws.Http.NETTY);
  }
}
