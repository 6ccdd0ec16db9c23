package io.asherah.reactive.securememory.internal.platform;

import java.util.Set;
import java.util.function.Supplier;

/** Locked memory of macOS on x86-64 and arm64. */
final class MacMemory extends BsdMemory {

  MacMemory(Supplier<? extends BsdLibc> libc) {
    // xnu, bsd/kern/kern_mman.c: EAGAIN beyond a limit, of the process or of the system.
    super(libc, MAP_PRIVATE | MAP_ANON, Set.of(EAGAIN));
  }

  /**
   * Does nothing: macOS has no call that leaves part of the memory out of a core dump. It writes
   * none unless {@code ulimit -c} was raised; {@code ProcessHardening.forbidCoreDumps()} makes
   * sure.
   */
  @Override
  public void excludeFromCoreDumps(long address, long length) {}
}
