package io.asherah.reactive.securememory.internal.platform;

import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.UnsupportedPlatformException;
import java.util.function.Supplier;

/** A process of macOS, a BSD or illumos. */
class UnixProcess<L extends Libc> implements NativeProcess {
  /** {@code sys/resource.h}, {@code asm-generic/resource.h} in Linux: the same everywhere. */
  private static final int RLIMIT_CORE = 4;

  private final Supplier<? extends L> libc;

  UnixProcess(Supplier<? extends L> libc) {
    this.libc = libc;
  }

  final L libc() {
    return libc.get();
  }

  @Override
  public void forbidCoreDumps() {
    limitCoreDumps(0);
  }

  final void limitCoreDumps(long bytes) {
    check("setrlimit(RLIMIT_CORE)", libc().setrlimit(RLIMIT_CORE, new long[] {bytes, bytes}));
  }

  final long hardLimitOfCoreDumps() {
    long[] limits = new long[2];
    check("getrlimit(RLIMIT_CORE)", libc().getrlimit(RLIMIT_CORE, limits));
    return limits[1];
  }

  @Override
  public void forbidInspection() {
    throw new UnsupportedPlatformException(
        "only on Linux can a process forbid others to inspect it; here it is for the system to"
            + " decide who may attach a debugger",
        null);
  }

  final void check(String call, int result) {
    if (result != 0) {
      throw new NativeCallException(call, libc().errno());
    }
  }
}
