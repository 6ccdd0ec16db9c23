package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.FactoryClosedException;
import io.asherah.reactive.KeyMeta;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.util.context.Context;
import reactor.util.context.ContextView;

/**
 * One load at a time for each thing, whatever the number of subscribers.
 *
 * <p>A load belongs to this class, not to who asked first: it goes on when subscribers cancel, and
 * it runs in a Reactor context of its own, since a key that was stored inside a caller's database
 * transaction would vanish with its roll-back while it is still cached. Only the entries that were
 * named for it come from whoever started it. This is the one place in the library that subscribes.
 * Errors and empty results reach those who wait and are forgotten.
 *
 * <p>A load that has not ended after the time-out, whatever the reason, is answered with an error
 * and makes room for another one. It makes no further calls; should it end all the same, its key is
 * cached.
 *
 * <p>Loads are registered on the securememory scheduler and run on the continuation scheduler; each
 * subscriber goes on there on a worker of its own.
 */
final class SharedLoads {
  private final ConcurrentMap<Id<?>, Load<?>> loads = new ConcurrentHashMap<>();

  /** Also those that were forgotten, whose subscribers still wait. */
  private final Set<Load<?>> running = ConcurrentHashMap.newKeySet();

  private final Runnable precondition;
  private final Scheduler registration;
  private final Timing timing;
  private final Duration timeout;
  private final Set<Object> contextKeys;
  private final Sinks.Empty<Void> closing = Sinks.empty();
  private volatile boolean closed;

  /**
   * Makes one without loads.
   *
   * @param precondition throws where no load can succeed any more
   */
  SharedLoads(Scheduler registration, Timing timing, LoadSettings settings, Runnable precondition) {
    this.precondition = precondition;
    this.registration = registration;
    this.timing = timing;
    this.timeout = settings.loadTimeout();
    this.contextKeys = settings.contextKeys();
  }

  /**
   * A kind of load.
   *
   * @param <T> what it emits
   */
  static final class Kind<T> {
    private final double patience;

    /**
     * Makes a kind.
     *
     * @param patience the part of the time-out that is given to it. One that others wait for gives
     *     up before they do; so its error reaches them, and whoever tries again finds no load under
     *     way that is about to fail
     */
    Kind(double patience) {
      this.patience = patience;
    }
  }

  /**
   * What is being loaded.
   *
   * @param ring the name of the key ring it is for
   * @param meta the key, or null for the latest one
   */
  record Id<T>(Kind<T> kind, String ring, @Nullable KeyMeta meta) {}

  /**
   * Whether the load that a context belongs to was answered already, so that nobody waits for it.
   */
  static boolean isOver(ContextView context) {
    return loadOf(context).map(load -> load.over).orElse(false);
  }

  /** Whether the load that a context belongs to is being cancelled, because this closes. */
  static boolean isCancelled(ContextView context) {
    return loadOf(context).map(load -> load.cancelled).orElse(false);
  }

