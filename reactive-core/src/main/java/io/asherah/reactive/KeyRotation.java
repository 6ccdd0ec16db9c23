package io.asherah.reactive;

/** When a key that has expired is replaced. A revoked key is never used for new data in either. */
public enum KeyRotation {
  /** The first operation that needs a key after its expiry waits for the new one. The default. */
  INLINE,
  /**
   * The expired key is used until the new one, which is made once and in the background, is there.
   * No operation waits for a rotation; while none succeeds, the expired key stays in use.
   */
  QUEUED
}
