package io.asherah.reactive;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Signalled when the key management service cannot wrap or unwrap a system key. */
public final class KmsException extends AppEncryptionException {
  private static final long serialVersionUID = 1L;

  private final Kind kind;

  /**
   * Makes an exception.
   *
   * @param kind what went wrong; it decides whether the failure is retryable
   * @param message what happened and what to do about it
   * @param cause what led to it, or null
   */
  public KmsException(Kind kind, String message, @Nullable Throwable cause) {
    super(message, cause, Objects.requireNonNull(kind, "kind").retryable);
    this.kind = kind;
  }

  /**
   * What went wrong.
   *
   * @return the kind of failure
   */
  public Kind kind() {
    return kind;
  }

  /** What went wrong at a key management service. */
  public enum Kind {
    /** The caller may not use the master key. Not retryable. */
    ACCESS_DENIED(false),
    /** The master key is disabled or about to be deleted. Not retryable. */
    KEY_DISABLED(false),
    /** There is no such master key. Not retryable. */
    KEY_NOT_FOUND(false),
    /** The wrapped key was not made by this master key, or was tampered with. Not retryable. */
    INVALID_CIPHERTEXT(false),
    /** The service returned something that is not a key of 32 bytes. Not retryable. */
    INVALID_KEY(false),
    /** Too many calls. Retryable. */
    THROTTLED(true),
    /** No answer in time. Retryable. */
    TIMEOUT(true),
    /** The service cannot be reached or failed inside. Retryable. */
    UNAVAILABLE(true),
    /** Anything else. Not retryable. */
    OTHER(false);

    private final boolean retryable;

    Kind(boolean retryable) {
      this.retryable = retryable;
    }
  }
}
