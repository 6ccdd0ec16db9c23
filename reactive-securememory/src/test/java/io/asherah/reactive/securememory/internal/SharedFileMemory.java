package io.asherah.reactive.securememory.internal;

import com.sun.jna.Native;
import com.sun.jna.Platform;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;

/**
 * The real memory of this machine, but shared with a file: what is in it when the process ends can
 * be read afterwards. For Linux.
 */
final class SharedFileMemory implements NativeMemory {
  private static final int O_RDWR = 2;
  private static final int PROT_NONE = 0;
  private static final int MAP_SHARED = 0x01;
  private static final int MAP_FIXED = 0x10;

  private static final class LibC {
    static {
      Native.register(LibC.class, Platform.C_LIBRARY_NAME);
    }

    static native int open(String path, int flags);

    static native int close(int descriptor);

    static native long mmap(
        long address, long length, int protection, int flags, int descriptor, long offset);
  }

  private final NativeMemory real = Platforms.memory(false);
  private final Path file;
  private long size;

  SharedFileMemory(Path file) {
    this.file = file;
  }

  /** Puts the next pages of the file into the place of those that the system gave. */
  @Override
  public synchronized long map(long length) {
    long address = real.map(length);
    long offset = size;
    size += length;
    try (RandomAccessFile opened = new RandomAccessFile(file.toFile(), "rw")) {
      opened.setLength(size);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    int descriptor = LibC.open(file.toString(), O_RDWR);
    long mapped = LibC.mmap(address, length, PROT_NONE, MAP_SHARED | MAP_FIXED, descriptor, offset);
    if (mapped != address) {
      throw new IllegalStateException("mmap failed with errno " + Native.getLastError());
    }
    LibC.close(descriptor);
    return address;
  }

  @Override
  public int pageSize() {
    return real.pageSize();
  }

  @Override
  public long lockLimit() {
    return real.lockLimit();
  }

  @Override
  public boolean mayExceedLockLimit() {
    return real.mayExceedLockLimit();
  }

  @Override
  public void unmap(long address, long length) {
    real.unmap(address, length);
  }

  @Override
  public void protect(long address, long length, Access access) {
    real.protect(address, length, access);
  }

  @Override
  public boolean lock(long address, long length) {
    return real.lock(address, length);
  }

  @Override
  public void unlock(long address, long length) {
    real.unlock(address, length);
  }

  @Override
  public Hiding hide(long address, long length) {
    return Hiding.NOT_AVAILABLE;
  }

  @Override
  public void excludeFromCoreDumps(long address, long length) {
    real.excludeFromCoreDumps(address, length);
  }

  @Override
  public void excludeFromForks(long address, long length) {
    real.excludeFromForks(address, length);
  }

  @Override
  public ByteBuffer view(long address, int length) {
    return real.view(address, length);
  }
}