  private static Optional<Load<?>> loadOf(ContextView context) {
    return context.getOrEmpty(Load.class);
  }

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
    return Mono.deferContextual(context -> joinOrStart(id, cached, loader, context))
        .subscribeOn(registration)
        .publishOn(timing.continuation());
  }

  /** Starts a load that nobody waits for, unless there is one of that id. */
  <T> void startInBackground(
      Id<T> id, Supplier<? extends @Nullable T> cached, Function<BooleanSupplier, Mono<T>> loader) {
    try {
      registration.schedule(() -> joinOrStart(id, cached, loader, Context.empty()));
    } catch (RejectedExecutionException e) {
      // Whoever needs the key will be told.
    }
  }

  @SuppressWarnings("unchecked") // an id of T is mapped to a load of T, here and nowhere else
  private <T> Mono<T> joinOrStart(
      Id<T> id,
      Supplier<? extends @Nullable T> cached,
      Function<BooleanSupplier, Mono<T>> loader,
      ContextView callers) {
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
      start(id, load, cached, loader, callers);
    } catch (RuntimeException | Error e) {
      end(id, load, () -> load.result.tryEmitError(e));
    }
    return load.result.asMono();
  }

  private <T> void start(
      Id<T> id,
      Load<T> load,
      Supplier<? extends @Nullable T> cached,
      Function<BooleanSupplier, Mono<T>> loader,
      ContextView callers) {
    long limit = (long) (timeout.toNanos() * id.kind.patience);
    Disposable deadline =
        timing
            .timer()
            .schedule(
                () -> end(id, load, () -> load.result.tryEmitError(late(limit))),
                limit,
                TimeUnit.NANOSECONDS);
    // A load caches its key before it is unregistered. So with ours registered, either the cache
    // has the key of the one before, or there was none.
    Mono.defer(
            () -> {
              T hit = cached.get();
              if (hit == null) {
                precondition.run();
              }
              return hit != null ? Mono.just(hit) : loader.apply(() -> load.forgotten);
            })
        .contextWrite(none -> CallGuard.only(contextKeys, callers).put(Load.class, load))
        .subscribeOn(timing.continuation())
        .doOnTerminate(deadline::dispose)
        .doOnCancel(deadline::dispose)
        .doOnSubscribe(load::isUnderWay)
        .subscribe(
            loaded -> end(id, load, () -> load.result.tryEmitValue(loaded)),
            error -> end(id, load, () -> load.result.tryEmitError(error)),
            () -> end(id, load, load.result::tryEmitEmpty));
  }

  /** Unregisters first: who is told of an error may try again at once. */
  private void end(Id<?> id, Load<?> load, Runnable emission) {
    loads.remove(id, load);
    running.remove(load);
    load.over = true;
    emission.run();
  }

  private static AppEncryptionException late(long nanos) {
    return new AppEncryptionException(
        "a key could not be loaded within %s; metastore or key management service do not answer"
            .formatted(Duration.ofNanos(nanos)),
        null,
        true);
  }

  /**
   * Ends what is no load, and so is not shared, like one: at the time-out, and when this closes.
   */
  <T> Mono<T> limited(Mono<T> step) {
    Mono<T> late = Mono.error(() -> late(timeout.toNanos()));
    return untilClosed(
        step.timeout(timeout, late.subscribeOn(timing.continuation()), timing.timer()));
  }

  /** Ends what takes its time when this closes. */
  <T> Mono<T> untilClosed(Mono<T> step) {
    return Mono.firstWithSignal(
        step,
        closing
            .asMono()
            .publishOn(timing.continuation())
            .then(Mono.error(FactoryClosedException::new)));
  }

  /** How many loads are under way; once one is not counted any more, its key is cached. */
  long underWay() {
    return running.size();
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

  /**
   * Keeps all loads from being cached, cancels them, and tells those who wait and those who will
   * come.
   */
  void close() {
    closed = true;
    // All before anybody is told, so that none takes the end of another for a failure.
    running.forEach(
        load -> {
          load.forgotten = true;
          load.cancelled = true;
          load.over = true;
          load.cancel();
        });
    running.forEach(load -> load.result.tryEmitError(new FactoryClosedException()));
    running.clear();
    loads.clear();
    closing.tryEmitEmpty();
  }

  private static final class Load<T> {
    private final Sinks.One<T> result = Sinks.one();
    private volatile boolean forgotten;
    private volatile boolean over;
    private final AtomicReference<@Nullable Subscription> subscription = new AtomicReference<>();
    private volatile boolean cancelled;

    private void isUnderWay(Subscription started) {
      subscription.set(started);
      if (cancelled) {
        cancel();
      }
    }

    private void cancel() {
      Subscription started = subscription.getAndSet(null);
      if (started != null) {
        started.cancel();
      }
    }
  }
}
