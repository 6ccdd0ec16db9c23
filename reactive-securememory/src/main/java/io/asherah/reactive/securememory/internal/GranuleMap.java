package io.asherah.reactive.securememory.internal;

import java.util.BitSet;

/**
 * Which parts of a region are taken. A region is divided into granules, and a secret takes as many
 * neighbouring ones as it needs, so that it wastes less than one whatever its length is. The first
 * gap that is wide enough is taken: secrets gather at the start of the oldest regions, and younger
 * ones become empty and can be returned.
 *
 * <p>Not safe for use by several threads; {@link Arena} guards it.
 */
final class GranuleMap {
  /** The size of an AES-256 key, in bytes. */
  static final int GRANULE = 32;

  private final int granules;
  private final BitSet taken;
  private int free;

  /** No gap is as wide as this; spares most searches through regions that are nearly full. */
  private int tooWide;

  GranuleMap(int granules) {
    this.granules = granules;
    this.taken = new BitSet(granules);
    this.free = granules;
    this.tooWide = granules + 1;
  }

  /** How many granules that many bytes take. */
  static int granulesFor(int bytes) {
    return (bytes - 1) / GRANULE + 1;
  }

  /** Takes neighbouring granules and returns the first one, or -1 where there is no such gap. */
  int take(int count) {
    if (count > free || count >= tooWide) {
      return -1;
    }
    int start = taken.nextClearBit(0);
    while (start + count <= granules) {
      int end = taken.nextSetBit(start);
      if (end < 0 || end - start >= count) {
        taken.set(start, start + count);
        free -= count;
        return start;
      }
      start = taken.nextClearBit(end);
    }
    tooWide = count;
    return -1;
  }

  void release(int start, int count) {
    taken.clear(start, start + count);
    free += count;
    tooWide = granules + 1;
  }

  boolean isEmpty() {
    return free == granules;
  }
}
