package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.MemoryLimitException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.Disposables;

/**
 * Finds room for secrets in regions, and returns regions that are empty.
 *
 * <p>Small secrets share regions. A large one gets a region of its own, which nothing else can keep
 * alive. One empty region is kept for a while, so that a program that makes and closes one secret
 * at a time does not map memory for each.
 *
 * <p>Bookkeeping only, on the scheduler only, where threads may wait for each other; the regions
 * make the system calls for what they hold.
 */
final class Arena {
  /** Data pages of a shared region, in bytes; small enough for a limit of 64 KiB. */
  static final int REGION_BYTES = 16_384;

  /** A larger part of a shared region than one in so many is not given to one secret. */
  private static final int LARGEST_SHARE = 4;

  private static final Duration SPARE_KEPT = Duration.ofSeconds(30);

  private final LockedSecretFactory factory;
  private final int regionBytes;
  private final boolean isStrict;
  private final List<LockedRegion> shared = new ArrayList<>();
  private @Nullable LockedRegion spare;
  private Disposable spareTime = Disposables.disposed();

  /**
   * Makes an arena without regions.
   *
   * @param regionBytes of a shared region, rounded up to whole pages
   * @param isStrict whether regions are readable only while a copy is made, not for an access
   *     window
   */
  Arena(LockedSecretFactory factory, int regionBytes, boolean isStrict) {
    this.factory = factory;
    this.regionBytes = regionBytes;
    this.isStrict = isStrict;
  }

  boolean isStrict() {
    return isStrict;
  }

  /**
   * Takes room for a secret, in a new region where the others are full.
   *
   * @throws MemoryLimitException where the system does not let the process lock another region
   */
  synchronized Slot take(int bytes) {
    try {
      return find(bytes);
    } catch (MemoryLimitException e) {
      if (spare != null) {
        // Who tries again when it was returned may find the room.
        giveUpIfEmpty(spare);
      }
      throw e;
    }
  }

  private Slot find(int bytes) {
    int granules = GranuleMap.granulesFor(bytes);
    long needed = wholePages((long) granules * GranuleMap.GRANULE + Canary.LENGTH);
    if (bytes > wholePages(regionBytes) / LARGEST_SHARE) {
      return takeFromNew(newRegion(needed), granules, bytes);
    }
    shared.removeIf(LockedRegion::isPurged);
    for (LockedRegion region : shared) {
      Slot slot = takeFrom(region, granules, bytes);
      if (slot != null) {
        if (region == spare) {
          keepNoLonger();
        }
        return slot;
      }
    }
    LockedRegion region = newSharedRegion(needed);
    shared.add(region);
    return takeFromNew(region, granules, bytes);
  }

  private static Slot takeFromNew(LockedRegion region, int granules, int bytes) {
    return Objects.requireNonNull(takeFrom(region, granules, bytes));
  }

  private static @Nullable Slot takeFrom(LockedRegion region, int granules, int bytes) {
    int start = region.granules.take(granules);
    return start < 0 ? null : new Slot(region, start * GranuleMap.GRANULE, bytes);
  }

  private LockedRegion newSharedRegion(long needed) {
    long usual = wholePages(regionBytes);
    try {
      return newRegion(usual);
    } catch (MemoryLimitException e) {
      if (needed >= usual) {
        throw e;
      }
      // The last pages below the limit.
      return newRegion(needed);
    }
  }

  private LockedRegion newRegion(long length) {
    return LockedRegion.allocate(factory, this, length);
  }

  private long wholePages(long bytes) {
    long page = factory.pageSize();
    return (bytes + page - 1) / page * page;
  }

  /** Gives back the room of a secret that was wiped, or was never there. */
  synchronized void release(Slot slot) {
    LockedRegion region = slot.region;
    region.granules.release(slot.offset / GranuleMap.GRANULE, GranuleMap.granulesFor(slot.length));
    if (!region.granules.isEmpty() || region.isPurged()) {
      return;
    }
    if (spare == null && shared.contains(region)) {
      spare = region;
      spareTime =
          factory.later(() -> factory.execute(() -> giveUpIfEmpty(region)), SPARE_KEPT.toNanos());
    } else {
      giveBack(region);
    }
  }

  /** Returns an empty region now that is kept for a while otherwise. */
  synchronized void giveUpIfEmpty(LockedRegion region) {
    if (region == spare) {
      keepNoLonger();
      giveBack(region);
    }
  }

  private void keepNoLonger() {
    spare = null;
    spareTime.dispose();
  }

  private void giveBack(LockedRegion region) {
    shared.remove(region);
    region.purge();
  }
}
