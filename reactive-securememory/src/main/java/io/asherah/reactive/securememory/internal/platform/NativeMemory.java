package io.asherah.reactive.securememory.internal.platform;

import java.nio.ByteBuffer;

/**
 * The few things locked memory needs of an operating system. Every method may block and belongs on
 * the securememory scheduler. Addresses and lengths are whole pages. A call that the system refuses
 * throws {@link io.asherah.reactive.securememory.NativeCallException}.
 */
public interface NativeMemory {

  /** The size of a page in bytes. */
  int pageSize();

  /** The soft limit of locked memory of this process in bytes, -1 where there is none. */
  long lockLimit();

  /** Whether this process may lock more than {@link #lockLimit} says, being privileged. */
  boolean mayExceedLockLimit();

  /** Reserves private memory that can neither be read nor written, and returns its address. */
  long map(long length);

  /** Returns memory to the system. */
  void unmap(long address, long length);

  /** Sets what the process may do with the memory. */
  void protect(long address, long length, Access access);

  /** Keeps readable memory in RAM, or returns false where the process may not lock that much. */
  boolean lock(long address, long length);

  /** Undoes {@link #lock}. */
  void unlock(long address, long length);

  /**
   * Replaces reserved pages by pages that nobody but this process can read, not even through {@code
   * /proc/<pid>/mem}. They are locked, readable and writable afterwards, and left out of core
   * dumps; neither {@link #lock} nor {@link #unlock} nor {@link #excludeFromCoreDumps} is called
   * for them.
   */
  Hiding hide(long address, long length);

  /** Leaves the memory out of core dumps. */
  void excludeFromCoreDumps(long address, long length);

  /** Leaves the memory out of forked processes. */
  void excludeFromForks(long address, long length);

  /** A buffer over the memory, with which it is read and written without further native calls. */
  ByteBuffer view(long address, int length);

  /** What the process may do with memory. */
  enum Access {
    NONE,
    READ,
    READ_WRITE
  }

  /** How {@link #hide} ended. */
  enum Hiding {
    HIDDEN,
    /** The system, or a filter around this process, has no such pages. Nothing was changed. */
    NOT_AVAILABLE,
    /** The process may not lock that much. Nothing was changed. */
    LIMIT_REACHED
  }
}
