package io.asherah.reactive.securememory.internal.platform;

/** glibc or musl. */
final class JnaLinuxLibc extends JnaLibc implements LinuxLibc {

  JnaLinuxLibc() {
    JnaLoading.registerInProcess(Natives.class);
  }

  private static final class Natives {
    static native int madvise(long address, long length, int advice);

    // The next two take a variable number of arguments in C. On x86-64 and arm64 Linux such calls
    // pass integers like any other.

    static native long syscall(long number, long first, long second, long third);

    static native int prctl(int option, long second, long third, long fourth, long fifth);

    static native int ftruncate(int descriptor, long length);

    static native int close(int descriptor);
  }

  @Override
  public int madvise(long address, long length, int advice) {
    return Natives.madvise(address, length, advice);
  }

  @Override
  public long syscall(long number, long first, long second, long third) {
    return Natives.syscall(number, first, second, third);
  }

  @Override
  public int ftruncate(int descriptor, long length) {
    return Natives.ftruncate(descriptor, length);
  }

  @Override
  public int close(int descriptor) {
    return Natives.close(descriptor);
  }

  @Override
  public int prctl(int option, long second, long third, long fourth, long fifth) {
    return Natives.prctl(option, second, third, fourth, fifth);
  }
}
