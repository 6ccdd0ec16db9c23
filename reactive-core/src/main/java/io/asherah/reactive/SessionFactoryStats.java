package io.asherah.reactive;

import io.asherah.reactive.securememory.SecureMemoryStats;

/**
 * What a {@link SessionFactory} holds at one moment. Immutable and safe for use by many threads.
 *
 * @param cachedSystemKeys system keys in memory
 * @param cachedIntermediateKeys intermediate keys in memory, all partitions together
 * @param loads loads of keys that are under way, those included that nobody waits for
 * @param callsUnderWay calls to metastore and key management service that have not ended
 * @param callsWaiting calls that wait for their turn
 * @param memory the locked memory of the factory's {@code SecretFactory}
 */
public record SessionFactoryStats(
    long cachedSystemKeys,
    long cachedIntermediateKeys,
    long loads,
    long callsUnderWay,
    long callsWaiting,
    SecureMemoryStats memory) {}
