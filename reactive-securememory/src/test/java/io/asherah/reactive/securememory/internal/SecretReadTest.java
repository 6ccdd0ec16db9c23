package io.asherah.reactive.securememory.internal;

import static io.asherah.reactive.securememory.internal.Samples.bytes;
import static io.asherah.reactive.securememory.internal.Samples.create;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.internal.Samples.Reads;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiFunction;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.util.context.Context;

class SecretReadTest {

  private static <R> Mono<R> reading(
      Memory memory, Function<? super byte[], ? extends @Nullable R> function) {
    return new SecretRead<>((LockedSecret) create(memory, bytes(32)), function);
  }

  /** Notes every signal and does with the subscription what the test says. */
  private static final class Notes implements CoreSubscriber<Object> {
    final List<String> signals = Collections.synchronizedList(new ArrayList<>());
    @Nullable Subscription subscription;

    Subscription subscription() {
      Subscription given = subscription;
      if (given == null) {
        throw new AssertionError("no onSubscribe");
      }
      return given;
    }

    @Override
    public void onSubscribe(Subscription s) {
      subscription = s;
      signals.add("onSubscribe");
    }

    @Override
    public void onNext(Object value) {
      signals.add("onNext " + value);
    }

    @Override
    public void onError(Throwable e) {
      signals.add("onError " + e.getMessage());
    }

    @Override
    public void onComplete() {
      signals.add("onComplete");
    }
  }

