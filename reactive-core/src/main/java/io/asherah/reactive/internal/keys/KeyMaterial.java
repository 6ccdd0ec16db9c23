package io.asherah.reactive.internal.keys;

import io.asherah.reactive.securememory.Secret;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/** Where the bytes of a key come from when they are needed. */
interface KeyMaterial {

  /** Applies a function to a copy of the bytes, which is wiped when the function returns. */
  <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function);

  /** Whether no further use succeeds. */
  boolean isClosed();

  /** Ends every further use. */
  void close();

  /** Bytes in locked memory. */
  static KeyMaterial of(Secret secret) {
    return new KeyMaterial() {
      @Override
      public <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function) {
        return secret.withBytes(function);
      }

      @Override
      public boolean isClosed() {
        return secret.isClosed();
      }

      @Override
      public void close() {
        secret.close();
      }
    };
  }
}
