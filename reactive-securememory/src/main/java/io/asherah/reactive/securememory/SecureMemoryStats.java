package io.asherah.reactive.securememory;

/**
 * What a {@link SecretFactory} holds at one moment. Immutable and safe for use by many threads.
 *
 * @param liveSecrets secrets that were created and not closed
 * @param lockedBytes bytes of locked memory, whole pages, including those of closed secrets that
 *     are still being wiped
 * @param openRegions locked regions that can be read at this moment
 * @param opens how often a closed region was made readable again since the factory was made; a new
 *     one starts readable
 * @param closes how often a region was made unreadable again because it was idle
 * @param pendingCreations creations that wait for the scheduler or run on it
 */
public record SecureMemoryStats(
    long liveSecrets,
    long lockedBytes,
    long openRegions,
    long opens,
    long closes,
    int pendingCreations) {}
