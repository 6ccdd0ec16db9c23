package io.asherah.reactive.testkit;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import java.util.List;
import java.util.Objects;
import reactor.core.publisher.Mono;

/**
 * A key management service in front of another one: it records every call, counts those in flight,
 * and can be told, from any thread and until {@link #recover()}, to answer late, never, or with an
 * error.
 *
 * <p>Nothing happens before a subscription, and each is recorded as a call and calls the wrapped
 * service once; also what that throws is signalled. Whether to fail, and when to answer, is decided
 * at subscription, each for itself: a call can be late and fail.
 *
 * <ul>
 *   <li>A call that fails is not made to the wrapped service.
 *   <li>A call whose answer is late or never comes <b>is</b> made, at once, and only its answer, or
 *       its error, is held back. A key that is held back when its call is cancelled is closed.
 * </ul>
 *
 * <p>Adds no thread of its own: answers come on the thread of the wrapped service, or of what they
 * were late for. Never blocks. Safe for use by many threads.
 */
public final class RecordingKeyManagementService
    extends Recording<RecordingKeyManagementService.Operation, RecordingKeyManagementService.Call>
    implements KeyManagementService {
  private final KeyManagementService wrapped;

  private RecordingKeyManagementService(KeyManagementService wrapped) {
    super(List.of(Operation.values()), Call::operation);
    this.wrapped = wrapped;
  }

  /**
   * Wraps a key management service.
   *
   * @param wrapped what answers
   * @return a new service with its name
   */
  public static RecordingKeyManagementService of(KeyManagementService wrapped) {
    return new RecordingKeyManagementService(Objects.requireNonNull(wrapped, "wrapped"));
  }

  @Override
  public Mono<byte[]> encryptKey(Secret systemKey) {
    return recordMono(
        new Call(Operation.ENCRYPT_KEY), () -> wrapped.encryptKey(systemKey), wrappedKey -> {});
  }

  @Override
  public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
    return recordMono(
        new Call(Operation.DECRYPT_KEY), () -> wrapped.decryptKey(encryptedKey), CryptoKey::close);
  }

  @Override
  public String name() {
    return wrapped.name();
  }

  /** Names the wrapped service and the calls in flight, no keys. */
  @Override
  public String toString() {
    return describe(wrapped.name());
  }

  /** What a key management service can be asked. */
  public enum Operation {
    /** {@link KeyManagementService#encryptKey}. */
    ENCRYPT_KEY,
    /** {@link KeyManagementService#decryptKey}. */
    DECRYPT_KEY
  }

  /**
   * A call that was made. Immutable and safe for use by many threads.
   *
   * @param operation what was asked
   */
  public record Call(Operation operation) {}
}
