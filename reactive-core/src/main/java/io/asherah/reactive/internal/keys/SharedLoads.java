package io.asherah.reactive.internal.keys;

import io.asherah.reactive.KeyMeta;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.util.context.Context;

/**
 * One load at a time for each key, whatever the number of subscribers.
 *
 * <p>A load belongs to this class, not to who asked first: it goes on when subscribers cancel, and
 * it runs in a Reactor context of its own, since a key that was stored inside a caller's database
 * transaction would vanish with its roll-back while it is still cached. This is the one place in
 * the library that subscribes. Errors and empty results reach those who wait and are forgotten.
 *
 * <p>Loads are registered on the securememory scheduler and run on the continuation scheduler; each
 * subscriber goes on there on a worker of its own.
 */
final class SharedLoads {
  private final ConcurrentMap<Id, Load> loads = new ConcurrentHashMap<>();
  private final Scheduler registration;
  private final Scheduler continuation;

  SharedLoads(Scheduler registration, Scheduler continuation) {
    this.registration = registration;
    this.continuation = continuation;
  }

  /**
   * What is being loaded.
   *
   * @param ring the name of the key ring it is for
   * @param meta the key, or null for the latest one
   */
  record Id(String ring, @Nullable KeyMeta meta) {}

  /**
   * Emits the cached key if there is one when this is subscribed to, or else joins the load under
   * way, or else starts one.
   *
   * @param cached looks into the cache
   * @param loader makes the load; the argument tells whether its ring was forgotten meanwhile. It
   *     ends with the key in the cache
   */
  Mono<CachedKey> join(
      Id id,
      Supplier<@Nullable CachedKey> cached,
      Function<BooleanSupplier, Mono<CachedKey>> loader) {
    return Mono.defer(() -> joinOrStart(id, cached, loader))
        .subscribeOn(registration)
        .publishOn(continuation);
  }

  private Mono<CachedKey> joinOrStart(
      Id id,
      Supplier<@Nullable CachedKey> cached,
      Function<BooleanSupplier, Mono<CachedKey>> loader) {
    Load load = new Load();
    Load current = loads.putIfAbsent(id, load);
    if (current != null) {
      return current.result.asMono();
    }
    // A load caches its key before it is unregistered. So with ours registered, either the cache
    // has
    // the key of the one before, or there was none.
    CachedKey key = cached.get();
    if (key != null) {
      loads.remove(id, load);
      load.result.tryEmitValue(key);
      return load.result.asMono();
    }
    Mono.defer(() -> loader.apply(() -> load.forgotten))
        .contextWrite(callers -> Context.empty())
        .subscribeOn(continuation)
        .subscribe(
            loaded -> {
              loads.remove(id, load);
              load.result.tryEmitValue(loaded);
            },
            error -> {
              loads.remove(id, load);
              load.result.tryEmitError(error);
            },
            () -> {
              loads.remove(id, load);
              load.result.tryEmitEmpty();
            });
    return load.result.asMono();
  }

  /** Keeps all loads under way from being cached. */
  void forgetAll() {
    loads.values().forEach(load -> load.forgotten = true);
    loads.clear();
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

  private static final class Load {
    private final Sinks.One<CachedKey> result = Sinks.one();
    private volatile boolean forgotten;
  }
}
