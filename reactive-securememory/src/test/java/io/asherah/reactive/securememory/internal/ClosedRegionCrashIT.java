package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Reads closed memory in a JVM of its own, which must not survive it. */
class ClosedRegionCrashIT {

  /** The program of the child: opens a window, lets it pass, reads the address. */
  static final class Child {
    public static void main(String[] arguments) {
      try (Memory memory = new Memory(Duration.ofSeconds(1))) {
        byte[] key = new byte[32];
        key[0] = 42;
        memory.factory.create(key).block();
        long address = memory.recording.lastLockedAddress();
        com.sun.jna.Pointer pointer = new com.sun.jna.Pointer(address);
        System.out.println("open " + pointer.getByte(0));
        if (arguments[0].equals("closed")) {
          memory.time.advanceTimeBy(Duration.ofSeconds(1));
          Await.until(() -> memory.factory.stats().closes() == 1);
        }
        long offset = arguments[0].equals("guard") ? 4_096 : 0;
        System.out.printf("reading 0x%016x%n", address + offset);
        System.out.flush();
        System.out.println("read " + pointer.getByte(offset));
      }
    }
  }

  @Test
  void readingAClosedRegion_endsTheProcess(@TempDir Path directory) throws Exception {
    assertCrash(directory, "closed");
  }

  @Test
  void readingPastTheRegion_endsTheProcess(@TempDir Path directory) throws Exception {
    assertCrash(directory, "guard");
  }

  @Test
  void readingAnOpenRegion_doesNot(@TempDir Path directory) throws Exception {
    Result result = run(directory, "open");

    assertThat(result.output).contains("open 42").contains("read 42");
    assertThat(result.exitCode).isZero();
  }

  private static void assertCrash(Path directory, String what) throws Exception {
    Result result = run(directory, what);

    assertThat(result.output).contains("open 42").doesNotContain("\nread ");
    assertThat(result.exitCode).as(result.output).isEqualTo(134);
    Matcher address = Pattern.compile("reading (0x[0-9a-f]{16})").matcher(result.output);
    assertThat(address.find()).isTrue();
    assertThat(Files.readString(directory.resolve("hs_err.log"), StandardCharsets.UTF_8))
        .containsPattern(
            "siginfo: si_signo: 11 \\(SIGSEGV\\), si_code: 2 \\(SEGV_ACCERR\\), si_addr: "
                + address.group(1));
  }

  private record Result(int exitCode, String output) {}

  private static Result run(Path directory, String what) throws Exception {
    String java = System.getProperty("java.home") + "/bin/java";
    Process process =
        new ProcessBuilder(
                "sh",
                "-c",
                "ulimit -c 0; exec \"$@\"",
                "sh",
                java,
                "-XX:ErrorFile=" + directory.resolve("hs_err.log"),
                "-XX:+IgnoreUnrecognizedVMOptions",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                Child.class.getName(),
                what)
            .directory(directory.toFile())
            .redirectErrorStream(true)
            .redirectOutput(new File(directory.toFile(), "output.txt"))
            .start();
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
    return new Result(process.exitValue(), Files.readString(directory.resolve("output.txt")));
  }
}
