package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.SecretClosedException;
import java.lang.ref.Cleaner.Cleanable;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * The place of one secret in a region. It is made anew for each secret that lies there, so whether
 * it has ended is the generation that a reader compares before and after its copy.
 */
final class Slot {
  final LockedRegion region;
  final int offset;
  final int length;

  private final AtomicBoolean ended = new AtomicBoolean();

  /** Of the scheduler. */
  private @Nullable Cleanable leakWatch;

  Slot(LockedRegion region, int offset, int length) {
    this.region = region;
    this.offset = offset;
    this.length = length;
  }

  /** Ends the secret; true for the one caller that did. */
  boolean end() {
    return ended.compareAndSet(false, true);
  }

  boolean hasEnded() {
    return ended.get() || region.isPurged();
  }

  void watchedBy(Cleanable leakWatch) {
    this.leakWatch = leakWatch;
  }

  /** The secret has ended; nothing need be done any more when its owner is lost. */
  void unwatch() {
    if (leakWatch != null) {
      leakWatch.clean();
      leakWatch = null;
    }
  }

  static SecretClosedException closed() {
    return new SecretClosedException("the secret is closed");
  }
}
