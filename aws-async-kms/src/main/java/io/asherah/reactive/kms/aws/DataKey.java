package io.asherah.reactive.kms.aws;

import java.util.Arrays;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The plaintext of a data key, which is wiped once, when its owner has closed it and every call
 * that has it in its hands has ended. A call that is still under way when a subscriber cancels
 * would seal zeros otherwise, which nobody could tell from a wrapped key (asks C2a).
 *
 * <p>It is made before the call that fills it, so there is no moment at which the plaintext has no
 * owner.
 */
final class DataKey {
  /** The owner, and everybody who uses it at this moment. */
  private final AtomicInteger users = new AtomicInteger(1);

  private volatile byte[] plaintext = {};

  /** Keeps it from being wiped until {@link #release}; false where it was wiped already. */
  boolean retain() {
    int current = users.get();
    while (current > 0) {
      if (users.compareAndSet(current, current + 1)) {
        return true;
      }
      current = users.get();
    }
    return false;
  }

  void release() {
    if (users.decrementAndGet() == 0) {
      Arrays.fill(plaintext, (byte) 0);
    }
  }

  /** Takes ownership of an array. Whoever calls this has retained it, and nobody reads it yet. */
  void fill(byte[] plaintext) {
    this.plaintext = plaintext;
  }

  /** The array itself, for somebody who has retained it. */
  byte[] plaintext() {
    return plaintext;
  }

  /** Applies a function to the array, or returns null where it was wiped. */
  <T> @Nullable T use(Function<byte[], T> function) {
    if (!retain()) {
      return null;
    }
    try {
      return function.apply(plaintext);
    } finally {
      release();
    }
  }

  /** Called once, by the owner. */
  void close() {
    release();
  }
}
