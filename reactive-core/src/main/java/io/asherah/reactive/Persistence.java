package io.asherah.reactive;

import java.util.Objects;
import java.util.UUID;
import java.util.function.BiFunction;
import java.util.function.Function;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Where an application keeps its sealed records, for {@link Session#store} and {@link
 * Session#load}.
 *
 * <p>An implementation must not block the subscribing thread and must be safe for use by many
 * threads. What it signals as an error reaches the application unchanged.
 */
public interface Persistence {

  /**
   * Reads a record.
   *
   * @param key the key under which it was stored
   * @return the record, or empty where there is none
   */
  Mono<DataRowRecord> load(String key);

  /**
   * Stores a record under a key.
   *
   * @param key the key
   * @param record the record
   * @return completion when it is stored
   */
  Mono<Void> store(String key, DataRowRecord record);

  /**
   * Stores a record under a key that the persistence chooses: here a random UUID.
   *
   * @param record the record
   * @return the key under which it was stored
   */
  default Mono<String> store(DataRowRecord record) {
    // UUID.randomUUID() reads from the system's random device, which an event loop must not do.
    return Mono.fromCallable(() -> UUID.randomUUID().toString())
        .subscribeOn(Schedulers.boundedElastic())
        .flatMap(key -> store(key, record).thenReturn(key));
  }

  /**
   * Makes a persistence of two functions.
   *
   * @param loader reads a record, empty where there is none
   * @param storer stores a record
   * @return a persistence that calls them
   */
  static Persistence of(
      Function<String, Mono<DataRowRecord>> loader,
      BiFunction<String, DataRowRecord, Mono<Void>> storer) {
    Objects.requireNonNull(loader, "loader");
    Objects.requireNonNull(storer, "storer");
    return new Persistence() {
      @Override
      public Mono<DataRowRecord> load(String key) {
        return loader.apply(key);
      }

      @Override
      public Mono<Void> store(String key, DataRowRecord record) {
        return storer.apply(key, record);
      }
    };
  }
}
