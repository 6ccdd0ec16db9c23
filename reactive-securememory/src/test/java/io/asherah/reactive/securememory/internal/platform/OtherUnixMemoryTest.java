package io.asherah.reactive.securememory.internal.platform;

import static io.asherah.reactive.securememory.internal.platform.MemoryCalls.assertFails;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.internal.platform.NativeMemory.Hiding;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** macOS, the BSDs and illumos, which no test runs on. */
class OtherUnixMemoryTest {
  private static final int EINVAL = 22;

  enum System {
    MAC(MacMemory::new, "0x1002", null, Set.of(35)),
    FREEBSD(FreeBsdMemory::new, "0x1002", "madvise(0x11000, 0x1000, 8)", Set.of(35, 12, 1)),
    OPENBSD(OpenBsdMemory::new, "0x9002", null, Set.of(35, 1)),
    NETBSD(NetBsdMemory::new, "0x1002", null, Set.of(35));

    final Function<Supplier<BsdLibc>, NativeMemory> constructor;
    final String mapFlags;
    final @Nullable String dumpExclusion;
    final Set<Integer> limitErrors;

    System(
        Function<Supplier<BsdLibc>, NativeMemory> constructor,
        String mapFlags,
        @Nullable String dumpExclusion,
        Set<Integer> limitErrors) {
      this.constructor = constructor;
      this.mapFlags = mapFlags;
      this.dumpExclusion = dumpExclusion;
      this.limitErrors = limitErrors;
    }

    NativeMemory memory(Recorder<BsdLibc> libc) {
      return constructor.apply(() -> libc.library);
    }
  }

  private final Recorder<BsdLibc> libc = Recorder.libc(BsdLibc.class);

  @ParameterizedTest
  @EnumSource
  void lifeOfAPage_makesTheseCalls(System system) {
    MemoryCalls.live(system.memory(libc));

    assertThat(libc.calls)
        .containsExactlyElementsOf(
            Stream.of(
                    "mmap(0, 0x3000, 0, " + system.mapFlags + ", -1, 0)",
                    "mprotect(0x11000, 0x1000, 3)",
                    "mlock(0x11000, 0x1000)",
                    system.dumpExclusion == null ? "" : system.dumpExclusion,
                    "minherit(0x11000, 0x1000, 2)",
                    "mprotect(0x11000, 0x1000, 0)",
                    "mprotect(0x11000, 0x1000, 1)",
                    "munlock(0x11000, 0x1000)",
                    "munmap(0x10000, 0x3000)")
                .filter(call -> !call.isEmpty())
                .toList());
  }

  static Stream<Arguments> failures() {
    return Stream.of(System.values())
        .flatMap(
            system ->
                Stream.of(
                    Arguments.of(system, "lockLimit", "getrlimit", "getrlimit"),
                    Arguments.of(system, "map", "mmap", "mmap"),
                    Arguments.of(system, "unmap", "munmap", "munmap"),
                    Arguments.of(system, "protect", "mprotect", "mprotect"),
                    Arguments.of(system, "lock", "mlock", "mlock"),
                    Arguments.of(system, "unlock", "munlock", "munlock"),
                    Arguments.of(system, "excludeFromForks", "minherit", "minherit")));
  }

  @ParameterizedTest
  @MethodSource("failures")
  void aCallThatFails_isNamedWithItsErrno(
      System system, String method, String function, String call) {
    libc.answers(function, -1, EINVAL);

    assertFails(system.memory(libc), method, call, EINVAL);
  }

  @Test
  void dumpExclusionThatFails_isNamedWithItsErrno() {
    libc.answers("madvise", -1, EINVAL);

    assertFails(
        System.FREEBSD.memory(libc), "excludeFromCoreDumps", "madvise(MADV_NOCORE)", EINVAL);
  }

  @ParameterizedTest
  @EnumSource
  void lock_isRefusedAtTheLimit_andFailsOtherwise(System system) {
    // EPERM, EDEADLK, which is EAGAIN elsewhere, ENOMEM, EINVAL, EAGAIN
    for (int errno : List.of(1, 11, 12, EINVAL, 35)) {
      libc.answers("mlock", -1, errno);

      if (system.limitErrors.contains(errno)) {
        assertThat(system.memory(libc).lock(0x10000, 0x1000)).isFalse();
      } else {
        assertFails(system.memory(libc), "lock", "mlock", errno);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void lockLimit_isTheSoftLimitOfLockedMemory_whichNobodyMayExceed(System system) {
    libc.writes("getrlimit", new long[] {0x10000, 0x20000});

    assertThat(system.memory(libc).lockLimit()).isEqualTo(0x10000);
    assertThat(system.memory(libc).mayExceedLockLimit()).isFalse();
    assertThat(libc.calls).containsExactly("getrlimit(6, [0, 0])");
  }

  @ParameterizedTest
  @EnumSource
  void lockLimit_whereThereIsNone_isMinusOne(System system) {
    libc.writes("getrlimit", new long[] {Long.MAX_VALUE, Long.MAX_VALUE});

    assertThat(system.memory(libc).lockLimit()).isEqualTo(-1);
  }

  @ParameterizedTest
  @EnumSource
  void hide_isNotAvailable(System system) {
    assertThat(system.memory(libc).hide(0x10000, 0x1000)).isEqualTo(Hiding.NOT_AVAILABLE);
    assertThat(libc.calls).isEmpty();
  }

  @Test
  void lifeOfAPage_onIllumos_makesTheseCalls() {
    Recorder<Libc> illumos = Recorder.libc(Libc.class);

    MemoryCalls.live(new IllumosMemory(() -> illumos.library));

    assertThat(illumos.calls)
        .containsExactly(
            "mmap(0, 0x3000, 0, 0x102, -1, 0)",
            "mprotect(0x11000, 0x1000, 3)",
            "mlock(0x11000, 0x1000)",
            "mprotect(0x11000, 0x1000, 0)",
            "mprotect(0x11000, 0x1000, 1)",
            "munlock(0x11000, 0x1000)",
            "munmap(0x10000, 0x3000)");
  }

  @Test
  void limits_onIllumos_areNotOfTheProcess() {
    Recorder<Libc> illumos = Recorder.libc(Libc.class);
    NativeMemory memory = new IllumosMemory(() -> illumos.library);

    assertThat(memory.lockLimit()).isEqualTo(-1);
    assertThat(memory.mayExceedLockLimit()).isFalse();
    assertThat(memory.hide(0x10000, 0x1000)).isEqualTo(Hiding.NOT_AVAILABLE);
    assertThat(illumos.calls).isEmpty();
    for (int errno : List.of(1, 11, 12)) {
      illumos.answers("mlock", -1, errno);
      assertThat(memory.lock(0x10000, 0x1000)).isFalse();
    }
    illumos.answers("mlock", -1, EINVAL);
    assertFails(memory, "lock", "mlock", EINVAL);
  }
}
