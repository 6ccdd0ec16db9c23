package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.Objects;

/** What the tests of secrets and enclaves put into them, and where. */
final class Samples {
  /** The states of a secret's memory that a read can meet. */
  enum Reads {
    WARM(Duration.ofHours(1)),
    COLD(Duration.ofMillis(100)),
    STRICT(Duration.ZERO);

    final Duration window;

    Reads(Duration window) {
      this.window = window;
    }

    Memory memory() {
      return new Memory(window);
    }

    /** Brings all regions into the state that the first read shall meet. */
    void prepare(Memory memory) {
      if (this == COLD) {
        // A read that was cancelled may still be under way, and begin another window.
        Await.until(
            () -> {
              memory.time.advanceTimeBy(window);
              return memory.factory.stats().queueDepth() == 0
                  && memory.factory.stats().openRegions() == 0;
            });
      }
    }
  }

  private Samples() {}

  /** Bytes of which no two neighbours are the same. */
  static byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (i * 7 + i / 256 + 1);
    }
    return bytes;
  }

  static Secret create(Memory memory, byte[] bytes) {
    return Objects.requireNonNull(memory.factory.create(bytes).block(Await.TIMEOUT));
  }

  static byte[] read(Secret secret) {
    return Objects.requireNonNull(secret.withBytes(byte[]::clone).block(Await.TIMEOUT));
  }
}
