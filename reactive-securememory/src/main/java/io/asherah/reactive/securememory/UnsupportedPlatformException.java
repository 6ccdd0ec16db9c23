package io.asherah.reactive.securememory;

import org.jspecify.annotations.Nullable;

/**
 * Signalled where this library cannot lock memory: an unknown platform, or JNA cannot be loaded.
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
