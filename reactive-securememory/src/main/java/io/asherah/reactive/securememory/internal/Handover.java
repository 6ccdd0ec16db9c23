package io.asherah.reactive.securememory.internal;

import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.MonoSink;
import reactor.core.scheduler.Scheduler;

/**
 * Passes one value that must be released from the scheduler that made it to the thread of the
 * subscriber, so that exactly one side owns it whenever the subscriber cancels. {@code publishOn}
 * alone loses a value that is under way when it is cancelled, without discarding it.
 */
final class Handover<T> implements Receiver<T> {
  private static final Object GONE = new Object();

  private final Consumer<? super T> release;
  private final AtomicReference<@Nullable Object> slot = new AtomicReference<>();
  private @Nullable MonoSink<Handover<T>> arrival;

  private Handover(Consumer<? super T> release) {
    this.release = release;
  }

  /**
   * Starts a producer with each subscription and applies a function to what it put, on the
   * continuation scheduler. The function owns the value; a value that never reaches it is released.
   */
  static <T, R> Mono<R> receive(
      Consumer<? super Handover<T>> producer,
      Consumer<? super T> release,
      Scheduler continuation,
      Function<? super T, ? extends @Nullable R> receiver) {
    return Mono.using(
        () -> new Handover<T>(release),
        handover ->
            Mono.<Handover<T>>create(
                    sink -> {
                      handover.arrival = sink;
                      producer.accept(handover);
                    })
                .publishOn(continuation)
                .handle(
                    (arrived, sink) -> {
                      T value = arrived.take();
                      R result = value == null ? null : receiver.apply(value);
                      if (result != null) {
                        sink.next(result);
                      }
                    }),
        Handover::abandon);
  }

  @Override
  public void put(T value) {
    if (slot.compareAndSet(null, value)) {
      arrival().success(this);
    } else {
      release.accept(value);
    }
  }

  @Override
  public void fail(Throwable error) {
    if (!isAbandoned()) {
      arrival().error(error);
    }
  }

  @Override
  public boolean isAbandoned() {
    return slot.get() == GONE;
  }

  @SuppressWarnings("unchecked") // the slot holds GONE or what put() was given
  private @Nullable T take() {
    Object value = slot.getAndSet(GONE);
    return value == GONE ? null : (T) value;
  }

  private void abandon() {
    T value = take();
    if (value != null) {
      release.accept(value);
    }
  }

  private MonoSink<Handover<T>> arrival() {
    MonoSink<Handover<T>> sink = arrival;
    if (sink == null) {
      throw new IllegalStateException("the producer was not started by a subscription");
    }
    return sink;
  }
}
