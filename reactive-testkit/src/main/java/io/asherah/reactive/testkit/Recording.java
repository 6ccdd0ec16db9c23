package io.asherah.reactive.testkit;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Signal;
import reactor.core.scheduler.Scheduler;

/**
 * What {@link RecordingMetastore} and {@link RecordingKeyManagementService} have in common: it
 * records calls, counts those in flight, and gives the answers that a test programmed.
 *
 * @param <O> the operations
 * @param <C> what is recorded of a call
 */
abstract sealed class Recording<O extends Enum<O>, C>
    permits RecordingMetastore, RecordingKeyManagementService {
  private final List<O> operations;
  private final Function<C, O> operationOf;
  private final Queue<C> calls = new ConcurrentLinkedQueue<>();
  private final AtomicInteger inFlight = new AtomicInteger();
  private final AtomicInteger maxInFlight = new AtomicInteger();
  private final Map<O, Failure> failures = new ConcurrentHashMap<>();

  /** When to answer: after this has completed. */
  private final Map<O, Mono<Void>> gates = new ConcurrentHashMap<>();

  private record Failure(Throwable error, AtomicLong left) {
    @Nullable Throwable next() {
      return left.getAndUpdate(n -> n > 0 ? n - 1 : 0) > 0 ? error : null;
    }
  }

  Recording(List<O> operations, Function<C, O> operationOf) {
    this.operations = operations;
    this.operationOf = operationOf;
  }

  // What was called.

  /**
   * The calls since the beginning or the last {@link #takeCalls()}.
   *
   * @return a snapshot, in the order of subscription
   */
  public List<C> calls() {
    return List.copyOf(calls);
  }

  /**
   * Like {@link #calls()}, and forgets them. Of several threads that take, one gets each call.
   *
   * @return the calls, in the order of subscription
   */
  public List<C> takeCalls() {
    List<C> taken = new ArrayList<>();
    for (C call = calls.poll(); call != null; call = calls.poll()) {
      taken.add(call);
    }
    return List.copyOf(taken);
  }

  /**
   * How many of the {@link #calls()} were of this operation.
   *
   * @param operation which operation
   * @return how many
   */
  public long count(O operation) {
    return calls.stream().filter(call -> operationOf.apply(call) == operation).count();
  }

  /**
   * How many calls, of all operations, have not ended. A call starts when it is subscribed to, and
   * ends when it is cancelled, or just before its answer, error or completion is passed on; a list
   * ends with its completion.
   *
   * @return how many at this moment
   */
  public int inFlight() {
    return inFlight.get();
  }

  /**
   * The most calls that were in flight at any time.
   *
   * @return how many
   */
  public int maxInFlight() {
    return maxInFlight.get();
  }

  // What is to be answered.

  /**
   * Lets calls of an operation be answered late, in place of what was programmed before about when
   * it is answered.
   *
   * @param operation which operation
   * @param delay how much later than the answer was there
   * @param scheduler what measures the delay, and where the answer is given
   */
  public void delay(O operation, Duration delay, Scheduler scheduler) {
    gates.put(operation, Mono.delay(delay, scheduler).then());
  }

  /**
   * Like {@link #delay(Enum, Duration, Scheduler)}, for all operations.
   *
   * @param delay how much later than the answer was there
   * @param scheduler what measures the delay, and where the answer is given
   */
  public void delay(Duration delay, Scheduler scheduler) {
    operations.forEach(operation -> delay(operation, delay, scheduler));
  }

  /**
   * Lets calls of an operation go unanswered, in place of what was programmed before about when it
   * is answered. They are in flight until they are cancelled, also after {@link #recover()}.
   *
   * @param operation which operation
   */
  public void neverAnswer(O operation) {
    gates.put(operation, Mono.never());
  }

  /** Like {@link #neverAnswer(Enum)}, for all operations. */
  public void neverAnswer() {
    operations.forEach(this::neverAnswer);
  }

  /**
   * Holds the answers to calls of an operation back, in place of what was programmed before about
   * when it is answered.
   *
   * @param operation which operation
   * @param gate when it completes, the answer is given, on the thread of that; its elements are
   *     ignored, and where it fails its error is the answer. Every call subscribes to it once
   */
  public void holdUntil(O operation, Publisher<?> gate) {
    gates.put(operation, Flux.from(gate).then());
  }

  /**
   * Like {@link #holdUntil(Enum, Publisher)}, for all operations.
   *
   * @param gate when it completes, the answers are given
   */
  public void holdUntil(Publisher<?> gate) {
    operations.forEach(operation -> holdUntil(operation, gate));
  }

  /**
   * Lets all calls of an operation fail, in place of an earlier failure.
   *
   * @param operation which operation
   * @param error what every call signals
   */
  public void fail(O operation, Throwable error) {
    failNext(operation, Long.MAX_VALUE, error);
  }

  /**
   * Lets the next calls of an operation fail, in place of an earlier failure.
   *
   * @param operation which operation
   * @param times how many calls, zero or more
   * @param error what each of them signals
   * @throws IllegalArgumentException if the number is negative
   */
  public void failNext(O operation, long times, Throwable error) {
    if (times < 0) {
      throw new IllegalArgumentException("times must not be negative, was " + times);
    }
    Objects.requireNonNull(error, "error");
    failures.put(operation, new Failure(error, new AtomicLong(times)));
  }

  /**
   * Lets all calls of all operations fail, in place of earlier failures.
   *
   * @param error what every call signals
   */
  public void outage(Throwable error) {
    operations.forEach(operation -> fail(operation, error));
  }

  /** Lets calls from now on be answered by the wrapped object, at once. */
  public void recover() {
    gates.clear();
    failures.clear();
  }

  // What the doubles use.

  /** A discarded value is one that was held back for a caller who is gone. */
  final <T> Mono<T> recordMono(C call, Supplier<Mono<T>> wrapped, Consumer<T> discard) {
    return Mono.using(
        () -> enter(call),
        operation -> {
          Mono<T> answer = orFailure(operation, wrapped, Mono::error);
          Mono<Void> gate = gates.get(operation);
          return gate == null
              ? answer
              : answer.materialize().flatMap(signal -> hold(signal, gate, discard)).dematerialize();
        },
        operation -> inFlight.decrementAndGet());
  }

  private static <T> Mono<Signal<T>> hold(Signal<T> signal, Mono<Void> gate, Consumer<T> discard) {
    AtomicBoolean isPassedOn = new AtomicBoolean();
    return gate.then(
            Mono.fromSupplier(
                () -> {
                  isPassedOn.set(true);
                  return signal;
                }))
        .doFinally(
            end -> {
              T value = signal.get();
              if (value != null && !isPassedOn.get()) {
                discard.accept(value);
              }
            });
  }

  final <T> Flux<T> recordFlux(C call, Supplier<Flux<T>> wrapped) {
    return Flux.using(
        () -> enter(call),
        operation -> {
          Flux<T> answer = orFailure(operation, wrapped, Flux::error);
          Mono<Void> gate = gates.get(operation);
          return gate == null
              ? answer
              : answer
                  .materialize()
                  .collectList()
                  .delayUntil(signals -> gate)
                  .flatMapIterable(signals -> signals)
                  .dematerialize();
        },
        operation -> inFlight.decrementAndGet());
  }

  private O enter(C call) {
    calls.add(call);
    maxInFlight.accumulateAndGet(inFlight.incrementAndGet(), Math::max);
    return operationOf.apply(call);
  }

  private <P> P orFailure(O operation, Supplier<P> wrapped, Function<Throwable, P> failed) {
    Failure failure = failures.get(operation);
    Throwable error = failure == null ? null : failure.next();
    return error == null ? wrapped.get() : failed.apply(error);
  }

  final String describe(Object wrapped) {
    return "%s[%s, inFlight=%d]".formatted(getClass().getSimpleName(), wrapped, inFlight.get());
  }
}
