package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.Secret;
import java.lang.reflect.Field;

/** Looks into secrets. */
final class SecretSlots {
  private SecretSlots() {}

  static boolean allAre(byte[] bytes, int value) {
    for (byte b : bytes) {
      if (b != value) {
        return false;
      }
    }
    return true;
  }

  static Slot slotOf(Secret secret) {
    try {
      Field field = LockedSecret.class.getDeclaredField("slot");
      field.setAccessible(true);
      return (Slot) field.get(secret);
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }
}
