package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.FactoryClosedException;
import io.asherah.reactive.KeyClosedException;
import io.asherah.reactive.OverloadedException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryException;
import io.asherah.reactive.securememory.SecureMemoryOverloadedException;
import java.time.Duration;
import java.util.Arrays;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.util.retry.Retry;

/** Locked memory for keys, and what its failures mean to an operation. */
final class KeyMemory {
  private final SecretFactory secrets;
  private final OperationGate gate;
  private final Retry waitForRoom;

  KeyMemory(SecretFactory secrets, OperationGate gate, Scheduler timer) {
    this.secrets = secrets;
    this.gate = gate;
    this.waitForRoom =
        Retry.backoff(100, Duration.ofMillis(1))
            .maxBackoff(Duration.ofMillis(50))
            .scheduler(timer)
            .filter(SecureMemoryOverloadedException.class::isInstance)
            .onRetryExhaustedThrow((attempts, last) -> last.failure());
  }

  /** Where system calls and changes of caches run. */
  Scheduler scheduler() {
    return secrets.scheduler();
  }

  /** Throws where no key can be had any more, so that none is asked for. */
  void requireOpen() {
    if (secrets.isClosed()) {
      throw failure(new SecretClosedException("the secret factory is closed"));
    }
  }

  /**
   * Moves a key into locked memory; the array is wiped whatever happens. Many keys that are loaded
   * at the same moment wait for their turn, for about five seconds at most.
   */
  Mono<Secret> protect(byte[] key) {
    return secrets
        .create(key)
        .retryWhen(waitForRoom)
        .doFinally(signal -> Arrays.fill(key, (byte) 0))
        // An operator that is cancelled while it hands a secret on drops it.
        .doOnDiscard(Secret.class, Secret::close)
        .onErrorMap(KeyMemory::isLasting, this::failure);
  }

  /**
   * The same for a key that is cheap to open: it is opened anew for each turn and does not wait.
   */
  Mono<Secret> protectAnew(Mono<byte[]> opened) {
    return opened
        .flatMap(key -> secrets.create(key).doFinally(signal -> Arrays.fill(key, (byte) 0)))
        .retryWhen(waitForRoom)
        .doOnDiscard(Secret.class, Secret::close)
        .onErrorMap(KeyMemory::isLasting, this::failure);
  }

  /**
   * A key that was closed under a load is looked up again, like one that was closed under a read.
   */
  private static boolean isLasting(Throwable e) {
    return e instanceof SecureMemoryException && !(e instanceof SecretClosedException);
  }

  private Throwable failure(Throwable e) {
    return failure((SecureMemoryException) e);
  }

  AppEncryptionException failure(SecureMemoryException e) {
    if (gate.isClosed()) {
      return new FactoryClosedException();
    }
    String message = String.valueOf(e.getMessage());
    if (e instanceof SecureMemoryOverloadedException) {
      return new OverloadedException(message, e);
    }
    if (e instanceof SecretClosedException) {
      return secrets.isClosed()
          ? new KeyClosedException(
              "the SecretFactory was closed, by the program, by purgeAll() or because the JVM shuts"
                  + " down; no key can be had any more",
              e,
              false)
          : new KeyClosedException(message, e);
    }
    return new AppEncryptionException(message, e, false);
  }
}
