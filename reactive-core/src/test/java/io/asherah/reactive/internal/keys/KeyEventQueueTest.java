package io.asherah.reactive.internal.keys;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KeyEvent;
import io.asherah.reactive.KeyEvent.Type;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.spi.MetricsRecorder;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/** Events go on, whatever went wrong with one of them. */
class KeyEventQueueTest {
  private static final KeyMeta KEY = new KeyMeta("_SK_service_product", Instant.EPOCH);

  private final List<KeyEvent> told = new ArrayList<>();
  private final AtomicBoolean isFull = new AtomicBoolean();
  private final Scheduler scheduler =
      new Scheduler() {
        @Override
        public Disposable schedule(Runnable task) {
          if (isFull.get()) {
            throw new RejectedExecutionException();
          }
          return Schedulers.immediate().schedule(task);
        }

        @Override
        public Worker createWorker() {
          return Schedulers.immediate().createWorker();
        }
      };

  private KeyEvents events(Scheduler on) {
    return new KeyEvents(MetricsRecorder.NONE, Clock.systemUTC(), on, Schedulers.immediate());
  }

  @Test
  void schedulerThatWasFullOnce_isTriedAgain_andNothingIsLost() {
    KeyEvents events = events(scheduler);
    events.events().subscribe(told::add);
    isFull.set(true);
    events.tell(Type.CREATED, KEY);
    assertThat(told).isEmpty();
    isFull.set(false);

    events.tell(Type.ROTATED, KEY);

    assertThat(told.stream().map(KeyEvent::type)).containsExactly(Type.CREATED, Type.ROTATED);
  }

  @Test
  void causeThatCannotBeWritten_doesNotStopTheEvents() {
    KeyEvents events = events(scheduler);
    AtomicBoolean isComplete = new AtomicBoolean();
    events.events().subscribe(told::add, e -> {}, () -> isComplete.set(true));
    events.tell(
        Type.REFRESH_FAILED,
        KEY,
        new IllegalStateException() {
          private static final long serialVersionUID = 1L;

          @Override
          public String toString() {
            throw new IllegalStateException("not even that");
          }
        });
    events.tell(Type.CREATED, KEY);
    events.complete();

    assertThat(told).hasSize(2);
    assertThat(isComplete).isTrue();
  }

  @Test
  void manyThreads_tellEveryEventOnce_andOneAtATime() throws InterruptedException {
    KeyEvents events = events(Schedulers.boundedElastic());
    Queue<KeyMeta> seen = new ConcurrentLinkedQueue<>();
    CountDownLatch complete = new CountDownLatch(1);
    events.events().subscribe(event -> seen.add(event.key()), e -> {}, complete::countDown);
    List<Thread> threads =
        IntStream.range(0, 4)
            .mapToObj(
                thread ->
                    new Thread(
                        () -> {
                          for (int i = 0; i < 50; i++) {
                            events.tell(
                                Type.EVICTED,
                                new KeyMeta("_SK_" + thread, Instant.ofEpochSecond(i)));
                          }
                        }))
            .toList();
    threads.forEach(Thread::start);
    for (Thread thread : threads) {
      thread.join();
    }
    events.complete();

    complete.await();
    assertThat(seen).hasSize(200).doesNotHaveDuplicates();
    for (int thread = 0; thread < 4; thread++) {
      String id = "_SK_" + thread;
      assertThat(seen.stream().filter(key -> key.id().equals(id)).map(KeyMeta::created).toList())
          .isSorted();
    }
  }
}
