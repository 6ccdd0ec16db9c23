package io.asherah.reactive.securememory.internal.platform;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;

/** {@code kernel32.dll}, through JNA direct mapping. */
final class JnaKernel32 implements Kernel32 {
  private static final String LIBRARY = "kernel32";

  private final boolean canExcludeFromErrorReports;

  /** Loads JNA. */
  JnaKernel32() {
    JnaLoading.register(Natives.class, LIBRARY);
    canExcludeFromErrorReports = hasErrorReports();
    if (canExcludeFromErrorReports) {
      JnaLoading.register(ErrorReports.class, LIBRARY);
    }
  }

  private static boolean hasErrorReports() {
    try {
      NativeLibrary library = NativeLibrary.getInstance(LIBRARY);
      library.getFunction("WerRegisterExcludedMemoryBlock");
      library.getFunction("WerUnregisterExcludedMemoryBlock");
      return true;
    } catch (UnsatisfiedLinkError e) {
      return false;
    }
  }

  /** Named as in the library, because JNA looks them up by their names. */
  private static final class Natives {
    static native void GetSystemInfo(int[] systemInfo);

    static native long VirtualAlloc(long address, long length, int type, int protection);

    static native int VirtualFree(long address, long length, int type);

    static native int VirtualProtect(long address, long length, int protection, int[] previous);

    static native int VirtualLock(long address, long length);

    static native int VirtualUnlock(long address, long length);

    static native int GetProcessWorkingSetSize(long process, long[] minimum, long[] maximum);

    static native int SetProcessWorkingSetSize(long process, long minimum, long maximum);
  }

  private static final class ErrorReports {
    static native int WerRegisterExcludedMemoryBlock(long address, int length);

    static native int WerUnregisterExcludedMemoryBlock(long address);
  }

  @Override
  public int lastError() {
    return Native.getLastError();
  }

  @Override
  public void getSystemInfo(int[] systemInfo) {
    Natives.GetSystemInfo(systemInfo);
  }

  @Override
  public long virtualAlloc(long address, long length, int type, int protection) {
    return Natives.VirtualAlloc(address, length, type, protection);
  }

  @Override
  public int virtualFree(long address, long length, int type) {
    return Natives.VirtualFree(address, length, type);
  }

  @Override
  public int virtualProtect(long address, long length, int protection, int[] previous) {
    return Natives.VirtualProtect(address, length, protection, previous);
  }

  @Override
  public int virtualLock(long address, long length) {
    return Natives.VirtualLock(address, length);
  }

  @Override
  public int virtualUnlock(long address, long length) {
    return Natives.VirtualUnlock(address, length);
  }

  @Override
  public int getProcessWorkingSetSize(long process, long[] minimum, long[] maximum) {
    return Natives.GetProcessWorkingSetSize(process, minimum, maximum);
  }

  @Override
  public int setProcessWorkingSetSize(long process, long minimum, long maximum) {
    return Natives.SetProcessWorkingSetSize(process, minimum, maximum);
  }

  @Override
  public boolean canExcludeFromErrorReports() {
    return canExcludeFromErrorReports;
  }

  @Override
  public int werRegisterExcludedMemoryBlock(long address, int length) {
    return ErrorReports.WerRegisterExcludedMemoryBlock(address, length);
  }

  @Override
  public int werUnregisterExcludedMemoryBlock(long address) {
    return ErrorReports.WerUnregisterExcludedMemoryBlock(address);
  }
}
