package io.asherah.reactive.securememory.internal.platform;

import java.util.Set;
import java.util.function.Supplier;

/** Locked memory of illumos. Experimental: nobody has run it. */
final class IllumosMemory extends UnixMemory<Libc> {
  // sys/mman.h
  private static final int MAP_ANON = 0x100;

  // sys/errno.h
  private static final int EAGAIN = 11;

  IllumosMemory(Supplier<? extends Libc> libc) {
    // mlock(3C): EPERM without the privilege proc_lock_memory, EAGAIN where some of the memory
    // cannot be locked and beyond the resource controls, ENOMEM beyond what there is.
    super(libc, MAP_PRIVATE | MAP_ANON, Set.of(EPERM, EAGAIN, ENOMEM));
  }

  /**
   * None of the process: illumos limits the locked memory of a project or zone by resource controls
   * ({@code project.max-locked-memory}), which {@code getrlimit} does not know.
   */
  @Override
  public long lockLimit() {
    return -1;
  }

  @Override
  public boolean mayExceedLockLimit() {
    return false;
  }

  /**
   * Does nothing: what a core dump has in it is set for the whole process, with {@code coreadm};
   * {@code ProcessHardening.forbidCoreDumps()} forbids them altogether.
   */
  @Override
  public void excludeFromCoreDumps(long address, long length) {}

  /** Does nothing: illumos has no call for it. A child of {@code fork} has a copy of the pages. */
  @Override
  public void excludeFromForks(long address, long length) {}
}
