package io.asherah.reactive.securememory.internal.platform;

import com.sun.jna.Native;

/**
 * The C library of this process, through JNA direct mapping. The functions are looked up in the
 * process itself, which has glibc, musl or another C library loaded whatever its file is called.
 *
 * <p>Direct mapping looks up all native methods of a class at once, hence a class of natives for
 * each set of functions that some systems have and others have not.
 */
class JnaLibc implements Libc {

  /** Loads JNA. */
  JnaLibc() {
    JnaLoading.registerInProcess(Natives.class);
  }

  private static final class Natives {
    static native int getpagesize();

    static native int getrlimit(int resource, long[] limits);

    static native int setrlimit(int resource, long[] limits);

    static native long mmap(
        long address, long length, int protection, int flags, int descriptor, long offset);

    static native int munmap(long address, long length);

    static native int mprotect(long address, long length, int protection);

    static native int mlock(long address, long length);

    static native int munlock(long address, long length);
  }

  @Override
  public final int errno() {
    return Native.getLastError();
  }

  @Override
  public final int getpagesize() {
    return Natives.getpagesize();
  }

  @Override
  public final int getrlimit(int resource, long[] limits) {
    return Natives.getrlimit(resource, limits);
  }

  @Override
  public final int setrlimit(int resource, long[] limits) {
    return Natives.setrlimit(resource, limits);
  }

  @Override
  public final long mmap(
      long address, long length, int protection, int flags, int descriptor, long offset) {
    return Natives.mmap(address, length, protection, flags, descriptor, offset);
  }

  @Override
  public final int munmap(long address, long length) {
    return Natives.munmap(address, length);
  }

  @Override
  public final int mprotect(long address, long length, int protection) {
    return Natives.mprotect(address, length, protection);
  }

  @Override
  public final int mlock(long address, long length) {
    return Natives.mlock(address, length);
  }

  @Override
  public final int munlock(long address, long length) {
    return Natives.munlock(address, length);
  }
}
