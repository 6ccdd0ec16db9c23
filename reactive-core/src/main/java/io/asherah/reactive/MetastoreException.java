package io.asherah.reactive;

import org.jspecify.annotations.Nullable;

/**
 * Signalled when the metastore could not be read or written. It never means that a key does not
 * exist.
 */
public final class MetastoreException extends AppEncryptionException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param message what failed and what to do about it
   * @param cause what led to it, or null
   * @param retryable whether the same call may succeed later without any change
   */
  public MetastoreException(String message, @Nullable Throwable cause, boolean retryable) {
    super(message, cause, retryable);
  }
}
