package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.ChildJvm;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is logged, read where nothing else writes: from the standard error of a child. */
class AlarmIT {

  /** The program of the child: loses secrets, or spoils two regions. */
  static final class Child {
    public static void main(String[] arguments) {
      try (Memory memory = new Memory(Duration.ofSeconds(1))) {
        if (arguments[0].equals("lost")) {
          for (int i = 0; i < 5; i++) {
            memory.factory.create(new byte[32]).block(Await.TIMEOUT);
          }
          Await.until(
              () -> {
                System.gc();
                return memory.factory.stats().leakedSecrets() == 5;
              });
        } else {
          for (int i = 1; i <= 2; i++) {
            Secret secret = memory.factory.create(new byte[32]).block(Await.TIMEOUT);
            CanaryTest.overwrite(memory.recording.lastLockedAddress(), 16_384 - 32);
            secret.close();
            int regions = i;
            Await.until(() -> memory.factory.stats().corruptedRegions() == regions);
            Await.until(() -> memory.factory.stats().lockedBytes() == 0);
          }
        }
      }
    }
  }

  private static long count(ChildJvm.Ended ended, String level, String text) {
    return ended.err().stream().filter(line -> line.contains(level) && line.contains(text)).count();
  }

  @Test
  void lostSecrets_areWarnedOfOnce(@TempDir Path directory) {
    ChildJvm.Ended ended = ChildJvm.main(Child.class, "lost").run(directory);

    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    assertThat(count(ended, "[ WARN]", "A secret was lost without close()"))
        .as(ended.toString())
        .isOne();
  }

  @Test
  void corruptRegions_areErrors_eachOfThem(@TempDir Path directory) {
    ChildJvm.Ended ended = ChildJvm.main(Child.class, "corrupt").run(directory);

    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    assertThat(count(ended, "[ERROR]", "Locked memory is corrupt"))
        .as(ended.toString())
        .isEqualTo(2);
  }
}
