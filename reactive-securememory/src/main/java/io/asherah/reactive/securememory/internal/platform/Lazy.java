package io.asherah.reactive.securememory.internal.platform;

import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Loads a library with its first use. Two threads may both load it, which does no harm; a failure
 * is met again by the next use.
 */
final class Lazy<T> implements Supplier<T> {
  private final Supplier<? extends T> loader;
  private volatile @Nullable T value;

  Lazy(Supplier<? extends T> loader) {
    this.loader = loader;
  }

  @Override
  public T get() {
    T loaded = value;
    if (loaded == null) {
      loaded = loader.get();
      value = loaded;
    }
    return loaded;
  }
}
