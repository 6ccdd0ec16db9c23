package io.asherah.reactive.micrometer;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import io.micrometer.observation.ObservationRegistry;
import java.time.Instant;
import java.util.Objects;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Gives every call to a metastore an observation: {@code asherah.metastore.load}, {@code
 * .loadlatest} or {@code .store}, and for a {@link KeyInventory} also {@code .list}, {@code
 * .revoke} and {@code .delete}, with the low-cardinality key {@code metastore}, which is {@link
 * Metastore#name()}, and {@code reactor.status} and {@code reactor.type} from Reactor. No key value
 * has the id of a key in it; an error is reported as the metastore signals it.
 *
 * <p>The parent is the observation in the Reactor context, under {@code "micrometer.observation"}:
 * that of the operation that started the load. Operations that only wait for it are not related to
 * the call. The metastore finds the new observation in the same place, as parent of what it
 * observes itself.
 *
 * <p>No name is that of a meter of {@link MicrometerMetricsRecorder}, so a handler that makes
 * meters of observations can be used besides.
 *
 * <p>Thread-safe if the metastore is.
 */
public final class ObservedMetastore {
  private ObservedMetastore() {}

  /**
   * Wraps a metastore. Each subscription to an answer starts one observation, which ends with the
   * value, the completion, the error, or when it is cancelled; the answer itself and its thread
   * stay as they are, and what the metastore throws is signalled. A handler of the registry that
   * throws makes the call fail.
   *
   * @param metastore the metastore
   * @param registry where observations are reported
   * @return a metastore that is also a {@link KeyInventory} if the one given is one
   */
  public static Metastore create(Metastore metastore, ObservationRegistry registry) {
    Observing observing =
        new Observing(
            Objects.requireNonNull(registry, "registry"),
            "asherah.metastore.",
            "metastore",
            metastore.name());
    return metastore instanceof KeyInventory inventory
        ? new WithInventory(metastore, inventory, observing)
        : new Observed(metastore, observing);
  }

  private static class Observed implements Metastore {
    private final Metastore metastore;
    final Observing observing;

    Observed(Metastore metastore, Observing observing) {
      this.metastore = metastore;
      this.observing = observing;
    }

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return observing.mono("load", () -> metastore.load(id, created));
    }

    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return observing.mono("loadlatest", () -> metastore.loadLatest(id));
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return observing.mono("store", () -> metastore.store(id, created, record));
    }

    @Override
    public String name() {
      return metastore.name();
    }

    @Override
    public String keySuffix() {
      return metastore.keySuffix();
    }

    @Override
    public String toString() {
      return "ObservedMetastore[%s]".formatted(metastore);
    }
  }

  private static final class WithInventory extends Observed implements KeyInventory {
    private final KeyInventory inventory;

    WithInventory(Metastore metastore, KeyInventory inventory, Observing observing) {
      super(metastore, observing);
      this.inventory = inventory;
    }

    @Override
    public Flux<KeyInfo> list(KeySelector selector) {
      return observing.flux("list", () -> inventory.list(selector));
    }

    @Override
    public Mono<Long> revoke(KeySelector selector) {
      return observing.mono("revoke", () -> inventory.revoke(selector));
    }

    @Override
    public Mono<Long> delete(KeySelector selector) {
      return observing.mono("delete", () -> inventory.delete(selector));
    }
  }
}