  @Test
  void nothing_isEmittedBeforeTheRequest_andOnceAfterwards() {
    try (Memory memory = Reads.WARM.memory()) {
      Notes notes = new Notes();
      reading(memory, copy -> copy[0]).subscribe(notes);
      assertThat(notes.signals).containsExactly("onSubscribe");

      notes.subscription().request(1);
      notes.subscription().request(Long.MAX_VALUE);
      assertThat(notes.signals).containsExactly("onSubscribe", "onNext 1", "onComplete");
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void nothing_isEmittedWithoutARequest_warmOrCold(Reads reads) {
    try (Memory memory = reads.memory()) {
      Mono<Byte> reading = reading(memory, copy -> copy[0]);
      reads.prepare(memory);

      StepVerifier.create(reading, 0)
          .expectSubscription()
          .then(() -> Await.until(() -> memory.factory.stats().queueDepth() == 0))
          .thenRequest(1)
          .expectNext((byte) 1)
          .verifyComplete();
    }
  }

  @Test
  void cancelBeforeTheRequest_endsAllSignals() {
    try (Memory memory = Reads.WARM.memory()) {
      Notes notes = new Notes();
      reading(memory, copy -> copy[0]).subscribe(notes);

      notes.subscription().cancel();
      notes.subscription().request(1);

      assertThat(notes.signals).containsExactly("onSubscribe");
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void cancelInsideOfOnSubscribe_endsAllSignals(Reads reads) {
    try (Memory memory = reads.memory()) {
      AtomicInteger signals = new AtomicInteger();
      Mono<Byte> reading = reading(memory, copy -> copy[0]);
      reads.prepare(memory);

      reading
          .doOnEach(signal -> signals.incrementAndGet())
          .subscribe(value -> {}, e -> {}, () -> {}, Subscription::cancel);

      Await.until(() -> memory.factory.stats().queueDepth() == 0);
      assertThat(signals).hasValue(0);
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void whatTheFunctionThrows_isSignalled_andItsCopyIsWiped(Reads reads) {
    try (Memory memory = reads.memory()) {
      for (Throwable thrown :
          List.of(
              new IllegalStateException("exception"),
              new AssertionError("error"),
              new SecretClosedException("another one"))) {
        AtomicReference<byte[]> kept = new AtomicReference<>(new byte[0]);
        Mono<Byte> reading =
            reading(
                memory,
                copy -> {
                  kept.set(copy);
                  throw SecretReadTest.<RuntimeException>sneaky(thrown);
                });
        reads.prepare(memory);

        StepVerifier.create(reading).verifyErrorSatisfies(e -> assertThat(e).isSameAs(thrown));
        assertThat(kept.get()).hasSize(32).containsOnly(0);
      }
    }
  }

  @SuppressWarnings("unchecked")
  private static <E extends Throwable> RuntimeException sneaky(Throwable e) throws E {
    throw (E) e;
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void nullResult_completesEmpty(Reads reads) {
    try (Memory memory = reads.memory()) {
      Mono<Object> reading = reading(memory, copy -> null);
      reads.prepare(memory);

      StepVerifier.create(reading).verifyComplete();
      StepVerifier.create(reading.defaultIfEmpty("nothing")).expectNext("nothing").verifyComplete();
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void contextOfTheSubscriber_reachesReactorsHooks(Reads reads) {
    try (Memory memory = reads.memory()) {
      BiFunction<Throwable, Object, Throwable> hook =
          (e, data) -> new IllegalStateException("seen by the hook", e);
      Mono<Byte> reading =
          reading(
              memory,
              copy -> {
                throw new IllegalArgumentException("from the function");
              });
      reads.prepare(memory);

      StepVerifier.create(reading.contextWrite(Context.of("reactor.onOperatorError.local", hook)))
          .verifyErrorSatisfies(
              e ->
                  assertThat(e)
                      .hasMessage("seen by the hook")
                      .hasCauseInstanceOf(IllegalArgumentException.class));
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void eachSubscription_isAReadOfItsOwn(Reads reads) {
    try (Memory memory = reads.memory()) {
      AtomicInteger calls = new AtomicInteger();
      Mono<Integer> reading = reading(memory, copy -> calls.incrementAndGet());
      assertThat(calls).hasValue(0);
      reads.prepare(memory);

      StepVerifier.create(reading).expectNext(1).verifyComplete();
      StepVerifier.create(reading).expectNext(2).verifyComplete();
      StepVerifier.create(reading.repeat(2)).expectNext(3, 4, 5).verifyComplete();
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void operators_work(Reads reads) {
    try (Memory memory = reads.memory()) {
      AtomicInteger failures = new AtomicInteger();
      Mono<Byte> reading = reading(memory, copy -> copy[1]);
      Mono<Byte> failingTwice =
          reading(
              memory,
              copy -> {
                if (failures.incrementAndGet() <= 2) {
                  throw new IllegalStateException("again");
                }
                return copy[1];
              });
      List<Mono<Byte>> all =
          List.of(
              reading.flatMap(Mono::just),
              Mono.just(1).flatMap(i -> reading),
              Mono.zip(reading, reading, (a, b) -> a),
              reading.filter(b -> b == 8).map(b -> b),
              reading.timeout(Duration.ofSeconds(30)),
              failingTwice.retry(2),
              reading.publishOn(Schedulers.parallel()),
              reading.subscribeOn(Schedulers.parallel()),
              reading.flux().concatWith(reading).take(1).single(),
              reading.cache(),
              Mono.firstWithSignal(reading, Mono.never()),
              reading.hide());

      for (Mono<Byte> one : all) {
        reads.prepare(memory);
        StepVerifier.create(one).expectNext((byte) 8).verifyComplete();
      }
    }
  }

  @Test
  void cancelledColdRead_doesNotRunTheFunction() {
    try (Memory memory = Reads.COLD.memory()) {
      AtomicInteger calls = new AtomicInteger();
      Mono<Integer> reading = reading(memory, copy -> calls.incrementAndGet());
      memory.letTheWindowPass();
      CountDownLatch stalled = memory.recording.stall();
      Disposable read = reading.subscribe();

      read.dispose();
      stalled.countDown();

      Await.until(() -> memory.factory.stats().queueDepth() == 0);
      StepVerifier.create(reading).expectNext(1).verifyComplete();
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void timeout_cancelsAStalledColdRead_andOneMoreReadWorks(Reads reads) {
    try (Memory memory = reads.memory()) {
      Mono<Byte> reading = reading(memory, copy -> copy[0]);
      reads.prepare(memory);
      Await.until(() -> memory.factory.stats().queueDepth() == 0);
      CountDownLatch stalled = memory.recording.stall();

      if (reads == Reads.WARM) {
        StepVerifier.create(reading).expectNext((byte) 1).verifyComplete();
      } else {
        StepVerifier.create(reading.timeout(Duration.ofMillis(10)))
            .verifyError(java.util.concurrent.TimeoutException.class);
      }

      stalled.countDown();
      StepVerifier.create(reading).expectNext((byte) 1).verifyComplete();
    }
  }
}
