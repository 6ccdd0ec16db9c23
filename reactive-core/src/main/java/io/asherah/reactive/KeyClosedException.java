package io.asherah.reactive;

/**
 * Signalled when a key was closed under an operation and could not be had again. Retryable, unless
 * the {@code SecretFactory} itself was closed: by the program that had given it to the session
 * factory, by {@code SecretFactory.purgeAll()}, or because the JVM shuts down.
 */
public final class KeyClosedException extends AppEncryptionException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception that is retryable.
   *
   * @param message what was closed
   * @param cause what led to it
   */
  public KeyClosedException(String message, Throwable cause) {
    this(message, cause, true);
  }

  /**
   * Makes an exception.
   *
   * @param message what was closed
   * @param cause what led to it
   * @param retryable whether keys can be had again
   */
  public KeyClosedException(String message, Throwable cause, boolean retryable) {
    super(message, cause, retryable);
  }
}
