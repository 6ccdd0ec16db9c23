package io.asherah.reactive;

import org.jspecify.annotations.Nullable;

/** Signalled when more keys are being loaded at once than the process can take. Retryable. */
public final class OverloadedException extends AppEncryptionException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param message which limit was hit and what to do about it
   * @param cause what led to it, or null
   */
  public OverloadedException(String message, @Nullable Throwable cause) {
    super(message, cause, true);
  }
}
