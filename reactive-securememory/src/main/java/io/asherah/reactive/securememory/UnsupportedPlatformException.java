package io.asherah.reactive.securememory;

import org.jspecify.annotations.Nullable;

/**
 * Signalled where this library cannot do what was asked: on a platform that it does not know or
 * that has nothing of the kind, and where JNA cannot be loaded. The message tells which, and what
 * helps.
 */
public final class UnsupportedPlatformException extends SecureMemoryException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param message what is not supported and what to do about it
   * @param cause what led to it, or null
   */
  public UnsupportedPlatformException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
