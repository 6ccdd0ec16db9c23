package io.asherah.reactive.securememory.internal.platform;

import java.util.Set;
import java.util.function.Supplier;

/** Locked memory of OpenBSD. Experimental: nobody has run it. */
final class OpenBsdMemory extends BsdMemory {
  /** {@code sys/mman.h}. */
  private static final int MAP_CONCEAL = 0x8000;

  OpenBsdMemory(Supplier<? extends BsdLibc> libc) {
    // sys/uvm/uvm_mmap.c: EAGAIN beyond a limit; EPERM on machines where only root may lock.
    super(libc, MAP_PRIVATE | MAP_ANON | MAP_CONCEAL, Set.of(EAGAIN, EPERM));
  }

  /** Does nothing more: memory of {@link #map} is left out of core dumps from the start. */
  @Override
  public void excludeFromCoreDumps(long address, long length) {}
}
