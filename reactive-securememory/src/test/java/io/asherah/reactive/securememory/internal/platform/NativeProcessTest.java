package io.asherah.reactive.securememory.internal.platform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.UnsupportedPlatformException;
import org.junit.jupiter.api.Test;

class NativeProcessTest {
  private static final int EPERM = 1;

  private final Recorder<LinuxLibc> libc = Recorder.libc(LinuxLibc.class);
  private final NativeProcess linux = new LinuxProcess(() -> libc.library);

  @Test
  void forbidCoreDumps_onLinux_stopsFilesAndPrograms() {
    libc.writes("getrlimit", new long[] {0, -1});
    linux.forbidCoreDumps();

    assertThat(libc.calls).containsExactly("getrlimit(4, [0, 0])", "setrlimit(4, [1, 1])");
  }

  @Test
  void forbidCoreDumps_onLinux_leavesAHardLimitOfZero() {
    libc.writes("getrlimit", new long[] {0, 0});

    linux.forbidCoreDumps();

    assertThat(libc.calls).last().isEqualTo("setrlimit(4, [0, 0])");
  }

  @Test
  void forbidInspection_onLinux_makesTheProcessUndumpable() {
    linux.forbidInspection();

    assertThat(libc.calls).containsExactly("prctl(4, 0, 0, 0, 0)");
  }

  @Test
  void aCallThatFails_isNamedWithItsErrno() {
    libc.answers("getrlimit", -1, EPERM);
    assertFails(linux::forbidCoreDumps, "getrlimit(RLIMIT_CORE)");
    libc.answers("setrlimit", -1, EPERM);
    assertFails(linux::forbidCoreDumps, "setrlimit(RLIMIT_CORE)");
    libc.answers("prctl", -1, EPERM);
    assertFails(linux::forbidInspection, "prctl(PR_SET_DUMPABLE)");
  }

  private static void assertFails(Runnable use, String call) {
    assertThatThrownBy(use::run)
        .isInstanceOfSatisfying(
            NativeCallException.class,
            e -> {
              assertThat(e.call()).isEqualTo(call);
              assertThat(e.errno()).isEqualTo(EPERM);
            });
  }

  @Test
  void otherUnixes_forbidCoreDumps_only() {
    Recorder<Libc> other = Recorder.libc(Libc.class);
    NativeProcess process = new UnixProcess<>(() -> other.library);

    process.forbidCoreDumps();

    assertThat(other.calls).containsExactly("setrlimit(4, [0, 0])");
    assertThatThrownBy(process::forbidInspection)
        .isInstanceOf(UnsupportedPlatformException.class)
        .hasMessageContaining("only on Linux");
  }

  @Test
  void windows_forbidsNeither() {
    NativeProcess process = new WindowsProcess();

    assertThatThrownBy(process::forbidCoreDumps)
        .isInstanceOf(UnsupportedPlatformException.class)
        .hasMessageContaining("Windows Error Reporting");
    assertThatThrownBy(process::forbidInspection).isInstanceOf(UnsupportedPlatformException.class);
  }
}
