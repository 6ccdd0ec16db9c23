package io.asherah.reactive.benchmarks;

import org.reactivestreams.Subscription;
import reactor.core.CorePublisher;
import reactor.core.CoreSubscriber;

/**
 * The least subscriber: it adds up what {@link #valueOf} makes of the elements. Fails where the
 * publisher has not completed when {@code subscribe} returns, because then it was no warm read that
 * was measured. A thread uses the same one for all its reads, so that what is measured is the read
 * and not the pipeline around it.
 */
abstract class Synchronous<T> implements CoreSubscriber<T> {
  private int sum;
  private boolean completed;

  abstract int valueOf(T element);

  /** Subscribes as an operator does, and returns when all elements have come. */
  int sumOf(CorePublisher<? extends T> publisher) {
    sum = 0;
    completed = false;
    publisher.subscribe(this);
    if (!completed) {
      throw new IllegalStateException("the read has not completed on the thread of its subscriber");
    }
    return sum;
  }

  @Override
  public void onSubscribe(Subscription subscription) {
    subscription.request(Long.MAX_VALUE);
  }

  @Override
  public void onNext(T element) {
    sum += valueOf(element);
  }

  @Override
  public void onError(Throwable error) {
    throw new IllegalStateException(error);
  }

  @Override
  public void onComplete() {
    completed = true;
  }
}
