package io.asherah.reactive.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.UUID;
import java.util.function.Supplier;
import java.util.stream.Stream;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** What the tests of a kit ask with, each answer within a time-out. They alone may wait. */
final class Answers {
  /** More than a pool of connections has. */
  private static final int MANY = 100;

  private final Duration timeout;

  Answers(Duration timeout) {
    this.timeout = timeout;
  }

  /** An id that no test used before, also in a database that other processes use. */
  static String freshId() {
    return "_SK_testkit_" + UUID.randomUUID();
  }

  /** The answer, which there must be. */
  <T> T of(Mono<T> call) {
    Optional<T> answer = optional(call);
    assertThat(answer).as("an answer, instead of completion without one").isPresent();
    return answer.orElseThrow();
  }

  <T> List<T> all(Flux<T> call) {
    return of(call.collectList());
  }

  void isEmpty(Mono<?> call) {
    assertThat(optional(call)).as("what should be an empty Mono").isEmpty();
  }

  /** Fails too where the call is not answered, or without an error. */
  void signals(Class<? extends Throwable> error, String what, Mono<?> call) {
    assertThatThrownBy(() -> optional(call)).as(what).isInstanceOf(error);
  }

  <T> Optional<T> optional(Mono<T> call) {
    return call.map(Optional::of)
        .defaultIfEmpty(Optional.empty())
        .timeout(
            timeout,
            Mono.error(() -> new AssertionError("no answer within " + timeout)),
            // Not on the threads that what is tested may block.
            Schedulers.boundedElastic())
        .blockOptional()
        .orElseThrow();
  }

  /**
   * Subscribes on threads that must not block, to all at once, and waits for all: the second of two
   * failures would otherwise have nobody to go to.
   */
  <T> List<T> together(List<Mono<T>> calls) {
    return all(
        Flux.fromIterable(calls)
            .flatMapDelayError(
                call -> call.subscribeOn(Schedulers.parallel()), calls.size(), calls.size()));
  }

  /**
   * Subscribes and cancels many times: every second time at once, else after up to 9 milliseconds.
   * One after the other, since a call that was answered may give back what another one lost.
   */
  void cancelled(Supplier<? extends Mono<?>> call) {
    // All are made here, since the next one may be subscribed to on a thread that must not block.
    List<? extends Mono<?>> calls = Stream.generate(call).limit(MANY).toList();
    of(
        Flux.range(0, MANY)
            .concatMap(
                i ->
                    calls
                        .get(i)
                        .takeUntilOther(
                            i % 2 == 0 ? Mono.empty() : Mono.delay(Duration.ofMillis(i / 10))))
            .count());
  }
}
