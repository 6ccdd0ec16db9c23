package io.asherah.reactive;

import io.asherah.reactive.spi.Metastore;
import java.time.Instant;
import reactor.core.publisher.Mono;

/** One region's view of a table that others use as well. */
record SuffixedMetastore(Metastore table, String suffix) implements Metastore {

  @Override
  public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
    return table.load(id, created);
  }

  @Override
  public Mono<EnvelopeKeyRecord> loadLatest(String id) {
    return table.loadLatest(id);
  }

  @Override
  public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
    return table.store(id, created, record);
  }

  @Override
  public String keySuffix() {
    return suffix;
  }
}
