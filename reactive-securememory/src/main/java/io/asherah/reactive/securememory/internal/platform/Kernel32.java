package io.asherah.reactive.securememory.internal.platform;

/**
 * The functions of {@code kernel32.dll} that locked memory needs, as they are: an address or a
 * result of zero means failure, and {@link #lastError} tells why. A test puts a recording one in
 * its place.
 */
interface Kernel32 {

  /** {@code GetLastError} after the last call of this thread. */
  int lastError();

  /** Fills a {@code SYSTEM_INFO}, which is 48 bytes long in 64-bit Windows. */
  void getSystemInfo(int[] systemInfo);

  long virtualAlloc(long address, long length, int type, int protection);

  int virtualFree(long address, long length, int type);

  int virtualProtect(long address, long length, int protection, int[] previous);

  int virtualLock(long address, long length);

  int virtualUnlock(long address, long length);

  int getProcessWorkingSetSize(long process, long[] minimum, long[] maximum);

  int setProcessWorkingSetSize(long process, long minimum, long maximum);

  /** Whether this Windows (10, version 1703, or later) has the next two. */
  boolean canExcludeFromErrorReports();

  /** Returns an {@code HRESULT}: zero means success. */
  int werRegisterExcludedMemoryBlock(long address, int length);

  /** Returns an {@code HRESULT}: zero means success. */
  int werUnregisterExcludedMemoryBlock(long address);
}
