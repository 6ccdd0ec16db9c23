package io.asherah.reactive.securememory.internal.platform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.asherah.reactive.securememory.ProcessHardening;
import io.asherah.reactive.testsupport.ChildJvm;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Hardens JVMs of their own, for ever. */
@EnabledOnOs(OS.LINUX)
class ProcessHardeningIT {
  private static final int PR_GET_DUMPABLE = 3;

  static final class Child {
    public static void main(String[] arguments) throws Exception {
      var unused = List.of(ProcessHardening.forbidCoreDumps(), ProcessHardening.forbidInspection());
      print();
      ProcessHardening.forbidCoreDumps().block();
      ProcessHardening.forbidInspection().block();
      print();
      // Again, which changes nothing.
      ProcessHardening.forbidCoreDumps().block();
      ProcessHardening.forbidInspection().block();
      Process process =
          new ProcessBuilder(
                  "sh",
                  "-c",
                  "grep core /proc/self/limits;"
                      + " if head -c 1 /proc/$PPID/environ >/dev/null 2>&1;"
                      + " then echo inspected; else echo refused; fi")
              .redirectOutput(ProcessBuilder.Redirect.INHERIT)
              .start();
      process.waitFor();
    }

    private static void print() throws IOException {
      System.out.println(
          Files.readAllLines(Path.of("/proc/self/limits")).stream()
              .filter(line -> line.startsWith("Max core"))
              .findFirst()
              .orElseThrow());
      System.out.println("dumpable " + new JnaLinuxLibc().prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    }
  }

  @Test
  void hardenedProcess_isNeitherDumpedNorInspected_andItsChildrenNotDumped(@TempDir Path directory)
      throws Exception {
    ChildJvm.Ended result = ChildJvm.main(Child.class).run(directory);

    assertThat(result.exitCode()).as(result.toString()).isZero();
    List<String> lines =
        result.out().stream().map(line -> line.replaceAll("\\s+", " ").strip()).toList();
    assertThat(lines).as(result.toString()).hasSize(6);
    assertThat(lines.get(1)).isEqualTo("dumpable 1");
    String limit = lines.get(0).endsWith(" 0 bytes") ? "0" : "1";
    String forbidden = "Max core file size %s %s bytes".formatted(limit, limit);
    assertThat(lines.subList(2, 5)).containsExactly(forbidden, "dumpable 0", forbidden);
    // Nothing stops root.
    boolean isRoot = "root".equals(System.getProperty("user.name"));
    assertThat(lines.get(5)).isEqualTo(isRoot ? "inspected" : "refused");
  }

  /** Ends itself by a signal at which the kernel writes a core dump. */
  static final class Crash {
    public static void main(String[] arguments) throws Exception {
      if (arguments.length > 0) {
        ProcessHardening.forbidCoreDumps().block();
      }
      long pid = ProcessHandle.current().pid();
      new ProcessBuilder("kill", "-ABRT", String.valueOf(pid)).start().waitFor();
      Thread.sleep(60_000);
    }
  }

  @Test
  void crashOfAProcessThatForbadeCoreDumps_leavesNone(@TempDir Path plain, @TempDir Path hardened)
      throws Exception {
    String pattern = Files.readString(Path.of("/proc/sys/kernel/core_pattern"));
    assumeThat(pattern).as("core dumps go to the working directory").doesNotContain("|", "/");
    crash(plain);
    assumeThat(coreDumps(plain)).as("core dumps are written here").isEqualTo(1);

    crash(hardened, "hardened");

    assertThat(coreDumps(hardened)).isZero();
  }

  private static void crash(Path directory, String... arguments) throws Exception {
    // A few kilobytes of a dump are proof enough.
    ChildJvm.Ended result =
        ChildJvm.main(Crash.class, arguments)
            .through("ulimit -S -c 16 2>/dev/null; exec \"$@\"")
            .run(directory);
    // Aborted, not ended.
    assertThat(result.exitCode()).as(result.toString()).isEqualTo(128 + 6);
  }

  private static long coreDumps(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.filter(file -> file.getFileName().toString().startsWith("core")).count();
    }
  }
}
