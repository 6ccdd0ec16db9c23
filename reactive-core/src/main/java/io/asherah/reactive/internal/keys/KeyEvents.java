package io.asherah.reactive.internal.keys;

import io.asherah.reactive.KeyEvent;
import io.asherah.reactive.KeyEvent.Type;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.spi.MetricsRecorder;
import java.time.Clock;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import reactor.core.publisher.BufferOverflowStrategy;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/**
 * Tells subscribers, metrics and the log what happens to keys, in order. On the bounded elastic
 * scheduler, since a log may write to a file. Only at debug level does the log have the ids of
 * intermediate keys, which name partitions.
 */
final class KeyEvents {
  private static final int SUBSCRIBER_BUFFER = 256;
  private static final Logger log = LoggerFactory.getLogger("io.asherah.reactive.keys");

  /** What is to be told; an empty one is the end. */
  private final Queue<Optional<KeyEvent>> queue = new ConcurrentLinkedQueue<>();

  private final AtomicInteger pending = new AtomicInteger();
  private final Sinks.Many<KeyEvent> events = Sinks.many().multicast().directBestEffort();
  private final MetricsRecorder recorder;
  private final Clock clock;
  private final Scheduler scheduler;
  private final Scheduler continuation;

  KeyEvents(MetricsRecorder recorder, Clock clock, Scheduler scheduler, Scheduler continuation) {
    this.recorder = recorder;
    this.clock = clock;
    this.scheduler = scheduler;
    this.continuation = continuation;
  }

  Flux<KeyEvent> events() {
    return events
        .asFlux()
        .onBackpressureBuffer(SUBSCRIBER_BUFFER, dropped -> {}, BufferOverflowStrategy.DROP_OLDEST)
        .publishOn(continuation);
  }

  void tell(Type type, KeyMeta key) {
    tell(type, key, null);
  }

  void tell(Type type, KeyMeta key, @Nullable Throwable cause) {
    enqueue(Optional.of(new KeyEvent(type, key, clock.instant(), cause)));
  }

  /** No event comes after this. */
  void complete() {
    enqueue(Optional.empty());
  }

  private void enqueue(Optional<KeyEvent> eventOrEnd) {
    queue.add(eventOrEnd);
    if (pending.getAndIncrement() == 0) {
      try {
        scheduler.schedule(this::drain);
      } catch (RejectedExecutionException e) {
        // Whoever tells the next event tries again; a drain empties the queue whatever the count.
        pending.set(0);
      }
    }
  }

  /** One at a time and in order: only whoever finds nothing pending schedules this. */
  private void drain() {
    int seen = pending.get();
    while (seen != 0) {
      for (Optional<KeyEvent> next = queue.poll(); next != null; next = queue.poll()) {
        next.ifPresentOrElse(this::publish, events::tryEmitComplete);
      }
      seen = pending.addAndGet(-seen);
    }
  }

  private void publish(KeyEvent event) {
    try {
      write(event);
    } catch (Throwable e) {
      // A log that fails, or a cause that cannot be written, must not keep events from others.
    }
    recorder.keyEvent(event);
    events.tryEmitNext(event);
  }

  private static void write(KeyEvent event) {
    KeyMeta key = event.key();
    switch (event.type()) {
      case CREATED -> log.info("created {}", key);
      case ROTATED -> log.info("rotated: created {}", key);
      case ROTATION_QUEUED -> log.info("expired, and used until it is rotated: {}", key);
      case REVOKED -> log.warn("revoked, and not used for new data any more: {}", key);
      case REFRESH_FAILED ->
          log.warn(
              "could not be refreshed ahead of time: {}: {}", key, String.valueOf(event.cause()));
      case EVICTED -> log.debug("evicted {}", key);
      case SHREDDED -> log.info("shredded {}", key);
    }
    if (log.isDebugEnabled()) {
      log.debug("{}: {} created at {}", event.type(), key.id(), key.created(), event.cause());
    }
  }
}
