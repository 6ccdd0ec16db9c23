package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

/** Whoever makes a value and whoever cancels: exactly one releases it, or the receiver gets it. */
class HandoverTest {
  private final Queue<Runnable> continuations = new ArrayDeque<>();
  private final AtomicReference<Handover<String>> producer = new AtomicReference<>();
  private final List<String> released = new ArrayList<>();
  private final List<String> received = new ArrayList<>();

  private Mono<String> handover() {
    return Handover.receive(
        producer::set,
        released::add,
        Schedulers.fromExecutor(continuations::add),
        value -> {
          received.add(value);
          return value;
        });
  }

  private void runContinuations() {
    for (Runnable next = continuations.poll(); next != null; next = continuations.poll()) {
      next.run();
    }
  }

  @Test
  void value_isReceivedOnTheContinuation_andNotReleased() {
    List<String> emitted = new ArrayList<>();
    handover().subscribe(emitted::add);
    assertThat(producer.get().isAbandoned()).isFalse();

    producer.get().put("value");
    assertThat(received).isEmpty();
    runContinuations();

    assertThat(emitted).containsExactly("value");
    assertThat(received).containsExactly("value");
    assertThat(released).isEmpty();
  }

  @Test
  void value_isReleasedAtOnce_whereItComesAfterTheCancellation() {
    handover().subscribe().dispose();
    assertThat(producer.get().isAbandoned()).isTrue();

    producer.get().put("value");
    assertThat(released).containsExactly("value");
    runContinuations();

    assertThat(received).isEmpty();
    assertThat(released).containsExactly("value");
  }

  @Test
  void value_isReleased_whereItWaitsForTheContinuation() {
    Disposable subscription = handover().subscribe();
    producer.get().put("value");

    subscription.dispose();
    assertThat(released).containsExactly("value");
    runContinuations();

    assertThat(received).isEmpty();
    assertThat(released).containsExactly("value");
  }

  @Test
  void value_isReleased_whereNobodyHadAskedForIt() {
    StepVerifier.create(handover(), 0)
        .expectSubscription()
        .then(() -> producer.get().put("value"))
        .thenCancel()
        .verify();
    runContinuations();

    assertThat(received).isEmpty();
    assertThat(released).containsExactly("value");
  }

  @Test
  void failure_isSignalled_unlessNobodyWaits() {
    List<Throwable> errors = new ArrayList<>();
    handover().subscribe(value -> {}, errors::add);
    producer.get().fail(new IllegalStateException("failed"));
    runContinuations();
    assertThat(errors).singleElement().satisfies(e -> assertThat(e).hasMessage("failed"));

    handover().subscribe(value -> {}, errors::add).dispose();
    producer.get().fail(new IllegalStateException("failed again"));
    runContinuations();
    assertThat(errors).hasSize(1);
    assertThat(released).isEmpty();
  }

  @Test
  void whatTheReceiverThrows_isSignalled() {
    StepVerifier.create(
            Handover.<String, String>receive(
                handover -> handover.put("value"),
                released::add,
                Schedulers.immediate(),
                value -> {
                  throw new IllegalStateException("from the receiver");
                }))
        .verifyErrorMessage("from the receiver");
    assertThat(released).isEmpty();
  }

  @Test
  void eachValue_isReceivedOrReleasedOnce_atWhateverMomentItIsCancelled() {
    AtomicInteger put = new AtomicInteger();
    Queue<Integer> gone = new ConcurrentLinkedQueue<>();
    for (int round = 0; round < 5_000; round++) {
      int value = round;
      Disposable subscription =
          Handover.<Integer, Integer>receive(
                  handover ->
                      Schedulers.boundedElastic()
                          .schedule(
                              () -> {
                                handover.put(value);
                                put.incrementAndGet();
                              }),
                  gone::add,
                  Schedulers.parallel(),
                  received -> {
                    gone.add(received);
                    return received;
                  })
              .subscribe();
      for (int spin = 0; spin < round % 500 * 20; spin++) {
        Thread.onSpinWait();
      }
      subscription.dispose();
    }

    Await.until(() -> put.get() == 5_000 && gone.size() >= 5_000);
    assertThat(gone).hasSize(5_000).doesNotHaveDuplicates();
  }
}
