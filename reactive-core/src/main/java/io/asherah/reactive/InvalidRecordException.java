package io.asherah.reactive;

import org.jspecify.annotations.Nullable;

/**
 * Signalled when a record is malformed or was tampered with: it is not the JSON of a record, its
 * base64 is not canonical, or its authentication fails. Not retryable.
 */
public final class InvalidRecordException extends AppEncryptionException {
  private static final long serialVersionUID = 1L;

  /**
   * Makes an exception.
   *
   * @param message what is wrong and where, without any of the record's content
   */
  public InvalidRecordException(String message) {
    this(message, null);
  }

  /**
   * Makes an exception with a cause.
   *
   * @param message what is wrong and where, without any of the record's content
   * @param cause what led to it, or null; its message must not have any of the content either
   */
  public InvalidRecordException(String message, @Nullable Throwable cause) {
    super(message, cause, false);
  }
}
