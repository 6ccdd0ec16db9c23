package io.asherah.reactive.securememory.internal.platform;

import java.util.Set;
import java.util.function.Supplier;

/** Locked memory of NetBSD. Experimental: nobody has run it. */
final class NetBsdMemory extends BsdMemory {

  NetBsdMemory(Supplier<? extends BsdLibc> libc) {
    // sys/uvm/uvm_mmap.c: EAGAIN beyond a limit, of the process or of the system.
    super(libc, MAP_PRIVATE | MAP_ANON, Set.of(EAGAIN));
  }

  /**
   * Does nothing: NetBSD has no call that leaves part of the memory out of a core dump. {@code
   * ProcessHardening.forbidCoreDumps()} forbids them altogether.
   */
  @Override
  public void excludeFromCoreDumps(long address, long length) {}
}
