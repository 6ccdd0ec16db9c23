package io.asherah.reactive.securememory.internal.platform;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.NativeCallException;
import java.nio.ByteBuffer;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;

/**
 * Locked memory of 64-bit Windows.
 *
 * <p>Windows unlocks a page as soon as it is made inaccessible (STATUS_WAS_UNLOCKED of {@code
 * ntstatus.h}), so a region is locked again whenever it is made readable. While nobody can read it,
 * Windows may write it to the page file: there, encrypting the page file is what helps.
 */
final class WindowsMemory implements NativeMemory {
  // winnt.h
  private static final int MEM_COMMIT = 0x1000;
  private static final int MEM_RESERVE = 0x2000;
  private static final int MEM_RELEASE = 0x8000;
  private static final int PAGE_NOACCESS = 0x01;
  private static final int PAGE_READONLY = 0x02;
  private static final int PAGE_READWRITE = 0x04;

  // winerror.h
  private static final int ERROR_NOT_LOCKED = 158;
  private static final int ERROR_WORKING_SET_QUOTA = 1453;

  // sysinfoapi.h: dwPageSize is the second of the 12 words of a SYSTEM_INFO.
  private static final int SYSTEM_INFO_WORDS = 12;
  private static final int PAGE_SIZE_WORD = 1;

  /** What {@code GetCurrentProcess()} of {@code processthreadsapi.h} returns. */
  private static final long CURRENT_PROCESS = -1;

  /** Two threads that enlarge the working set at once may undo each other's step. */
  private static final int ATTEMPTS = 4;

  private final Supplier<? extends Kernel32> kernel32;
  private final Set<Long> locked = ConcurrentHashMap.newKeySet();
  private final Set<Long> unlockedByTheSystem = ConcurrentHashMap.newKeySet();

  WindowsMemory(Supplier<? extends Kernel32> kernel32) {
    this.kernel32 = kernel32;
  }

  @Override
  public int pageSize() {
    int[] systemInfo = new int[SYSTEM_INFO_WORDS];
    kernel32.get().getSystemInfo(systemInfo);
    return systemInfo[PAGE_SIZE_WORD];
  }

  /** The least size of the working set, which holds a little more than can be locked. */
  @Override
  public long lockLimit() {
    return workingSet().minimum;
  }

  /** Every process may: {@link #lock} enlarges its working set as far as the system allows. */
  @Override
  public boolean mayExceedLockLimit() {
    return true;
  }

  @Override
  public long map(long length) {
    long address = kernel32.get().virtualAlloc(0, length, MEM_RESERVE | MEM_COMMIT, PAGE_NOACCESS);
    if (address == 0) {
      throw failure("VirtualAlloc");
    }
    return address;
  }

  @Override
  public void unmap(long address, long length) {
    // Zero means all that was allocated at the address; another length would be refused.
    check("VirtualFree", kernel32.get().virtualFree(address, 0, MEM_RELEASE));
  }

  @Override
  public void protect(long address, long length, Access access) {
    int protection =
        switch (access) {
          case NONE -> PAGE_NOACCESS;
          case READ -> PAGE_READONLY;
          case READ_WRITE -> PAGE_READWRITE;
        };
    check("VirtualProtect", kernel32.get().virtualProtect(address, length, protection, new int[1]));
    if (access == Access.NONE) {
      if (locked.contains(address)) {
        unlockedByTheSystem.add(address);
      }
    } else if (unlockedByTheSystem.contains(address)) {
      if (!lockPages(address, length)) {
        NativeCallException failure = failure("VirtualLock");
        // Nothing readable is left that is not locked.
        kernel32.get().virtualProtect(address, length, PAGE_NOACCESS, new int[1]);
        throw failure;
      }
      unlockedByTheSystem.remove(address);
    }
  }

  @Override
  public boolean lock(long address, long length) {
    boolean isLocked = lockPages(address, length);
    if (isLocked) {
      locked.add(address);
    }
    return isLocked;
  }

  private boolean lockPages(long address, long length) {
    for (int attempt = 1; ; attempt++) {
      if (kernel32.get().virtualLock(address, length) != 0) {
        return true;
      }
      NativeCallException failure = failure("VirtualLock");
      if (failure.errno() != ERROR_WORKING_SET_QUOTA) {
        throw failure;
      }
      if (attempt == ATTEMPTS || !enlargeWorkingSet(length)) {
        return false;
      }
    }
  }

  /** Fails where the system has not that much memory to promise. */
  private boolean enlargeWorkingSet(long length) {
    WorkingSet size = workingSet();
    return kernel32
            .get()
            .setProcessWorkingSetSize(CURRENT_PROCESS, size.minimum + length, size.maximum + length)
        != 0;
  }

  private WorkingSet workingSet() {
    long[] minimum = new long[1];
    long[] maximum = new long[1];
    check(
        "GetProcessWorkingSetSize",
        kernel32.get().getProcessWorkingSetSize(CURRENT_PROCESS, minimum, maximum));
    return new WorkingSet(minimum[0], maximum[0]);
  }

  private record WorkingSet(long minimum, long maximum) {}

  @Override
  public void unlock(long address, long length) {
    locked.remove(address);
    if (kernel32.get().canExcludeFromErrorReports()) {
      // Refused where nothing was registered, after a failure between lock and exclusion.
      kernel32.get().werUnregisterExcludedMemoryBlock(address);
    }
    if (kernel32.get().virtualUnlock(address, length) == 0) {
      NativeCallException failure = failure("VirtualUnlock");
      if (failure.errno() != ERROR_NOT_LOCKED) {
        throw failure;
      }
    }
  }

  @Override
  public Hiding hide(long address, long length) {
    return Hiding.NOT_AVAILABLE;
  }

  /**
   * Leaves the memory out of the reports of Windows Error Reporting, from Windows 10 1703 on;
   * before it does nothing. Dumps that others write, such as a debugger, the Task Manager or the
   * JVM's own {@code -XX:+CreateCoredumpOnCrash}, are not affected.
   */
  @Override
  public void excludeFromCoreDumps(long address, long length) {
    if (kernel32.get().canExcludeFromErrorReports()) {
      int result = kernel32.get().werRegisterExcludedMemoryBlock(address, Math.toIntExact(length));
      if (result != 0) {
        throw new NativeCallException("WerRegisterExcludedMemoryBlock", result);
      }
    }
  }

  /** Does nothing: Windows has no fork. */
  @Override
  public void excludeFromForks(long address, long length) {}

  @Override
  public ByteBuffer view(long address, int length) {
    return new Pointer(address).getByteBuffer(0, length);
  }

  private void check(String call, int result) {
    if (result == 0) {
      throw failure(call);
    }
  }

  private NativeCallException failure(String call) {
    return new NativeCallException(call, kernel32.get().lastError());
  }
}
