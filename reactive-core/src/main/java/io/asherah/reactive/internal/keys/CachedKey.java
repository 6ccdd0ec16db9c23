package io.asherah.reactive.internal.keys;

import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.securememory.Secret;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A key in locked memory together with what is known of its record, and when that was read.
 *
 * <p>The cache owns the secret. Users need no lease: reading a key that was closed signals {@code
 * SecretClosedException}, and they look it up again.
 */
final class CachedKey {
  private final KeyMeta meta;
  private final Secret secret;
  private final AtomicReference<State> state;

  /**
   * What the metastore said last.
   *
   * @param revoked whether the key may no longer be used for new data
   * @param checkedAt when the read that said so was sent, on the ticker
   * @param parent the system key that wraps an intermediate key, null for a system key
   */
  private record State(boolean revoked, long checkedAt, @Nullable CachedKey parent) {}

  CachedKey(
      KeyMeta meta, Secret secret, boolean revoked, long checkedAt, @Nullable CachedKey parent) {
    this.meta = meta;
    this.secret = secret;
    this.state = new AtomicReference<>(new State(revoked, checkedAt, parent));
  }

  KeyMeta meta() {
    return meta;
  }

  boolean isRevoked() {
    return state().revoked;
  }

  long checkedAt() {
    return state().checkedAt;
  }

  @Nullable CachedKey parent() {
    return state().parent;
  }

  private State state() {
    return Objects.requireNonNull(state.get());
  }

  /** Takes over what a read of the record said, unless a read that was sent later has answered. */
  void checked(boolean revoked, long checkedAt, @Nullable CachedKey parent) {
    State answer = new State(revoked, checkedAt, parent);
    state.updateAndGet(current -> checkedAt - current.checkedAt >= 0 ? answer : current);
  }

  <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function) {
    return secret.withBytes(function);
  }

  void close() {
    secret.close();
  }
}
