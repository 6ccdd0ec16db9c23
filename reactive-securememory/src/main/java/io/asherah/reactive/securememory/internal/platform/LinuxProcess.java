package io.asherah.reactive.securememory.internal.platform;

import java.util.function.Supplier;

/** A process of Linux. */
final class LinuxProcess extends UnixProcess<LinuxLibc> {
  /** {@code linux/prctl.h}. */
  private static final int PR_SET_DUMPABLE = 4;

  LinuxProcess(Supplier<? extends LinuxLibc> libc) {
    super(libc);
  }

  /**
   * Sets the limit to one byte: less than the least core dump, so that no file is written, and the
   * one value for which the kernel does not start the program of {@code core_pattern} either (see
   * {@code fs/coredump.c}). With a limit of zero systemd-coredump and apport would get the memory.
   * A hard limit of zero stays, because only a privileged process could raise it.
   */
  @Override
  public void forbidCoreDumps() {
    limitCoreDumps(hardLimitOfCoreDumps() == 0 ? 0 : 1);
  }

  @Override
  public void forbidInspection() {
    check("prctl(PR_SET_DUMPABLE)", libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
  }
}
