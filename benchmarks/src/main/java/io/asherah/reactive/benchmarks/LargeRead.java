package io.asherah.reactive.benchmarks;

import java.nio.ByteBuffer;
import java.time.Duration;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * A secret of 1 MiB whose bytes are taken piece by piece, of 16 KiB each, by all threads. Ours is
 * open and is copied one piece at a time; canonical Java opens it and copies it as a whole.
 */
public class LargeRead {

  @State(Scope.Benchmark)
  public static class Ours {
    private OurSecrets secrets;

    @Setup
    public void create() {
      // Longer than any pause between iterations.
      secrets = new OurSecrets(Duration.ofMinutes(1), 1, Bytes.MEBIBYTE);
    }

    @TearDown
    public void close() {
      secrets.close();
    }
  }

  @State(Scope.Benchmark)
  public static class Canonical {
    private CanonicalSecrets secrets;

    @Setup
    public void create() {
      secrets = new CanonicalSecrets(1, Bytes.MEBIBYTE);
    }

    @TearDown
    public void close() {
      secrets.close();
    }
  }

  private static final class Pieces extends Synchronous<ByteBuffer> {
    @Override
    int valueOf(ByteBuffer piece) {
      return piece.get(piece.limit() - 1);
    }
  }

  @Benchmark
  public int ours(Ours ours) {
    return new Pieces().sumOf(ours.secrets.get(0).chunks(Bytes.CHUNK));
  }

  @Benchmark
  public int canonical(Canonical canonical) {
    return canonical
        .secrets
        .get(0)
        .<Integer>withSecretBytes(
            bytes -> {
              int sum = 0;
              for (int end = Bytes.CHUNK; end <= bytes.length; end += Bytes.CHUNK) {
                sum += bytes[end - 1];
              }
              return sum;
            });
  }
}
