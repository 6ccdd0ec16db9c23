package io.asherah.reactive;

import io.asherah.reactive.internal.keys.KeysInsideAccess;

/** Reaches into the caches of a factory, for states that take long to come about by themselves. */
final class KeysInside {
  private final KeysInsideAccess keys;

  KeysInside(SessionFactory factory) {
    try {
      var field = SessionFactory.class.getDeclaredField("keys");
      field.setAccessible(true);
      this.keys = new KeysInsideAccess(field.get(factory));
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }

  void revokeIntermediateKey(KeyMeta meta) {
    keys.revoke("intermediateKeys", meta.id(), meta);
  }

  void revokeSystemKey(KeyMeta meta) {
    keys.revoke("systemKeys", "system", meta);
  }

  long intermediateKeyRings() {
    return keys.rings("intermediateKeys");
  }

  void dropSystemKeys() {
    keys.forget("systemKeys", "system");
  }
}
