package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * Slots of direct buffers in place of mapped memory, so that a secret costs no system call. What
 * would end the process on real pages shows in the bytes: those of a slot that is unreadable or was
 * unmapped are {@link #UNREADABLE}, and an unmapped slot is soon that of another secret.
 */
final class SlotMemory implements NativeMemory {
  static final int PAGE = 256;
  static final byte UNREADABLE = (byte) 0xee;

  private static final int SLOTS_OF_A_BUFFER = 4_096;
  private static final long GUARDED_SLOT = 3L * PAGE;

  private final List<Slot[]> buffers = new CopyOnWriteArrayList<>();
  private final Queue<Long> unused = new ConcurrentLinkedQueue<>();

  private static final class Slot {
    private final ByteBuffer bytes;
    private final byte[] hidden = new byte[PAGE];
    private boolean unreadable;

    Slot(ByteBuffer bytes) {
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
      for (int i = 0; i < PAGE; i++) {
        bytes.put(i, UNREADABLE);
      }
    }
  }

  private Slot slot(long address) {
    int number = (int) (address / GUARDED_SLOT);
    return buffers.get(number / SLOTS_OF_A_BUFFER)[number % SLOTS_OF_A_BUFFER];
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
  public long map(long length) {
    if (length != GUARDED_SLOT) {
      throw new IllegalArgumentException("a slot is for a secret of one page");
    }
    Long address = unused.poll();
    return address == null ? addBuffer() : address;
  }

  private synchronized long addBuffer() {
    ByteBuffer buffer = ByteBuffer.allocateDirect(SLOTS_OF_A_BUFFER * PAGE);
    Slot[] slots = new Slot[SLOTS_OF_A_BUFFER];
    for (int i = 0; i < slots.length; i++) {
      slots[i] = new Slot(buffer.slice(i * PAGE, PAGE));
    }
    long first = buffers.size() * SLOTS_OF_A_BUFFER * GUARDED_SLOT;
    buffers.add(slots);
    for (int i = 1; i < slots.length; i++) {
      unused.add(first + i * GUARDED_SLOT);
    }
    return first;
  }

  @Override
  public void unmap(long address, long length) {
    slot(address).overwrite();
    unused.add(address);
  }

  @Override
  public void protect(long address, long length, Access access) {
    if (access == Access.NONE) {
      slot(address).hide();
    } else {
      slot(address).show();
    }
  }

  @Override
  public boolean lock(long address, long length) {
    return true;
  }

  @Override
  public void unlock(long address, long length) {}

  @Override
  public void excludeFromCoreDumps(long address, long length) {}

  @Override
  public void excludeFromForks(long address, long length) {}

  @Override
  public ByteBuffer view(long address, int length) {
    return slot(address).bytes.slice(0, length);
  }
}
