package io.asherah.reactive.securememory;

/**
 * Signalled when too many secrets are being created at once. Nothing was created; the same call may
 * succeed a moment later.
 */
public final class SecureMemoryOverloadedException extends SecureMemoryException {
  private static final long serialVersionUID = 1L;

  private final int limit;

  /**
   * Makes an exception.
   *
   * @param limit how many creations may wait at once
   */
  public SecureMemoryOverloadedException(int limit) {
    super(
        "%d secrets are waiting to be created, which is the limit; try again later or raise"
                .formatted(limit)
            + " maxPendingCreations",
        null);
    this.limit = limit;
  }

  /**
   * The limit that was hit.
   *
   * @return how many creations may wait at once
   */
  public int limit() {
    return limit;
  }
}
