package io.asherah.reactive;

import java.time.Instant;
import org.jspecify.annotations.Nullable;

/**
 * Something that happened to a key of this factory. Carries no key material; the id of an
 * intermediate key contains a partition, which {@link #toString} leaves out. Immutable and safe for
 * use by many threads.
 *
 * @param type what happened
 * @param key the key it happened to
 * @param at when it happened, on the clock of the factory
 * @param cause what failed, or null where nothing did
 */
public record KeyEvent(Type type, KeyMeta key, Instant at, @Nullable Throwable cause) {

  /** What can happen to a key. */
  public enum Type {
    /** This process stored the first version of a key. */
    CREATED,
    /** This process stored a new version of a key that had expired, was revoked or was used up. */
    ROTATED,
    /** An expired key is used on while its successor is made, see {@link KeyRotation#QUEUED}. */
    ROTATION_QUEUED,
    /** A cached key turned out to be revoked; it is not used for new data any more. */
    REVOKED,
    /**
     * A key could not be looked up again, or rotated, ahead of time. It is used until it is older
     * than the revoke check period; the next attempt follows after a back-off.
     */
    REFRESH_FAILED,
    /** A key was wiped from memory because the cache was full or its partition idle. */
    EVICTED,
    /** A version of a key was deleted from the metastore by {@link SessionFactory#shred}. */
    SHREDDED
  }
}
