package io.asherah.reactive.securememory.internal;

import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Operators;

/**
 * Gives a copy of a secret to a function: on the subscriber's thread where the region is open, and
 * otherwise on the continuation scheduler. The same as {@code Mono.defer} around two other Monos,
 * for less than half the time: every operation on every key passes here (see docs/adr/0011).
 */
final class SecretRead<R> extends Mono<R> {
  private final LockedSecret secret;
  private final Function<? super byte[], ? extends @Nullable R> function;

  SecretRead(LockedSecret secret, Function<? super byte[], ? extends @Nullable R> function) {
    this.secret = secret;
    this.function = function;
  }

  @Override
  public void subscribe(CoreSubscriber<? super R> actual) {
    R result;
    try {
      byte[] copy = new byte[secret.length()];
      if (!secret.readIfOpen(0, copy)) {
        secret
            .coldRead(0, copy.length, received -> secret.<R>use(received, function))
            .subscribe(actual);
        return;
      }
      result = secret.use(copy, function);
    } catch (Throwable e) {
      Operators.error(actual, Operators.onOperatorError(e, actual.currentContext()));
      return;
    }
    if (result == null) {
      Operators.complete(actual);
    } else {
      actual.onSubscribe(new Result<>(actual, result));
    }
  }

  /**
   * Emits one value on request, or discards it. Without a compare-and-set, like Reactor's own for
   * {@code Flux.just}: a subscriber calls its subscription from one thread at a time (Reactive
   * Streams 2.7).
   */
  private static final class Result<R> implements Subscription {
    private final CoreSubscriber<? super R> actual;
    private final R value;
    private boolean done;

    Result(CoreSubscriber<? super R> actual, R value) {
      this.actual = actual;
      this.value = value;
    }

    @Override
    public void request(long n) {
      if (!done && Operators.validate(n)) {
        done = true;
        actual.onNext(value);
        actual.onComplete();
      }
    }

    @Override
    public void cancel() {
      if (!done) {
        done = true;
        Operators.onDiscard(value, actual.currentContext());
      }
    }
  }
}
