package io.asherah.reactive.testkit;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A metastore in front of another one: it records every call, counts those in flight, and can be
 * told, from any thread and until {@link #recover()}, to answer late, never, or with an error.
 *
 * <p>Nothing happens before a subscription, and each is recorded as a call and calls the wrapped
 * metastore once; also what that throws is signalled. Whether to fail, and when to answer, is
 * decided at subscription, each for itself: a call can be late and fail.
 *
 * <ul>
 *   <li>A call that fails is not made to the wrapped metastore.
 *   <li>A call whose answer is late or never comes <b>is</b> made, at once, and only its answer, or
 *       its error, is held back: as with a network, a record can be stored although the caller gave
 *       up waiting.
 * </ul>
 *
 * <p>Adds no thread of its own: answers come on the thread of the wrapped metastore, or of what
 * they were late for. Never blocks. Safe for use by many threads.
 */
public final class RecordingMetastore
    extends Recording<RecordingMetastore.Operation, RecordingMetastore.Call>
    implements Metastore, KeyInventory {
  private final Metastore wrapped;

  private RecordingMetastore(Metastore wrapped) {
    super(List.of(Operation.values()), Call::operation);
    this.wrapped = wrapped;
  }

  /**
   * Wraps a metastore.
   *
   * @param wrapped what answers; where it is no {@link KeyInventory}, calls to this one as such
   *     signal {@link UnsupportedOperationException}
   * @return a new metastore with its name and key suffix
   */
  public static RecordingMetastore of(Metastore wrapped) {
    return new RecordingMetastore(Objects.requireNonNull(wrapped, "wrapped"));
  }

  @Override
  public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
    return recordMono(
        new Call(Operation.LOAD, id, Optional.of(created)),
        () -> wrapped.load(id, created),
        discarded -> {});
  }

  @Override
  public Mono<EnvelopeKeyRecord> loadLatest(String id) {
    return recordMono(
        new Call(Operation.LOAD_LATEST, id, Optional.empty()),
        () -> wrapped.loadLatest(id),
        discarded -> {});
  }

  @Override
  public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
    return recordMono(
        new Call(Operation.STORE, id, Optional.of(created)),
        () -> wrapped.store(id, created, record),
        discarded -> {});
  }

  @Override
  public Flux<KeyInfo> list(KeySelector selector) {
    return recordFlux(
        call(Operation.LIST, selector),
        onInventory(inventory -> inventory.list(selector), Flux::error));
  }

  @Override
  public Mono<Long> revoke(KeySelector selector) {
    return recordMono(
        call(Operation.REVOKE, selector),
        onInventory(inventory -> inventory.revoke(selector), Mono::error),
        discarded -> {});
  }

  @Override
  public Mono<Long> delete(KeySelector selector) {
    return recordMono(
        call(Operation.DELETE, selector),
        onInventory(inventory -> inventory.delete(selector), Mono::error),
        discarded -> {});
  }

  private static Call call(Operation operation, KeySelector selector) {
    return new Call(operation, selector.id(), Optional.empty());
  }

  private <P> Supplier<P> onInventory(
      Function<KeyInventory, P> call, Function<Throwable, P> failed) {
    return () ->
        wrapped instanceof KeyInventory inventory
            ? call.apply(inventory)
            : failed.apply(
                new UnsupportedOperationException(
                    "the wrapped metastore, %s, is no KeyInventory"
                        .formatted(wrapped.getClass().getName())));
  }

  @Override
  public String name() {
    return wrapped.name();
  }

  @Override
  public String keySuffix() {
    return wrapped.keySuffix();
  }

  /** Names the wrapped metastore and the calls in flight, no keys. */
  @Override
  public String toString() {
    return describe(wrapped.name());
  }

  /** What a metastore can be asked. */
  public enum Operation {
    /** {@link Metastore#load}. */
    LOAD,
    /** {@link Metastore#loadLatest}. */
    LOAD_LATEST,
    /** {@link Metastore#store}. */
    STORE,
    /** {@link KeyInventory#list}. */
    LIST,
    /** {@link KeyInventory#revoke}. */
    REVOKE,
    /** {@link KeyInventory#delete}. */
    DELETE
  }

  /**
   * A call that was made. Immutable and safe for use by many threads.
   *
   * @param operation what was asked
   * @param id the id of the key, or the one in the selector
   * @param created which version, for {@link Operation#LOAD} and {@link Operation#STORE} only
   */
  public record Call(Operation operation, String id, Optional<Instant> created) {

    /** Names a system key; of any other, whose id may contain a partition, only its time. */
    @Override
    public String toString() {
      return "Call[%s, id=%s, created=%s]"
          .formatted(
              operation,
              id.startsWith("_SK_") ? id : "****",
              created.map(Instant::toString).orElse("any"));
    }
  }
}
