package io.asherah.reactive;

import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import java.time.Instant;
import java.util.Comparator;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A metastore that forgets everything with the process: for tests and demonstrations. What was
 * sealed under its keys cannot be opened after it is gone.
 *
 * <p>Answers on the subscribing thread without a lock. Safe for use by many threads.
 */
public final class InMemoryMetastore implements Metastore, KeyInventory {
  private final ConcurrentNavigableMap<KeyMeta, EnvelopeKeyRecord> records =
      new ConcurrentSkipListMap<>(
          Comparator.comparing(KeyMeta::id).thenComparing(KeyMeta::created));
  private final String keySuffix;

  /** Makes an empty metastore without a key suffix. */
  public InMemoryMetastore() {
    this("");
  }

  /**
   * Makes an empty metastore.
   *
   * @param keySuffix what {@link #keySuffix()} returns, empty for none
   */
  public InMemoryMetastore(String keySuffix) {
    this.keySuffix = Objects.requireNonNull(keySuffix, "keySuffix");
  }

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

  @Override
  public String keySuffix() {
    return keySuffix;
  }

  @Override
  public String name() {
    return "memory";
  }

  @Override
  public Flux<KeyInfo> list(KeySelector selector) {
    return Flux.defer(() -> Flux.fromIterable(records.entrySet()))
        .filter(entry -> selector.selects(entry.getKey()))
        .map(entry -> info(entry.getKey(), entry.getValue()));
  }

  private static KeyInfo info(KeyMeta meta, EnvelopeKeyRecord record) {
    return new KeyInfo(meta, record.isRevoked(), record.parentKeyMeta());
  }

  @Override
  public Mono<Long> revoke(KeySelector selector) {
    return list(selector)
        .filter(key -> !key.isRevoked())
        .filter(
            key -> {
              EnvelopeKeyRecord record = records.get(key.meta());
              return record != null && records.replace(key.meta(), record, record.asRevoked());
            })
        .count();
  }

  @Override
  public Mono<Long> delete(KeySelector selector) {
    return list(selector).filter(key -> records.remove(key.meta()) != null).count();
  }
}
