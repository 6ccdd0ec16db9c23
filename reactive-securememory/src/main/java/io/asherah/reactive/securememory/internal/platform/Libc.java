package io.asherah.reactive.securememory.internal.platform;

/**
 * The functions of the C library that every Unix has, as they are: an address of -1 or a result
 * other than zero means failure, and {@link #errno} tells why. A test puts a recording one in its
 * place.
 */
interface Libc {

  /** The error number that the last call of this thread left, as in {@code errno.h}. */
  int errno();

  int getpagesize();

  /** Writes the soft and the hard limit. */
  int getrlimit(int resource, long[] limits);

  int setrlimit(int resource, long[] limits);

  long mmap(long address, long length, int protection, int flags, int descriptor, long offset);

  int munmap(long address, long length);

  int mprotect(long address, long length, int protection);

  int mlock(long address, long length);

  int munlock(long address, long length);
}
