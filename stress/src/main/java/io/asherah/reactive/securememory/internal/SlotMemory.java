package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Pieces of direct buffers in place of mapped memory, so that a region costs no system call. What
 * would end the process on real pages shows in the bytes: those of a region that is unreadable or
 * was unmapped are {@link #UNREADABLE}, and an unmapped one is soon another region.
 */
final class SlotMemory implements NativeMemory {
  static final int PAGE = 256;

  /** The largest region there can be, in bytes. */
  static final int REGION = 4 * PAGE;

  static final byte UNREADABLE = (byte) 0xee;

  private static final int REGIONS_OF_A_BUFFER = 1_024;
  private static final long GUARDED_REGION = REGION + 2L * PAGE;

  private final List<Region[]> buffers = new CopyOnWriteArrayList<>();
  private final Queue<Long> unused = new ConcurrentLinkedQueue<>();

  private static final class Region {
    private final ByteBuffer bytes;
    private final byte[] hidden = new byte[REGION];
    private boolean unreadable;

    Region(ByteBuffer bytes) {
      this.bytes = bytes;
    }

    void hide() {
      if (!unreadable) {
        unreadable = true;
        bytes.get(0, hidden);
        overwrite();
      }
    }

    void show() {
      if (unreadable) {
        unreadable = false;
        bytes.put(0, hidden);
      }
    }

    void overwrite() {
      for (int i = 0; i < REGION; i++) {
        bytes.put(i, UNREADABLE);
      }
    }
  }

  private Region region(long address) {
    int number = (int) (address / GUARDED_REGION);
    return buffers.get(number / REGIONS_OF_A_BUFFER)[number % REGIONS_OF_A_BUFFER];
  }

  @Override
  public int pageSize() {
    return PAGE;
  }

  @Override
  public long lockLimit() {
    return -1;
  }

  @Override
  public boolean mayExceedLockLimit() {
    return false;
  }

  @Override
  public long map(long length) {
    if (length > GUARDED_REGION) {
      throw new IllegalArgumentException("a region has at most " + REGION + " bytes here");
    }
    Long address = unused.poll();
    return address == null ? addBuffer() : address;
  }

  private synchronized long addBuffer() {
    ByteBuffer buffer = ByteBuffer.allocateDirect(REGIONS_OF_A_BUFFER * REGION);
    Region[] regions = new Region[REGIONS_OF_A_BUFFER];
    for (int i = 0; i < regions.length; i++) {
      regions[i] = new Region(buffer.slice(i * REGION, REGION));
    }
    long first = buffers.size() * REGIONS_OF_A_BUFFER * GUARDED_REGION;
    buffers.add(regions);
    for (int i = 1; i < regions.length; i++) {
      unused.add(first + i * GUARDED_REGION);
    }
    return first;
  }

  @Override
  public void unmap(long address, long length) {
    region(address).overwrite();
    unused.add(address);
  }

  @Override
  public void protect(long address, long length, Access access) {
    if (access == Access.NONE) {
      region(address).hide();
    } else {
      region(address).show();
    }
  }

  @Override
  public boolean lock(long address, long length) {
    return true;
  }

  @Override
  public void unlock(long address, long length) {}

  @Override
  public Hiding hide(long address, long length) {
    return Hiding.NOT_AVAILABLE;
  }

  @Override
  public void excludeFromCoreDumps(long address, long length) {}

  @Override
  public void excludeFromForks(long address, long length) {}

  @Override
  public ByteBuffer view(long address, int length) {
    return region(address).bytes.slice((int) (address % GUARDED_REGION) - PAGE, length);
  }
}
