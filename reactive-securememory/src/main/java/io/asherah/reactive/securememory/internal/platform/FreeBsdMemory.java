package io.asherah.reactive.securememory.internal.platform;

import java.util.Set;
import java.util.function.Supplier;

/** Locked memory of FreeBSD. Experimental: nobody has run it. */
final class FreeBsdMemory extends BsdMemory {
  /** {@code sys/mman.h}. */
  private static final int MADV_NOCORE = 8;

  FreeBsdMemory(Supplier<? extends BsdLibc> libc) {
    // mlock(2) and sys/vm/vm_mmap.c: ENOMEM beyond RLIMIT_MEMLOCK, EAGAIN beyond the limit of the
    // system, EPERM where security.bsd.unprivileged_mlock is 0.
    super(libc, MAP_PRIVATE | MAP_ANON, Set.of(ENOMEM, EAGAIN, EPERM));
  }

  @Override
  public void excludeFromCoreDumps(long address, long length) {
    check("madvise(MADV_NOCORE)", libc().madvise(address, length, MADV_NOCORE));
  }
}
