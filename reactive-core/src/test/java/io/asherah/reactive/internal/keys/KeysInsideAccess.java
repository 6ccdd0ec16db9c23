package io.asherah.reactive.internal.keys;

import com.github.benmanes.caffeine.cache.Cache;
import io.asherah.reactive.KeyMeta;
import java.lang.reflect.Field;
import java.util.Objects;

/** The part of {@code KeysInside} that has to live here. */
public final class KeysInsideAccess {
  private final Object hierarchy;

  public KeysInsideAccess(Object hierarchy) {
    this.hierarchy = hierarchy;
  }

  /** Lets a cached key have been found revoked at this moment. */
  public void revoke(String keys, String ring, KeyMeta meta) {
    CachedKey key = Objects.requireNonNull(cache(keys).get(ring, meta));
    key.foundRevoked(key.checkedAt());
  }

  /** Evicts a ring. */
  public void forget(String keys, String ring) {
    cache(keys).forget(ring);
  }

  /** How many rings there are at this moment. */
  public long rings(String keys) {
    return ((Cache<?, ?>) field(cache(keys), "rings")).estimatedSize();
  }

  private KeyCache cache(String keys) {
    return (KeyCache) field(field(hierarchy, keys), "cache");
  }

  private static Object field(Object object, String name) {
    try {
      Field field = object.getClass().getDeclaredField(name);
      field.setAccessible(true);
      return Objects.requireNonNull(field.get(object));
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(e);
    }
  }
}
