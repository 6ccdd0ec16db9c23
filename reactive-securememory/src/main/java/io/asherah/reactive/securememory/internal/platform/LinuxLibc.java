package io.asherah.reactive.securememory.internal.platform;

/** What glibc and musl have beyond {@link Libc}. */
interface LinuxLibc extends Libc {

  int madvise(long address, long length, int advice);

  /** A system call by its number, for those that not every C library has a function for. */
  long syscall(long number, long first, long second, long third);

  int ftruncate(int descriptor, long length);

  int close(int descriptor);

  int prctl(int option, long second, long third, long fourth, long fifth);
}
