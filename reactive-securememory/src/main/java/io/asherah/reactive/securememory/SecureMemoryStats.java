package io.asherah.reactive.securememory;

/**
 * What a {@link SecretFactory} holds at one moment. Immutable and safe for use by many threads.
 *
 * @param liveSecrets secrets that were created and not closed; a factory that was asked for an
 *     {@link Enclave} holds two more
 * @param leakedSecrets secrets that the program lost without closing them, and that were wiped when
 *     the garbage collector found them, since the factory was made
 * @param lockedBytes bytes of locked memory, whole pages, including those of closed secrets that
 *     are still being wiped
 * @param hiddenBytes of these, the bytes in pages of {@code memfd_secret}
 * @param limitBytes how much memory this process may lock, {@link #NOT_LIMITED}, or {@link
 *     #LIMIT_UNKNOWN} before the first secret
 * @param openRegions locked regions that can be read at this moment
 * @param opens how often a closed region was made readable again since the factory was made; a new
 *     one starts readable
 * @param closes how often a region was made unreadable again
 * @param corruptedRegions regions whose canary was found overwritten, and all of whose secrets were
 *     ended, to be wiped; anything but 0 means that native code in this process has a bug
 * @param pendingCreations creations that wait for the scheduler or run on it
 * @param queueDepth tasks of all kinds that wait for the scheduler or run on it
 */
public record SecureMemoryStats(
    long liveSecrets,
    long leakedSecrets,
    long lockedBytes,
    long hiddenBytes,
    long limitBytes,
    long openRegions,
    long opens,
    long closes,
    long corruptedRegions,
    int pendingCreations,
    int queueDepth) {
  /** There is no limit, or the process may exceed it. */
  public static final long NOT_LIMITED = -1;

  /** The system was not asked yet. */
  public static final long LIMIT_UNKNOWN = -2;
}
