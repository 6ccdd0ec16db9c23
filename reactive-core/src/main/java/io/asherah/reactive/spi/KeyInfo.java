package io.asherah.reactive.spi;

import io.asherah.reactive.KeyMeta;
import java.util.Optional;

/**
 * What a metastore knows of a version of a key, without the key. Immutable and safe for use by many
 * threads.
 *
 * @param meta the name of the version
 * @param isRevoked whether it may no longer be used for new data
 * @param parent the system key that wraps it, empty for a system key
 */
public record KeyInfo(KeyMeta meta, boolean isRevoked, Optional<KeyMeta> parent) {}
