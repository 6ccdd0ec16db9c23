package io.asherah.reactive;

/**
 * Signalled when a key was closed under an operation and could not be had again, for instance
 * because the program closed the {@code SecretFactory} it had given to the session factory.
 * Retryable.
 */
public final class KeyClosedException extends AppEncryptionException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param message what was closed
   * @param cause what led to it
   */
  public KeyClosedException(String message, Throwable cause) {
    super(message, cause, true);
  }
}
