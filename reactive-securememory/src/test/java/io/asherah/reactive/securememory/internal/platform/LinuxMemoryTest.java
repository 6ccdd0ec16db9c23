package io.asherah.reactive.securememory.internal.platform;

import static io.asherah.reactive.securememory.internal.platform.MemoryCalls.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.internal.platform.NativeMemory.Hiding;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LinuxMemoryTest {
  private static final int EPERM = 1;
  private static final int EAGAIN = 11;
  private static final int ENOMEM = 12;
  private static final int EACCES = 13;
  private static final int EEXIST = 17;
  private static final int EINVAL = 22;
  private static final int EMFILE = 24;
  private static final int ENOSYS = 38;

  private final Recorder<LinuxLibc> libc = Recorder.libc(LinuxLibc.class);
  private final NativeMemory memory = new LinuxMemory(() -> libc.library, false);

  @Test
  void lifeOfAPage_makesTheseCalls() {
    MemoryCalls.live(memory);

    assertThat(libc.calls)
        .containsExactly(
            "mmap(0, 0x3000, 0, 0x22, -1, 0)",
            "mprotect(0x11000, 0x1000, 3)",
            "mlock(0x11000, 0x1000)",
            "madvise(0x11000, 0x1000, 0x10)",
            "madvise(0x11000, 0x1000, 0xa)",
            "mprotect(0x11000, 0x1000, 0)",
            "mprotect(0x11000, 0x1000, 1)",
            "munlock(0x11000, 0x1000)",
            "munmap(0x10000, 0x3000)");
  }

  @ParameterizedTest
  @CsvSource({
    "lockLimit, getrlimit, getrlimit",
    "map, mmap, mmap",
    "unmap, munmap, munmap",
    "protect, mprotect, mprotect",
    "lock, mlock, mlock",
    "unlock, munlock, munlock",
    "hide, syscall, memfd_secret",
    "excludeFromCoreDumps, madvise, madvise(MADV_DONTDUMP)",
    "excludeFromForks, madvise, madvise(MADV_DONTFORK)"
  })
  void aCallThatFails_isNamedWithItsErrno(String method, String function, String call) {
    libc.answers(function, -1, EINVAL);

    assertFails(memory, method, call, EINVAL);
  }

  @ParameterizedTest
  @ValueSource(ints = {EPERM, EAGAIN, ENOMEM})
  void lock_whereTheLimitIsReached_isRefused(int errno) {
    libc.answers("mlock", -1, errno);

    assertThat(memory.lock(0x10000, 0x1000)).isFalse();
  }

  @Test
  void lockLimit_isTheSoftLimitOfLockedMemory() {
    libc.writes("getrlimit", new long[] {0x10000, 0x20000});

    assertThat(memory.lockLimit()).isEqualTo(0x10000);
    assertThat(libc.calls).containsExactly("getrlimit(8, [0, 0])");
  }

  @Test
  void lockLimit_whereThereIsNone_isMinusOne() {
    libc.writes("getrlimit", new long[] {-1, -1});

    assertThat(memory.lockLimit()).isEqualTo(-1);
  }

  @Test
  void mayExceedLockLimit_asksTheKernelForOnePageMore_andTakesNoMemory() {
    libc.writes("getrlimit", new long[] {0x10800, 0x20000});

    assertThat(memory.mayExceedLockLimit()).isTrue();
    assertThat(libc.calls)
        .containsExactly(
            "getrlimit(8, [0, 0])",
            "getpagesize()",
            "mmap(0, 0x11000, 0, 0x4022, -1, 0)",
            "syscall(0x145, 0x10000, 0x11000, 1)",
            "munmap(0x10000, 0x11000)");
  }

  @Test
  void mayExceedLockLimit_onArm64_usesItsNumberOfMlock2() {
    libc.writes("getrlimit", new long[] {0x10000, 0x20000});

    new LinuxMemory(() -> libc.library, true).mayExceedLockLimit();

    assertThat(libc.calls).contains("syscall(0x11c, 0x10000, 0x11000, 1)");
  }

  @ParameterizedTest
  @ValueSource(ints = {ENOMEM, EPERM, ENOSYS})
  void mayExceedLockLimit_whereTheKernelRefuses_isFalse_andThePagesAreReturned(int errno) {
    libc.writes("getrlimit", new long[] {0x10000, 0x10000}).answers("syscall", -1, errno);

    assertThat(memory.mayExceedLockLimit()).isFalse();
    assertThat(libc.calls).last().isEqualTo("munmap(0x10000, 0x11000)");
  }

  @Test
  void mayExceedLockLimit_whereThereIsNone_isFalse_withoutATry() {
    libc.writes("getrlimit", new long[] {-1, -1});

    assertThat(memory.mayExceedLockLimit()).isFalse();
    assertThat(libc.calls).hasSize(1);
  }

  @Test
  void mayExceedLockLimit_beyondTheAddressSpace_isFalse() {
    libc.writes("getrlimit", new long[] {1L << 60, 1L << 60}).answers("mmap", -1, ENOMEM);

    assertThat(memory.mayExceedLockLimit()).isFalse();
    assertThat(libc.calls).last().asString().startsWith("mmap");
  }

  @Test
  void hide_replacesThePages_andClosesTheDescriptor() {
    libc.always("syscall", 7);

    assertThat(memory.hide(0x10000, 0x2000)).isEqualTo(Hiding.HIDDEN);
    assertThat(libc.calls)
        .containsExactly(
            "syscall(0x1bf, 0x80000, 0, 0)",
            "ftruncate(7, 0x2000)",
            "mmap(0x10000, 0x2000, 3, 0x2011, 7, 0)",
            "close(7)");
  }

  @Test
  void hide_doesNotMind_thatCloseFails() {
    libc.always("syscall", 7).answers("close", -1, 4);

    assertThat(memory.hide(0x10000, 0x2000)).isEqualTo(Hiding.HIDDEN);
  }

  @ParameterizedTest
  @ValueSource(ints = {EPERM, EACCES, ENOSYS})
  void hide_whereTheSystemHasNoSuchPages_changesNothing(int errno) {
    libc.answers("syscall", -1, errno);

    assertThat(memory.hide(0x10000, 0x2000)).isEqualTo(Hiding.NOT_AVAILABLE);
    assertThat(libc.calls).hasSize(1);
  }

  @ParameterizedTest
  @ValueSource(ints = {EMFILE, ENOMEM})
  void hide_inAShortage_fails(int errno) {
    libc.answers("syscall", -1, errno);

    assertFails(memory, "hide", "memfd_secret", errno);
    assertThat(libc.calls).hasSize(1);
  }

  @Test
  void hide_withoutSpace_fails_andClosesTheDescriptor() {
    libc.always("syscall", 7).answers("ftruncate", -1, EINVAL);

    assertFails(memory, "hide", "ftruncate(memfd_secret)", EINVAL);
    assertThat(libc.calls)
        .containsExactly("syscall(0x1bf, 0x80000, 0, 0)", "ftruncate(7, 0x1000)", "close(7)");
  }

  @ParameterizedTest
  @CsvSource({EAGAIN + ", LIMIT_REACHED", EPERM + ", LIMIT_REACHED", EACCES + ", NOT_AVAILABLE"})
  void hide_whereThePagesMayNotBeMapped_reservesThemAgain_andClosesTheDescriptor(
      int errno, Hiding outcome) {
    libc.always("syscall", 7).answers("mmap", -1, errno);

    assertThat(memory.hide(0x10000, 0x2000)).isEqualTo(outcome);
    assertThat(libc.calls)
        .endsWith(
            "mmap(0x10000, 0x2000, 3, 0x2011, 7, 0)",
            "mmap(0x10000, 0x2000, 0, 0x100022, -1, 0)",
            "close(7)");
  }

  @Test
  void hide_whereTheReservationIsStillThere_isContentWithIt() {
    libc.always("syscall", 7).answers("mmap", -1, EAGAIN).answers("mmap", -1, EEXIST);

    assertThat(memory.hide(0x10000, 0x2000)).isEqualTo(Hiding.LIMIT_REACHED);
  }

  @Test
  void hide_whereTheReservationIsLost_fails_andClosesTheDescriptor() {
    libc.always("syscall", 7).answers("mmap", -1, EAGAIN).answers("mmap", -1, ENOMEM);

    assertFails(memory, "hide", "mmap", ENOMEM);
    assertThat(libc.calls).last().isEqualTo("close(7)");
  }

  @Test
  void hide_whereMappingFailsOtherwise_fails_andClosesTheDescriptor() {
    libc.always("syscall", 7).answers("mmap", -1, ENOMEM);

    assertFails(memory, "hide", "mmap(memfd_secret)", ENOMEM);
    assertThat(libc.calls).endsWith("mmap(0x10000, 0x1000, 0, 0x100022, -1, 0)", "close(7)");
  }
}
