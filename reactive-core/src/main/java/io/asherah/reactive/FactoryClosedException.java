package io.asherah.reactive;

/** Signalled by every operation of a session factory that was closed. Not retryable. */
public final class FactoryClosedException extends AppEncryptionException {
  private static final long serialVersionUID = 1L;

  /** Makes an exception. */
  public FactoryClosedException() {
    super("the session factory is closed", null, false);
  }
}
