package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.FactoryClosedException;
import io.asherah.reactive.KeyMeta;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.util.context.Context;

/**
 * One load at a time for each thing, whatever the number of subscribers.
 *
 * <p>A load belongs to this class, not to who asked first: it goes on when subscribers cancel, and
 * it runs in a Reactor context of its own, since a key that was stored inside a caller's database
 * transaction would vanish with its roll-back while it is still cached. This is the one place in
 * the library that subscribes. Errors and empty results reach those who wait and are forgotten.
 *
 * <p>A load that has not ended after the time-out, whatever the reason, is answered with an error
 * and makes room for another one; should it end after all, its key is cached.
 *
 * <p>Loads are registered on the securememory scheduler and run on the continuation scheduler; each
 * subscriber goes on there on a worker of its own.
 */
final class SharedLoads {
  private final ConcurrentMap<Id<?>, Load<?>> loads = new ConcurrentHashMap<>();

  /** Also those that were forgotten, whose subscribers still wait. */
  private final Set<Load<?>> running = ConcurrentHashMap.newKeySet();

  private final Scheduler registration;
  private final Scheduler continuation;
  private final Duration timeout;
  private volatile boolean closed;

  SharedLoads(Scheduler registration, Scheduler continuation, Duration timeout) {
    this.registration = registration;
    this.continuation = continuation;
    this.timeout = timeout;
  }

  /**
   * What is being loaded.
   *
   * @param type what a load emits
   * @param ring the name of the key ring it is for
   * @param meta the key, or null for the latest one
   * @param patience the part of the time-out that is given to it. One that others wait for gives up
   *     before they do; so its error reaches them, and whoever tries again finds no load under way
   *     that is about to fail
   */
  record Id<T>(Class<T> type, String ring, @Nullable KeyMeta meta, double patience) {}

  /**
   * Emits what is cached if there is something when this is subscribed to, or else joins the load
   * under way, or else starts one.
   *
   * @param cached looks into the cache
   * @param loader makes the load; the argument tells whether its ring was forgotten meanwhile. What
   *     is to be cached is in the cache when it ends
   */
  <T> Mono<T> join(
      Id<T> id, Supplier<? extends @Nullable T> cached, Function<BooleanSupplier, Mono<T>> loader) {
    return Mono.defer(() -> joinOrStart(id, cached, loader))
        .subscribeOn(registration)
        .publishOn(continuation);
  }

  @SuppressWarnings("unchecked") // an id of T is mapped to a load of T, here and nowhere else
  private <T> Mono<T> joinOrStart(
      Id<T> id, Supplier<? extends @Nullable T> cached, Function<BooleanSupplier, Mono<T>> loader) {
    Load<T> load = new Load<>();
    Load<T> current = (Load<T>) loads.putIfAbsent(id, load);
    if (current != null) {
      return current.result.asMono();
    }
    running.add(load);
    if (closed) {
      end(id, load, () -> load.result.tryEmitError(new FactoryClosedException()));
      return load.result.asMono();
    }
    try {
      start(id, load, cached, loader);
    } catch (RuntimeException | Error e) {
      end(id, load, () -> load.result.tryEmitError(e));
    }
    return load.result.asMono();
  }

  private <T> void start(
      Id<T> id,
      Load<T> load,
      Supplier<? extends @Nullable T> cached,
      Function<BooleanSupplier, Mono<T>> loader) {
    // On our own scheduler: the continuation scheduler need not know about time.
    Disposable deadline =
        registration.schedule(
            () -> end(id, load, () -> load.result.tryEmitError(late())),
            (long) (timeout.toNanos() * id.patience),
            TimeUnit.NANOSECONDS);
    // A load caches its key before it is unregistered. So with ours registered, either the cache
    // has the key of the one before, or there was none.
    Mono.defer(
            () -> {
              T hit = cached.get();
              return hit != null ? Mono.just(hit) : loader.apply(() -> load.forgotten);
            })
        .contextWrite(callers -> Context.empty())
        .subscribeOn(continuation)
        .doOnTerminate(deadline::dispose)
        .subscribe(
            loaded -> end(id, load, () -> load.result.tryEmitValue(loaded)),
            error -> end(id, load, () -> load.result.tryEmitError(error)),
            () -> end(id, load, load.result::tryEmitEmpty));
  }

  /** Unregisters first: who is told of an error may try again at once. */
  private void end(Id<?> id, Load<?> load, Runnable emission) {
    loads.remove(id, load);
    running.remove(load);
    emission.run();
  }

  private AppEncryptionException late() {
    return new AppEncryptionException(
        "a key could not be loaded within %s; metastore or key management service do not answer"
            .formatted(timeout),
        null,
        true);
  }

  /** Keeps the loads under way for this ring from being cached, and later subscribers from them. */
  void forget(String ring) {
    loads.forEach(
        (id, load) -> {
          if (id.ring.equals(ring)) {
            load.forgotten = true;
            loads.remove(id, load);
          }
        });
  }

  /** Keeps all loads from being cached, and tells those who wait and those who will come. */
  void close() {
    closed = true;
    running.forEach(
        load -> {
          load.forgotten = true;
          load.result.tryEmitError(new FactoryClosedException());
        });
    running.clear();
    loads.clear();
  }

  private static final class Load<T> {
    private final Sinks.One<T> result = Sinks.one();
    private volatile boolean forgotten;
  }
}
