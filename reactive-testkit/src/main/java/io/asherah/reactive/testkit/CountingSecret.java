package io.asherah.reactive.testkit;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/** A secret that counts how often it is read. */
final class CountingSecret implements Secret {
  /** Never closed: its threads are daemons that end when they are idle. */
  static final SecretFactory FACTORY = SecretFactory.builder().build();

  private final Secret wrapped;
  private final AtomicInteger reads = new AtomicInteger();

  CountingSecret(Secret wrapped) {
    this.wrapped = wrapped;
  }

  int reads() {
    return reads.get();
  }

  @Override
  public int length() {
    return wrapped.length();
  }

  @Override
  public <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function) {
    return Mono.defer(
        () -> {
          reads.incrementAndGet();
          return wrapped.withBytes(function);
        });
  }

  @Override
  public boolean isClosed() {
    return wrapped.isClosed();
  }

  @Override
  public void close() {
    wrapped.close();
  }

  @Override
  public String toString() {
    return wrapped.toString();
  }
}
