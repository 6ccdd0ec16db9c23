package io.asherah.reactive;

import org.jspecify.annotations.Nullable;

/**
 * The root of everything this library signals. Messages carry limits, times and the ids of system
 * keys; never key bytes, plaintext or ciphertext, and no partition id. Safe for use by many
 * threads.
 */
public class AppEncryptionException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final boolean retryable;

  /**
   * Makes an exception.
   *
   * @param message what happened, why, and what to do about it
   * @param cause what led to it, or null
   * @param retryable whether the same call may succeed later without any change
   */
  public AppEncryptionException(String message, @Nullable Throwable cause, boolean retryable) {
    super(message, cause);
    this.retryable = retryable;
  }

  /**
   * Whether the same call may succeed later without any change.
   *
   * @return true for overload, time-outs and failures of a back end that said so
   */
  public boolean isRetryable() {
    return retryable;
  }
}
