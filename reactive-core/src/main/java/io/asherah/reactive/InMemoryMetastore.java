package io.asherah.reactive;

import io.asherah.reactive.spi.Metastore;
import java.time.Instant;
import java.util.Comparator;
import java.util.Map;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import reactor.core.publisher.Mono;

/**
 * A metastore that forgets everything with the process: for tests and demonstrations. What was
 * sealed under its keys cannot be opened after it is gone.
 *
 * <p>Answers on the subscribing thread without a lock. Safe for use by many threads.
 */
public final class InMemoryMetastore implements Metastore {
  private final ConcurrentNavigableMap<KeyMeta, EnvelopeKeyRecord> records =
      new ConcurrentSkipListMap<>(
          Comparator.comparing(KeyMeta::id).thenComparing(KeyMeta::created));

  /** Makes an empty metastore. */
  public InMemoryMetastore() {}

  @Override
  public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
    KeyMeta meta = new KeyMeta(id, created);
    return Mono.fromSupplier(() -> records.get(meta));
  }

  @Override
  public Mono<EnvelopeKeyRecord> loadLatest(String id) {
    KeyMeta afterAll = new KeyMeta(id, Instant.ofEpochSecond(Instant.MAX.getEpochSecond()));
    return Mono.fromSupplier(() -> records.floorEntry(afterAll))
        .filter(newest -> newest.getKey().id().equals(id))
        .map(Map.Entry::getValue);
  }

  @Override
  public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
    KeyMeta meta = new KeyMeta(id, created);
    return Mono.fromSupplier(() -> records.putIfAbsent(meta, record) == null);
  }
}
