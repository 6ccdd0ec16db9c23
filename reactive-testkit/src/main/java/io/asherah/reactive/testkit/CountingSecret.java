package io.asherah.reactive.testkit;

import io.asherah.reactive.securememory.Enclave;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** A secret that counts how often it is read. */
final class CountingSecret implements Secret {
  /** Never closed: its threads are daemons that end when they are idle. */
  static final SecretFactory FACTORY = SecretFactory.builder().shutdownGrace(Duration.ZERO).build();

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

  private <R> Mono<R> counted(Mono<R> read) {
    return Mono.defer(
        () -> {
          reads.incrementAndGet();
          return read;
        });
  }

  @Override
  public <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function) {
    return counted(wrapped.withBytes(function));
  }

  @Override
  public <R> Mono<R> withUtf8Chars(Function<? super char[], ? extends @Nullable R> function) {
    return counted(wrapped.withUtf8Chars(function));
  }

  @Override
  public Flux<ByteBuffer> chunks(int size) {
    return counted(Mono.just(wrapped.chunks(size))).flatMapMany(Function.identity());
  }

  @Override
  public Mono<Boolean> contentEquals(byte[] other) {
    return counted(wrapped.contentEquals(other));
  }

  @Override
  public Mono<Boolean> contentEquals(Secret other) {
    return counted(wrapped.contentEquals(other));
  }

  @Override
  public Mono<Secret> copyTo(SecretFactory target) {
    return counted(wrapped.copyTo(target));
  }

  @Override
  public Mono<Enclave> seal() {
    return counted(wrapped.seal());
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
