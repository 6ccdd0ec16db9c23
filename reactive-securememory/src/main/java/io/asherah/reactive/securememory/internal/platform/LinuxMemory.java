package io.asherah.reactive.securememory.internal.platform;

import com.sun.jna.Native;
import com.sun.jna.Platform;
import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.UnsupportedPlatformException;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Locked memory of 64-bit Linux, through JNA direct mapping. The constants are those of the generic
 * Linux UAPI headers ({@code asm-generic/mman-common.h}, {@code asm-generic/resource.h}, {@code
 * asm-generic/errno-base.h}), which x86-64 and arm64 share.
 *
 * <p>The methods are ordinary Java around native ones because BlockHound does not see a native
 * method that JNA registers; {@link
 * io.asherah.reactive.securememory.internal.SecureMemoryBlockHoundIntegration} marks them.
 */
public final class LinuxMemory implements NativeMemory {
  private static final int PROT_NONE = 0;
  private static final int PROT_READ = 1;
  private static final int PROT_WRITE = 2;
  private static final int MAP_PRIVATE = 0x02;
  private static final int MAP_ANONYMOUS = 0x20;
  private static final long MAP_FAILED = -1;
  private static final int MADV_DONTFORK = 10;
  private static final int MADV_DONTDUMP = 16;
  private static final int RLIMIT_MEMLOCK = 8;
  private static final int EPERM = 1;
  private static final int EAGAIN = 11;
  private static final int ENOMEM = 12;

  /** Loads libc with the first call, not with the class: loading writes a temporary file. */
  private static final class LibC {
    static {
      if (!Platform.isLinux() || Native.POINTER_SIZE != 8 || Native.LONG_SIZE != 8) {
        throw new UnsupportedPlatformException(
            "locked memory needs 64-bit Linux, this is %s on %s"
                .formatted(System.getProperty("os.name"), System.getProperty("os.arch")),
            null);
      }
      Native.register(LibC.class, Platform.C_LIBRARY_NAME);
    }

    static native int getpagesize();

    static native int getrlimit(int resource, long[] limits);

    static native long mmap(
        long address, long length, int protection, int flags, int descriptor, long offset);

    static native int munmap(long address, long length);

    static native int mprotect(long address, long length, int protection);

    static native int mlock(long address, long length);

    static native int munlock(long address, long length);

    static native int madvise(long address, long length, int advice);
  }

  /** Whether libc could be loaded; asked once, because a second use of a failed class hides why. */
  private static final class Loading {
    private static final @Nullable LinkageError FAILURE = tryToLoad();

    private static @Nullable LinkageError tryToLoad() {
      try {
        LibC.getpagesize();
        return null;
      } catch (LinkageError e) {
        return e;
      }
    }
  }

  @Override
  public int pageSize() {
    LinkageError failure = Loading.FAILURE;
    if (failure != null) {
      Throwable cause =
          failure instanceof ExceptionInInitializerError && failure.getCause() != null
              ? failure.getCause()
              : failure;
      throw new UnsupportedPlatformException(
          cause instanceof UnsupportedPlatformException
              ? String.valueOf(cause.getMessage())
              : "JNA could not load its native library; it needs a directory it may write to and"
                  + " execute from (set -Djna.tmpdir) and, on JDK 24 and later, native access"
                  + " (--enable-native-access)",
          cause);
    }
    return LibC.getpagesize();
  }

  @Override
  public long lockLimit() {
    long[] limits = new long[2];
    check("getrlimit", LibC.getrlimit(RLIMIT_MEMLOCK, limits));
    return limits[0];
  }

  @Override
  public long map(long length) {
    long address = LibC.mmap(0, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) {
      throw new NativeCallException("mmap", Native.getLastError());
    }
    return address;
  }

  @Override
  public void unmap(long address, long length) {
    check("munmap", LibC.munmap(address, length));
  }

  @Override
  public void protect(long address, long length, Access access) {
    int protection =
        switch (access) {
          case NONE -> PROT_NONE;
          case READ -> PROT_READ;
          case READ_WRITE -> PROT_READ | PROT_WRITE;
        };
    check("mprotect", LibC.mprotect(address, length, protection));
  }

  @Override
  public boolean lock(long address, long length) {
    if (LibC.mlock(address, length) == 0) {
      return true;
    }
    int errno = Native.getLastError();
    // mlock(2): ENOMEM beyond the soft limit, EPERM where the limit is zero, EAGAIN where some of
    // the pages could not be locked.
    if (errno == ENOMEM || errno == EPERM || errno == EAGAIN) {
      return false;
    }
    throw new NativeCallException("mlock", errno);
  }

  @Override
  public void unlock(long address, long length) {
    check("munlock", LibC.munlock(address, length));
  }

  @Override
  public void excludeFromCoreDumps(long address, long length) {
    check("madvise(MADV_DONTDUMP)", LibC.madvise(address, length, MADV_DONTDUMP));
  }

  @Override
  public void excludeFromForks(long address, long length) {
    check("madvise(MADV_DONTFORK)", LibC.madvise(address, length, MADV_DONTFORK));
  }

  @Override
  public ByteBuffer view(long address, int length) {
    return new Pointer(address).getByteBuffer(0, length);
  }

  private static void check(String call, int result) {
    if (result != 0) {
      throw new NativeCallException(call, Native.getLastError());
    }
  }
}
