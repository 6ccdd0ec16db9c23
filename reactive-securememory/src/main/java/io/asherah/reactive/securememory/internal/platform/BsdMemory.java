package io.asherah.reactive.securememory.internal.platform;

import java.util.Set;
import java.util.function.Supplier;

/**
 * What macOS and the BSDs do alike. The values are the same in the headers of all four, which the
 * comments name.
 */
abstract class BsdMemory extends UnixMemory<BsdLibc> {
  /** {@code sys/mman.h}. */
  static final int MAP_ANON = 0x1000;

  /** {@code sys/errno.h}. */
  static final int EAGAIN = 35;

  // sys/resource.h; RLIM_INFINITY is the largest signed number of 64 bits.
  private static final int RLIMIT_MEMLOCK = 6;
  private static final long RLIM_INFINITY = Long.MAX_VALUE;

  // VM_INHERIT_NONE of mach/vm_inherit.h in macOS; sys/mman.h in FreeBSD (INHERIT_NONE), OpenBSD
  // and NetBSD (MAP_INHERIT_NONE)
  private static final int INHERIT_NONE = 2;

  BsdMemory(Supplier<? extends BsdLibc> libc, int mapFlags, Set<Integer> limitErrors) {
    super(libc, mapFlags, limitErrors);
  }

  @Override
  public long lockLimit() {
    return softLimit(RLIMIT_MEMLOCK, RLIM_INFINITY);
  }

  /** The kernels of this family compare with the limit whoever asks, root too. */
  @Override
  public boolean mayExceedLockLimit() {
    return false;
  }

  @Override
  public void excludeFromForks(long address, long length) {
    check("minherit", libc().minherit(address, length, INHERIT_NONE));
  }
}
