package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import java.time.Duration;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.pool.InstrumentedPool;
import reactor.pool.PoolBuilder;
import reactor.pool.PooledRef;
import reactor.util.context.Context;
import reactor.util.context.ContextView;
import reactor.util.retry.Retry;

/**
 * Makes calls to one back end: in their turn, so that no more than so many are under way at once;
 * for a limited time; again, after a pause, where they failed and may succeed later; and in a
 * Reactor context that has only what back ends are to see.
 *
 * <p>The turn of a call ends with the call, by its own signal or by being cancelled at its
 * deadline; never because somebody stopped waiting for it. Nothing is held while a load waits for
 * another load, so loads cannot wait for each other's turns. Once nobody waits for a load any more,
 * see {@link SharedLoads}, no further call is made for it.
 */
final class CallGuard {
  private static final int LONGEST_BACKOFF = 10;

  private final InstrumentedPool<Object> turns;
  private final Scheduler timer;
  private final Set<Object> contextKeys;
  private final Retry retry;

  CallGuard(LoadSettings settings, Timing timing) {
    this.turns =
        PoolBuilder.from(Mono.fromSupplier(Object::new))
            .sizeBetween(0, settings.maxConcurrentCalls())
            .maxPendingAcquireUnbounded()
            .acquisitionScheduler(timing.continuation())
            .buildPool();
    this.timer = timing.timer();
    this.contextKeys = settings.contextKeys();
    this.retry =
        Retry.backoff(settings.callAttempts() - 1L, settings.callBackoff())
            .maxBackoff(settings.callBackoff().multipliedBy(LONGEST_BACKOFF))
            .scheduler(timing.timer())
            .filter(e -> e instanceof AppEncryptionException failure && failure.isRetryable())
            .onRetryExhaustedThrow((spec, last) -> last.failure());
  }

  /**
   * Makes a call.
   *
   * @param backEnd the call; what it throws, also instead of returning, is signalled
   * @param timeout how long one attempt may take
   * @param failure makes an error of ours of any other
   * @param late what is signalled for a call that took too long
   * @param discard gets an answer that came too late to be of use
   */
  <T> Mono<T> call(
      Supplier<Mono<T>> backEnd,
      Duration timeout,
      UnaryOperator<Throwable> failure,
      Supplier<? extends Throwable> late,
      Consumer<? super T> discard) {
    return Mono.using(
            () -> new Answer<T>(discard),
            answer ->
                Mono.usingWhen(
                        turns.acquire(),
                        turn ->
                            Mono.deferContextual(context -> send(backEnd, context))
                                .doOnNext(answer::put)
                                // Until it has ended: one that answers may still never end.
                                .flux()
                                .singleOrEmpty()
                                .timeout(timeout, Mono.error(late), timer),
                        PooledRef::release)
                    .flatMap(any -> Mono.justOrEmpty(answer.take())),
            Answer::close)
        .onErrorMap(failure)
        .retryWhen(retry);
  }

  private <T> Mono<T> send(Supplier<Mono<T>> backEnd, ContextView context) {
    if (SharedLoads.isCancelled(context)) {
      return Mono.never();
    }
    if (SharedLoads.isOver(context)) {
      return Mono.error(new CancellationException("nobody waits for this call any more"));
    }
    return attempt(backEnd).contextWrite(all -> only(contextKeys, all));
  }

  /** How many calls are under way. */
  int underWay() {
    return turns.metrics().acquiredSize();
  }

  /** How many calls wait for their turn. */
  int waiting() {
    return turns.metrics().pendingAcquireSize();
  }

  /** A context with nothing but the entries that are named. */
  static Context only(Set<Object> keys, ContextView context) {
    Context some = Context.empty();
    for (Object key : keys) {
      if (context.hasKey(key)) {
        some = some.put(key, context.get(key));
      }
    }
    return some;
  }

  /**
   * Reactor throws what it takes for fatal to the JVM instead of signalling it, for instance that a
   * class of a driver is missing. To the load it is an error like others.
   */
  private static <T> Mono<T> attempt(Supplier<Mono<T>> backEnd) {
    try {
      return Objects.requireNonNull(backEnd.get(), "the back end returned null, and not a Mono");
    } catch (Throwable e) {
      return Mono.error(e);
    }
  }

  /** Holds an answer, which may be a plaintext key, until it is taken or of no use any more. */
  private static final class Answer<T> {
    private final AtomicReference<@Nullable T> value = new AtomicReference<>();
    private final Consumer<? super T> discard;
    private volatile boolean isClosed;

    Answer(Consumer<? super T> discard) {
      this.discard = discard;
    }

    void put(T answer) {
      value.set(answer);
      // Either we see that it was closed, or close() sees what was put.
      if (isClosed) {
        close();
      }
    }

    /** The answer, or null where there is none. */
    @Nullable T take() {
      return value.getAndSet(null);
    }

    void close() {
      isClosed = true;
      T left = value.getAndSet(null);
      if (left != null) {
        discard.accept(left);
      }
    }
  }
}
