package io.asherah.reactive.securememory;

import org.jspecify.annotations.Nullable;

/**
 * The root of what secure memory signals. Messages carry sizes and limits, never a byte of a
 * secret. Safe for use by many threads.
 */
public class SecureMemoryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param message what happened, why, and what to do about it
   * @param cause what led to it, or null
   */
  public SecureMemoryException(String message, @Nullable Throwable cause) {
    super(message, cause);
  }
}
