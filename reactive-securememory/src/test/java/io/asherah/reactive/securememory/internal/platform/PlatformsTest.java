package io.asherah.reactive.securememory.internal.platform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.UnsupportedPlatformException;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PlatformsTest {

  @ParameterizedTest
  @CsvSource({
    "Linux, amd64, LinuxMemory, LinuxProcess",
    "Linux, aarch64, LinuxMemory, LinuxProcess",
    "Mac OS X, x86_64, MacMemory, UnixProcess",
    "Mac OS X, aarch64, MacMemory, UnixProcess",
    "Windows 11, amd64, WindowsMemory, WindowsProcess",
    "Windows Server 2022, amd64, WindowsMemory, WindowsProcess"
  })
  void supportedPlatforms_haveTheirClasses(
      String name, String processor, String memory, String process) {
    assertThat(Platforms.memory(name, processor, false).getClass().getSimpleName())
        .isEqualTo(memory);
    assertThat(Platforms.process(name, processor).getClass().getSimpleName()).isEqualTo(process);
  }

  @ParameterizedTest
  @CsvSource({
    "FreeBSD, amd64, FreeBsdMemory",
    "FreeBSD, aarch64, FreeBsdMemory",
    "OpenBSD, amd64, OpenBsdMemory",
    "NetBSD, amd64, NetBsdMemory",
    "SunOS, amd64, IllumosMemory",
    "Windows 11, aarch64, WindowsMemory"
  })
  void experimentalPlatforms_needLeave(String name, String processor, String memory) {
    assertThat(Platforms.memory(name, processor, true).getClass().getSimpleName())
        .isEqualTo(memory);
    NativeMemory refused = Platforms.memory(name, processor, false);
    assertThatThrownBy(() -> refused.map(4_096))
        .isInstanceOf(UnsupportedPlatformException.class)
        .hasMessageContainingAll(
            name + " on " + processor,
            "Linux, macOS (x86-64, arm64) and Windows (x86-64)",
            "SecretFactory.builder().experimentalPlatform(true)");
  }

  @ParameterizedTest
  @CsvSource({
    "Linux, x86",
    "Linux, arm",
    "Linux, riscv64",
    "Linux, s390x",
    "Windows 10, x86",
    "Mac OS X, ppc",
    "SunOS, sparcv9",
    "AIX, ppc64",
    "Plan 9, amd64"
  })
  void otherPlatforms_areRefused_withTheFirstCall(String name, String processor) {
    NativeMemory refused = Platforms.memory(name, processor, true);

    assertThatThrownBy(refused::pageSize)
        .isInstanceOf(UnsupportedPlatformException.class)
        .hasMessageContainingAll(
            name + " on " + processor, "Linux, macOS (x86-64, arm64)", "experimental ones FreeBSD")
        .hasMessageNotContaining("experimentalPlatform");
    NativeProcess refusedProcess = Platforms.process(name, processor);
    assertThatThrownBy(refusedProcess::forbidCoreDumps)
        .isInstanceOf(UnsupportedPlatformException.class);
  }

  @Test
  void names_doNotDependOnTheLocale() {
    Locale before = Locale.getDefault();
    Locale.setDefault(Locale.forLanguageTag("tr"));
    try {
      assertThat(Platforms.memory("LINUX", "AMD64", false).getClass().getSimpleName())
          .isEqualTo("LinuxMemory");
      assertThat(Platforms.memory("WINDOWS", "AMD64", false).getClass().getSimpleName())
          .isEqualTo("WindowsMemory");
    } finally {
      Locale.setDefault(before);
    }
  }
}
