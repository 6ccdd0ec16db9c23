package io.asherah.reactive.spi;

import io.asherah.reactive.KeyEvent;
import io.asherah.reactive.KmsException;

/**
 * Is told what a session factory does, to count and to time it. Every method has a default that
 * does nothing. With {@link #NONE}, the default of a factory, no clock is read for it.
 *
 * <p>Methods are called on the thread where the thing happens, event loops included, so they must
 * not block. What they throw is logged once and does no harm to the operation. An implementation
 * must be safe for use by many threads. No argument has a partition in it, except the key of a
 * {@link KeyEvent}.
 */
public interface MetricsRecorder {
  /** Records nothing, and costs nothing. */
  MetricsRecorder NONE = new MetricsRecorder() {};

  /**
   * A payload was sealed, or could not be, everything included from subscription on. Cancelled
   * operations are not told.
   *
   * @param nanos how long it took, in nanoseconds
   * @param isSuccess whether it succeeded
   */
  default void encrypted(long nanos, boolean isSuccess) {}

  /**
   * A record was opened, or could not be, everything included from subscription on. Cancelled
   * operations are not told.
   *
   * @param nanos how long it took, in nanoseconds
   * @param isSuccess whether it succeeded
   */
  default void decrypted(long nanos, boolean isSuccess) {}

  /**
   * A metastore answered, failed, or was not waited for any longer: one attempt, without the time
   * it waited for its turn.
   *
   * @param metastore {@link Metastore#name()}
   * @param call which call it was
   * @param nanos how long it took, in nanoseconds
   * @param isSuccess whether it answered
   */
  default void metastoreCalled(
      String metastore, MetastoreCall call, long nanos, boolean isSuccess) {}

  /**
   * A key management service answered, failed, or was not waited for any longer: one attempt,
   * without the time it waited for its turn.
   *
   * @param kms {@link KeyManagementService#name()}
   * @param call which call it was
   * @param nanos how long it took, in nanoseconds
   * @param isSuccess whether it answered
   */
  default void kmsCalled(String kms, KmsCall call, long nanos, boolean isSuccess) {}

  /**
   * One of several regions of a key management service failed. The call it was for may have
   * succeeded in others. Told by a service that was given the recorder itself.
   *
   * @param kms {@link KeyManagementService#name()}
   * @param region the region
   * @param kind how it failed
   */
  default void kmsRegionFailed(String kms, String region, KmsException.Kind kind) {}

  /**
   * An operation looked for an intermediate key in the cache.
   *
   * @param cache what it asked for
   * @param lookup what it found
   */
  default void keyLookedUp(Cache cache, Lookup lookup) {}

  /**
   * Something happened to a key.
   *
   * @param event what happened
   */
  default void keyEvent(KeyEvent event) {}

  /** The calls to a metastore. */
  enum MetastoreCall {
    /** {@link Metastore#load}. */
    LOAD,
    /** {@link Metastore#loadLatest}. */
    LOAD_LATEST,
    /** {@link Metastore#store}. */
    STORE
  }

  /** The calls to a key management service. */
  enum KmsCall {
    /** {@link KeyManagementService#encryptKey}. */
    ENCRYPT_KEY,
    /** {@link KeyManagementService#decryptKey}. */
    DECRYPT_KEY
  }

  /** What can be asked of the cache of intermediate keys. */
  enum Cache {
    /** The key that new data is sealed under. */
    LATEST,
    /** The key that a record names. */
    META
  }

  /** What a look-up can find. */
  enum Lookup {
    /** A key that can be used at once. */
    HIT,
    /** A key that has to be looked up again, or replaced, before it is used. */
    STALE,
    /** No key. */
    MISS
  }
}
