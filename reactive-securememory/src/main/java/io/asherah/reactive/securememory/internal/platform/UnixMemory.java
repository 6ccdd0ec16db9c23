package io.asherah.reactive.securememory.internal.platform;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.NativeCallException;
import java.nio.ByteBuffer;
import java.util.Set;
import java.util.function.Supplier;

/**
 * What all Unixes do alike. The values of the constants here are the same in the headers of all of
 * them: {@code sys/mman.h} and {@code sys/errno.h}; {@code asm-generic/mman-common.h} and {@code
 * asm-generic/errno-base.h} in Linux.
 *
 * <p>The methods are ordinary Java around native ones because BlockHound does not see a native
 * method that JNA registers; {@link
 * io.asherah.reactive.securememory.internal.SecureMemoryBlockHoundIntegration} marks them.
 */
abstract class UnixMemory<L extends Libc> implements NativeMemory {
  static final int PROT_NONE = 0;
  static final int PROT_READ = 1;
  static final int PROT_WRITE = 2;
  static final int MAP_PRIVATE = 0x02;
  static final long MAP_FAILED = -1;
  static final int EPERM = 1;
  static final int ENOMEM = 12;
  static final int EACCES = 13;

  private final Supplier<? extends L> libc;
  private final int mapFlags;
  private final Set<Integer> limitErrors;

  /**
   * Makes memory.
   *
   * @param libc loads the C library with its first call
   * @param mapFlags the flags of {@code mmap} for anonymous private memory
   * @param limitErrors what {@code mlock} fails with where the process may not lock that much
   */
  UnixMemory(Supplier<? extends L> libc, int mapFlags, Set<Integer> limitErrors) {
    this.libc = libc;
    this.mapFlags = mapFlags;
    this.limitErrors = limitErrors;
  }

  final L libc() {
    return libc.get();
  }

  @Override
  public int pageSize() {
    return libc().getpagesize();
  }

  @Override
  public long map(long length) {
    long address = libc().mmap(0, length, PROT_NONE, mapFlags, -1, 0);
    if (address == MAP_FAILED) {
      throw failure("mmap");
    }
    return address;
  }

  @Override
  public void unmap(long address, long length) {
    check("munmap", libc().munmap(address, length));
  }

  @Override
  public void protect(long address, long length, Access access) {
    int protection =
        switch (access) {
          case NONE -> PROT_NONE;
          case READ -> PROT_READ;
          case READ_WRITE -> PROT_READ | PROT_WRITE;
        };
    check("mprotect", libc().mprotect(address, length, protection));
  }

  @Override
  public boolean lock(long address, long length) {
    if (libc().mlock(address, length) == 0) {
      return true;
    }
    NativeCallException failure = failure("mlock");
    if (limitErrors.contains(failure.errno())) {
      return false;
    }
    throw failure;
  }

  @Override
  public void unlock(long address, long length) {
    check("munlock", libc().munlock(address, length));
  }

  @Override
  public Hiding hide(long address, long length) {
    return Hiding.NOT_AVAILABLE;
  }

  @Override
  public ByteBuffer view(long address, int length) {
    return new Pointer(address).getByteBuffer(0, length);
  }

  /** The soft limit, which is -1 where it is this system's word for no limit. */
  final long softLimit(int resource, long unlimited) {
    long[] limits = new long[2];
    check("getrlimit", libc().getrlimit(resource, limits));
    return limits[0] == unlimited ? -1 : limits[0];
  }

  final void check(String call, int result) {
    if (result != 0) {
      throw failure(call);
    }
  }

  final NativeCallException failure(String call) {
    return new NativeCallException(call, libc().errno());
  }
}
