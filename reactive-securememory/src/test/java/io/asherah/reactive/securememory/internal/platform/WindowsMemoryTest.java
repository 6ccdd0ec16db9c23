package io.asherah.reactive.securememory.internal.platform;

import static io.asherah.reactive.securememory.internal.platform.MemoryCalls.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Hiding;
import java.util.Collections;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Windows, which no test runs on. */
class WindowsMemoryTest {
  private static final int ERROR_NOT_LOCKED = 158;
  private static final int ERROR_INVALID_ADDRESS = 487;
  private static final int ERROR_NO_SYSTEM_RESOURCES = 1450;
  private static final int ERROR_WORKING_SET_QUOTA = 1453;

  private final Recorder<Kernel32> kernel32 = Recorder.kernel32();
  private final NativeMemory memory = new WindowsMemory(() -> kernel32.library);

  @Test
  void lifeOfAPage_makesTheseCalls_andLocksAgainWhatWasUnreadable() {
    MemoryCalls.live(memory);

    assertThat(kernel32.calls)
        .containsExactly(
            "virtualAlloc(0, 0x3000, 0x3000, 1)",
            "virtualProtect(0x11000, 0x1000, 4, int[1])",
            "virtualLock(0x11000, 0x1000)",
            "werRegisterExcludedMemoryBlock(0x11000, 0x1000)",
            "virtualProtect(0x11000, 0x1000, 1, int[1])",
            "virtualProtect(0x11000, 0x1000, 2, int[1])",
            "virtualLock(0x11000, 0x1000)",
            "werUnregisterExcludedMemoryBlock(0x11000)",
            "virtualUnlock(0x11000, 0x1000)",
            "virtualFree(0x10000, 0, 0x8000)");
  }

  @Test
  void errorReports_ofAnOldWindows_areLeftAlone() {
    kernel32.always("canExcludeFromErrorReports", 0);

    memory.excludeFromCoreDumps(0x10000, 0x1000);
    memory.unlock(0x10000, 0x1000);

    assertThat(kernel32.calls).containsExactly("virtualUnlock(0x10000, 0x1000)");
  }

  @ParameterizedTest
  @CsvSource({
    "lockLimit, getProcessWorkingSetSize, GetProcessWorkingSetSize, 0",
    "map, virtualAlloc, VirtualAlloc, 0",
    "unmap, virtualFree, VirtualFree, 0",
    "protect, virtualProtect, VirtualProtect, 0",
    "lock, virtualLock, VirtualLock, 0",
    "unlock, virtualUnlock, VirtualUnlock, 0",
    "excludeFromCoreDumps, werRegisterExcludedMemoryBlock, WerRegisterExcludedMemoryBlock,"
        + ERROR_INVALID_ADDRESS
  })
  void aCallThatFails_isNamedWithItsError(
      String method, String function, String call, long failure) {
    kernel32.answers(function, failure, ERROR_INVALID_ADDRESS);

    assertFails(memory, method, call, ERROR_INVALID_ADDRESS);
  }

  @Test
  void lock_beyondTheWorkingSet_enlargesIt_andTriesAgain() {
    kernel32.answers("virtualLock", 0, ERROR_WORKING_SET_QUOTA);

    assertThat(memory.lock(0x10000, 0x2000)).isTrue();
    assertThat(kernel32.calls)
        .containsExactly(
            "virtualLock(0x10000, 0x2000)",
            "getProcessWorkingSetSize(-1, [0], [0])",
            "setProcessWorkingSetSize(-1, 0x34000, 0x15b000)",
            "virtualLock(0x10000, 0x2000)");
  }

  @Test
  void lock_whereTheWorkingSetCannotGrow_isRefused() {
    kernel32
        .answers("virtualLock", 0, ERROR_WORKING_SET_QUOTA)
        .answers("setProcessWorkingSetSize", 0, ERROR_NO_SYSTEM_RESOURCES);

    assertThat(memory.lock(0x10000, 0x2000)).isFalse();
  }

  @Test
  void lock_whereGrowingDoesNotHelp_isRefusedInTheEnd() {
    for (int i = 0; i < 4; i++) {
      kernel32.answers("virtualLock", 0, ERROR_WORKING_SET_QUOTA);
    }

    assertThat(memory.lock(0x10000, 0x2000)).isFalse();
    assertThat(Collections.frequency(kernel32.calls, "virtualLock(0x10000, 0x2000)")).isEqualTo(4);
  }

  @Test
  void lockThatWasRefused_isNotTriedAgainByProtect() {
    kernel32
        .answers("virtualLock", 0, ERROR_WORKING_SET_QUOTA)
        .answers("setProcessWorkingSetSize", 0, ERROR_NO_SYSTEM_RESOURCES);
    memory.lock(0x10000, 0x1000);
    kernel32.calls.clear();

    memory.protect(0x10000, 0x1000, Access.READ);

    assertThat(kernel32.calls).containsExactly("virtualProtect(0x10000, 0x1000, 2, int[1])");
  }

  @Test
  void memoryThatCannotBeLockedAgain_staysUnreadable() {
    memory.lock(0x10000, 0x1000);
    memory.protect(0x10000, 0x1000, Access.NONE);
    kernel32
        .answers("virtualLock", 0, ERROR_WORKING_SET_QUOTA)
        .answers("setProcessWorkingSetSize", 0, ERROR_NO_SYSTEM_RESOURCES);

    assertFails(memory, "protect", "VirtualLock", ERROR_NO_SYSTEM_RESOURCES);
    assertThat(kernel32.calls).last().isEqualTo("virtualProtect(0x10000, 0x1000, 1, int[1])");
  }

  @Test
  void memoryThatIsUnlocked_isNotLockedAgain() {
    memory.lock(0x10000, 0x1000);
    memory.unlock(0x10000, 0x1000);
    kernel32.calls.clear();

    memory.protect(0x10000, 0x1000, Access.READ_WRITE);

    assertThat(kernel32.calls).containsExactly("virtualProtect(0x10000, 0x1000, 4, int[1])");
  }

  @Test
  void unlock_ofUnreadableMemory_whichWindowsHasUnlocked_succeeds() {
    kernel32.answers("virtualUnlock", 0, ERROR_NOT_LOCKED);

    memory.unlock(0x10000, 0x1000);

    assertThat(kernel32.calls).last().isEqualTo("virtualUnlock(0x10000, 0x1000)");
  }

  @Test
  void limits_areThoseOfTheWorkingSet_whichEveryoneMayEnlarge() {
    assertThat(memory.lockLimit()).isEqualTo(0x32000);
    assertThat(memory.mayExceedLockLimit()).isTrue();
  }

  @Test
  void pageSize_isTheSecondWordOfTheSystemInfo() {
    kernel32.writes(
        "getSystemInfo",
        Stream.iterate(0L, i -> i + 1).limit(12).mapToLong(i -> i * 4096).toArray());

    assertThat(memory.pageSize()).isEqualTo(4_096);
    assertThat(kernel32.calls).containsExactly("getSystemInfo(int[12])");
  }

  @Test
  void hideAndFork_doNothing() {
    memory.excludeFromForks(0x10000, 0x1000);

    assertThat(memory.hide(0x10000, 0x1000)).isEqualTo(Hiding.NOT_AVAILABLE);
    assertThat(kernel32.calls).isEmpty();
  }
}
