package io.asherah.reactive.securememory;

/** Signalled by the use of a {@link Secret} or {@link SecretFactory} that was closed. */
public final class SecretClosedException extends SecureMemoryException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param message what was closed
   */
  public SecretClosedException(String message) {
    super(message, null);
  }
}
