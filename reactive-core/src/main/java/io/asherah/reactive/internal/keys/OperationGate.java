package io.asherah.reactive.internal.keys;

import io.asherah.reactive.FactoryClosedException;
import java.util.concurrent.atomic.LongAdder;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * Lets operations in until it is closed, and tells when the last of them has left. Two striped
 * counters, so that warm operations on different threads do not meet.
 */
public final class OperationGate {
  private final LongAdder entered = new LongAdder();
  private final LongAdder left = new LongAdder();
  private final Sinks.Empty<Void> empty = Sinks.empty();
  private volatile boolean closed;

  /** Makes an open gate. */
  public OperationGate() {}

  /**
   * Lets one operation in.
   *
   * @throws FactoryClosedException if the gate is closed
   */
  public OperationGate enter() {
    // Counted first and checked then: either this operation sees the gate closed, or close() sees
    // the operation.
    entered.increment();
    if (closed) {
      leave();
      throw new FactoryClosedException();
    }
    return this;
  }

  /** Lets one operation out. */
  public void leave() {
    left.increment();
    if (closed) {
      checkEmpty();
    }
  }

  /** Whether {@link #close} was subscribed to. */
  public boolean isClosed() {
    return closed;
  }

  /** Closes the gate and completes when nobody is inside any more. */
  public Mono<Void> close() {
    return Mono.defer(
        () -> {
          closed = true;
          checkEmpty();
          return empty.asMono();
        });
  }

  private void checkEmpty() {
    // In this order equal sums mean that at the start of the second nobody was inside.
    long out = left.sum();
    if (out == entered.sum()) {
      empty.tryEmitEmpty();
    }
  }
}
