package io.asherah.reactive.securememory.internal.platform;

/** The C library of macOS or of a BSD. */
final class JnaBsdLibc extends JnaLibc implements BsdLibc {

  JnaBsdLibc() {
    JnaLoading.registerInProcess(Natives.class);
  }

  private static final class Natives {
    static native int madvise(long address, long length, int advice);

    static native int minherit(long address, long length, int inheritance);
  }

  @Override
  public int madvise(long address, long length, int advice) {
    return Natives.madvise(address, length, advice);
  }

  @Override
  public int minherit(long address, long length, int inheritance) {
    return Natives.minherit(address, length, inheritance);
  }
}
