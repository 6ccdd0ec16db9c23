package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.ChildJvm;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Reads memory that is not open in a JVM of its own, which must not survive it. */
class ClosedRegionCrashIT {

  /** The program of the child: makes a secret, does what it is told, reads an address. */
  static final class Child {
    public static void main(String[] arguments) {
      try (Memory memory = new Memory(Duration.ofSeconds(1))) {
        byte[] key = new byte[32];
        key[0] = 42;
        Secret secret = memory.factory.create(key).block(Await.TIMEOUT);
        Pointer region = new Pointer(memory.recording.lastLockedAddress());
        System.out.println("open " + region.getByte(0));
        long offset =
            switch (arguments[0]) {
              case "before" -> -1;
              case "behind" -> Arena.REGION_BYTES;
              default -> 0;
            };
        // Now: what the JVM maps for it could be mapped where the region was.
        String reading = String.format("reading 0x%016x", Pointer.nativeValue(region) + offset);
        switch (arguments[0]) {
          case "closed" -> {
            memory.time.advanceTimeBy(Duration.ofSeconds(1));
            Await.until(() -> memory.factory.stats().closes() == 1);
          }
          case "returned" -> {
            secret.close();
            memory.returnIdleRegions();
          }
          default -> {}
        }
        System.out.println(reading);
        System.out.flush();
        System.out.println("read " + region.getByte(offset));
        secret.close();
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "closed, 2 (SEGV_ACCERR)",
    // The guard pages: the last byte of the one, the first byte of the other.
    "before, 2 (SEGV_ACCERR)",
    "behind, 2 (SEGV_ACCERR)",
    "returned, 1 (SEGV_MAPERR)"
  })
  void readingWhatIsNotOpen_endsTheProcess(String what, String code, @TempDir Path directory) {
    ChildJvm.Ended ended = ChildJvm.main(Child.class, what).run(directory);

    assertThat(ended.exitCode()).as(ended.toString()).isEqualTo(134);
    assertThat(ended.out()).contains("open 42").noneMatch(line -> line.startsWith("read "));
    String address =
        ended.out().stream()
            .filter(line -> line.startsWith("reading "))
            .map(line -> line.substring("reading ".length()))
            .findFirst()
            .orElseThrow();
    assertThat(ended.crashReport())
        .contains("siginfo: si_signo: 11 (SIGSEGV), si_code: " + code + ", si_addr: " + address);
  }

  @Test
  void readingAnOpenRegion_doesNot(@TempDir Path directory) {
    ChildJvm.Ended ended = ChildJvm.main(Child.class, "open").run(directory);

    assertThat(ended.out()).contains("open 42", "read 42");
    assertThat(ended.exitCode()).isZero();
  }
}
