package io.asherah.reactive;

import io.asherah.reactive.securememory.SecureMemoryStats;

/**
 * What a {@link SessionFactory} holds at one moment. Immutable and safe for use by many threads.
 *
 * @param cachedSystemKeys system keys in memory
 * @param cachedIntermediateKeys intermediate keys in memory, all partitions together
 * @param memory the locked memory of the factory's {@code SecretFactory}
 */
public record SessionFactoryStats(
    long cachedSystemKeys, long cachedIntermediateKeys, SecureMemoryStats memory) {}
