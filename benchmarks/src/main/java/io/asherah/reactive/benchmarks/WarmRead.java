package io.asherah.reactive.benchmarks;

import com.godaddy.asherah.securememory.Secret;
import java.time.Duration;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.infra.ThreadParams;

/**
 * A key that is read again and again. Ours is open from the first read on, so that a read is a copy
 * on the thread of its subscriber; canonical Java opens and closes it around every read.
 */
public class WarmRead {

  @State(Scope.Benchmark)
  public static class Ours {
    @Param public Sharing sharing;
    private OurSecrets secrets;

    @Setup
    public void create(BenchmarkParams run) {
      // Longer than any pause between iterations.
      Duration accessWindow = Duration.ofMinutes(1);
      secrets = new OurSecrets(accessWindow, sharing.secrets(run.getThreads()), Bytes.KEY_LENGTH);
    }

    @TearDown
    public void close() {
      secrets.close();
    }
  }

  @State(Scope.Thread)
  public static class OurReader {
    private final Key key = new Key();
    private io.asherah.reactive.securememory.Secret secret;

    @Setup
    public void pick(Ours ours, ThreadParams thread) {
      secret = ours.secrets.get(ours.sharing.indexOf(thread.getThreadIndex()));
    }
  }

  @State(Scope.Benchmark)
  public static class Canonical {
    @Param public Sharing sharing;
    private CanonicalSecrets secrets;

    @Setup
    public void create(BenchmarkParams run) {
      secrets = new CanonicalSecrets(sharing.secrets(run.getThreads()), Bytes.KEY_LENGTH);
    }

    @TearDown
    public void close() {
      secrets.close();
    }
  }

  @State(Scope.Thread)
  public static class CanonicalReader {
    private Secret secret;

    @Setup
    public void pick(Canonical canonical, ThreadParams thread) {
      secret = canonical.secrets.get(canonical.sharing.indexOf(thread.getThreadIndex()));
    }
  }

  private static final class Key extends Synchronous<Byte> {
    @Override
    int valueOf(Byte last) {
      return last;
    }
  }

  /** With the assembly of the Mono, as a caller has it who reads a key where it needs it. */
  @Benchmark
  public int ours(OurReader reader) {
    return reader.key.sumOf(reader.secret.withBytes(Bytes.LAST));
  }

  @Benchmark
  public int canonical(CanonicalReader reader) {
    return reader.secret.withSecretBytes(Bytes.LAST);
  }
}
