package io.asherah.reactive.securememory;

/**
 * Signalled when the operating system does not let the process lock more memory. Nothing was
 * created; secrets that exist are not affected.
 */
public final class MemoryLimitException extends SecureMemoryException {
  private static final long serialVersionUID = 1L;

  private final long limitBytes;
  private final long lockedBytes;
  private final long requestedBytes;

  /**
   * Makes an exception.
   *
   * @param limitBytes the soft {@code RLIMIT_MEMLOCK} of the process, or -1 where it is unlimited
   * @param lockedBytes what the factory had locked before
   * @param requestedBytes what it tried to lock in addition
   */
  public MemoryLimitException(long limitBytes, long lockedBytes, long requestedBytes) {
    this(limitBytes, lockedBytes, requestedBytes, "");
  }

  private MemoryLimitException(
      long limitBytes, long lockedBytes, long requestedBytes, String addition) {
    super(
        "cannot lock %d more bytes of memory: this factory holds %d, the limit of the process is %s. "
                .formatted(
                    requestedBytes,
                    lockedBytes,
                    limitBytes < 0 ? "unlimited" : limitBytes + " bytes")
            + "Raise it (ulimit -l, LimitMEMLOCK= of systemd, ulimits of the container) or cache"
            + " fewer keys"
            + addition,
        null);
    this.limitBytes = limitBytes;
    this.lockedBytes = lockedBytes;
    this.requestedBytes = requestedBytes;
  }

  /**
   * Makes one for a budget that is not available.
   *
   * @param limitBytes the soft {@code RLIMIT_MEMLOCK} of the process, or -1 where it is unlimited
   * @param lockedBytes what the factory had locked before
   * @param requestedBytes what the budget takes, whole regions
   * @return an exception whose message names the option
   */
  public static MemoryLimitException forBudget(
      long limitBytes, long lockedBytes, long requestedBytes) {
    return new MemoryLimitException(
        limitBytes,
        lockedBytes,
        requestedBytes,
        "; memoryBudget asks for it, lower that or set LimitPolicy.WARN");
  }

  /**
   * The limit that was hit.
   *
   * @return the soft limit of the process in bytes, or -1 where it is unlimited
   */
  public long limitBytes() {
    return limitBytes;
  }

  /**
   * What the factory had locked.
   *
   * @return bytes, whole pages
   */
  public long lockedBytes() {
    return lockedBytes;
  }

  /**
   * What it tried to lock in addition.
   *
   * @return bytes, whole pages
   */
  public long requestedBytes() {
    return requestedBytes;
  }
}
