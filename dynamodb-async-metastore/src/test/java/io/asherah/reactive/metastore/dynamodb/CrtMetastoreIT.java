package io.asherah.reactive.metastore.dynamodb;

class CrtMetastoreIT extends MetastoreContract {
  CrtMetastoreIT() {
    super(Aws.Http.CRT);
  }
}
