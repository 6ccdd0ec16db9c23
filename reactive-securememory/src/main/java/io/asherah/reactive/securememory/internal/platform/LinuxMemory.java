package io.asherah.reactive.securememory.internal.platform;

import io.asherah.reactive.securememory.NativeCallException;
import java.util.Set;
import java.util.function.Supplier;

/**
 * Locked memory of Linux on x86-64 and arm64, with glibc or musl. Both processors share the generic
 * headers of the kernel, which the comments name; only the number of {@code mlock2} differs.
 */
final class LinuxMemory extends UnixMemory<LinuxLibc> {
  // asm-generic/mman-common.h and, for MAP_LOCKED and MAP_NORESERVE, asm-generic/mman.h
  private static final int MAP_SHARED = 0x01;
  private static final int MAP_FIXED = 0x10;
  private static final int MAP_ANONYMOUS = 0x20;
  private static final int MAP_LOCKED = 0x2000;
  private static final int MAP_NORESERVE = 0x4000;
  private static final int MAP_FIXED_NOREPLACE = 0x100000;
  private static final int MLOCK_ONFAULT = 0x01;
  private static final int MADV_DONTFORK = 10;
  private static final int MADV_DONTDUMP = 16;

  // asm-generic/resource.h
  private static final int RLIMIT_MEMLOCK = 8;
  private static final long RLIM_INFINITY = -1;

  // asm-generic/errno-base.h and, for ENOSYS, asm-generic/errno.h
  private static final int EAGAIN = 11;
  private static final int EEXIST = 17;
  private static final int ENOSYS = 38;

  // asm-generic/fcntl.h
  private static final int O_CLOEXEC = 02000000;

  // asm/unistd_64.h of x86-64 and asm-generic/unistd.h, which is that of arm64
  private static final long SYS_MEMFD_SECRET = 447;
  private static final long SYS_MLOCK2_X86_64 = 325;
  private static final long SYS_MLOCK2_ARM64 = 284;

  private final long mlock2;

  LinuxMemory(Supplier<? extends LinuxLibc> libc, boolean isArm64) {
    // mlock(2): ENOMEM beyond the soft limit, EPERM where the limit is zero, EAGAIN where some of
    // the pages could not be locked.
    super(libc, MAP_PRIVATE | MAP_ANONYMOUS, Set.of(ENOMEM, EPERM, EAGAIN));
    this.mlock2 = isArm64 ? SYS_MLOCK2_ARM64 : SYS_MLOCK2_X86_64;
  }

  @Override
  public long lockLimit() {
    return softLimit(RLIMIT_MEMLOCK, RLIM_INFINITY);
  }

  /**
   * Asks the kernel by locking one page more than the limit.
   *
   * <p>What counts is CAP_IPC_LOCK in the initial user namespace. CapEff of {@code
   * /proc/self/status} shows the capabilities in the namespace of the process, all of them in a
   * rootless container that has none outside; and the map of users is no proof that there is no
   * namespace, since one with the identity map can be made. The pages are locked when they are
   * touched (MLOCK_ONFAULT), which never happens: it costs three system calls and no memory.
   *
   * @return false too where there is no limit to exceed, where it exceeds the address space, and
   *     where the call is filtered
   */
  @Override
  public boolean mayExceedLockLimit() {
    long limit = lockLimit();
    if (limit < 0) {
      return false;
    }
    int page = pageSize();
    long length = (limit / page + 1) * page;
    long probe =
        libc().mmap(0, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (probe == MAP_FAILED) {
      return false;
    }
    boolean locked = libc().syscall(mlock2, probe, length, MLOCK_ONFAULT) == 0;
    unmap(probe, length);
    return locked;
  }

  /**
   * Puts pages of {@code memfd_secret(2)} in the place of the reserved ones. They are shared, since
   * such pages cannot be private, but with nobody: the descriptor is closed, and {@link
   * #excludeFromForks} leaves them out of children.
   *
   * <p>Not available is what will not change while the process lives: no such call (ENOSYS, also
   * where it was switched off at boot), or a filter or policy against it (EPERM, EACCES). A
   * shortage of descriptors or of kernel memory is an error, lest a moment's shortage costs the
   * protection that was asked for without a word.
   */
  @Override
  public Hiding hide(long address, long length) {
    // O_CLOEXEC, not FD_CLOEXEC as the manual says: mm/secretmem.c allows no other flag.
    long opened = libc().syscall(SYS_MEMFD_SECRET, O_CLOEXEC, 0, 0);
    if (opened < 0) {
      NativeCallException failure = failure("memfd_secret");
      return switch (failure.errno()) {
        case ENOSYS, EPERM, EACCES -> Hiding.NOT_AVAILABLE;
        default -> throw failure;
      };
    }
    int descriptor = Math.toIntExact(opened);
    try {
      check("ftruncate(memfd_secret)", libc().ftruncate(descriptor, length));
      return mapSecret(descriptor, address, length);
    } finally {
      // Linux gives the descriptor back whatever this returns.
      libc().close(descriptor);
    }
  }

  private Hiding mapSecret(int descriptor, long address, long length) {
    // The kernel locks these pages anyhow. MAP_LOCKED makes it look at the limit before it removes
    // the pages that were there; without, kernels before 6.12 do it the other way round.
    long mapped =
        libc()
            .mmap(
                address,
                length,
                PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_FIXED | MAP_LOCKED,
                descriptor,
                0);
    if (mapped != MAP_FAILED) {
      return Hiding.HIDDEN;
    }
    NativeCallException failure = failure("mmap(memfd_secret)");
    reserveAgain(address, length);
    return switch (failure.errno()) {
      case EAGAIN, EPERM -> Hiding.LIMIT_REACHED;
      case EACCES -> Hiding.NOT_AVAILABLE;
      default -> throw failure;
    };
  }

  /** Closes the hole that a failed MAP_FIXED may leave; EEXIST says that there is none. */
  private void reserveAgain(long address, long length) {
    long reserved =
        libc()
            .mmap(
                address,
                length,
                PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                -1,
                0);
    if (reserved == MAP_FAILED) {
      NativeCallException failure = failure("mmap");
      if (failure.errno() != EEXIST) {
        throw failure;
      }
    }
  }

  @Override
  public void excludeFromCoreDumps(long address, long length) {
    check("madvise(MADV_DONTDUMP)", libc().madvise(address, length, MADV_DONTDUMP));
  }

  /**
   * Leaves the memory out of children altogether. MADV_WIPEONFORK would give them zeros instead,
   * but only of private anonymous pages: the kernel refuses it for those of {@link #hide}. A child
   * that touches them would be at fault either way.
   */
  @Override
  public void excludeFromForks(long address, long length) {
    check("madvise(MADV_DONTFORK)", libc().madvise(address, length, MADV_DONTFORK));
  }
}
