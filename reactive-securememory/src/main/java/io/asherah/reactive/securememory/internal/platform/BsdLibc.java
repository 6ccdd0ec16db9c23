package io.asherah.reactive.securememory.internal.platform;

/** What the C libraries of macOS and of the BSDs have beyond {@link Libc}. */
interface BsdLibc extends Libc {

  int madvise(long address, long length, int advice);

  int minherit(long address, long length, int inheritance);
}
