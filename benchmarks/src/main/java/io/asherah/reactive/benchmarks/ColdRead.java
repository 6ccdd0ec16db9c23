package io.asherah.reactive.benchmarks;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import java.time.Duration;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * A key that is read while its memory is closed: it is opened, copied and closed again around every
 * read, which is the strict mode of ours and what canonical Java always does. Each thread has a
 * secret of its own, since threads that read the same one open it for each other.
 */
public class ColdRead {

  @State(Scope.Thread)
  public static class Ours {
    private SecretFactory factory;
    private Secret secret;
    private long reads;

    @Setup
    public void create() {
      factory = SecretFactory.builder().accessWindow(Duration.ZERO).build();
      secret = factory.create(Bytes.random(Bytes.KEY_LENGTH)).block();
    }

    @TearDown
    public void close() {
      long opens = factory.stats().opens();
      factory.close().block();
      if (opens != reads) {
        throw new IllegalStateException(reads + " reads opened the memory " + opens + " times");
      }
    }
  }

  @State(Scope.Thread)
  public static class Canonical {
    private CanonicalSecrets secrets;

    @Setup
    public void create() {
      secrets = new CanonicalSecrets(1, Bytes.KEY_LENGTH);
    }

    @TearDown
    public void close() {
      secrets.close();
    }
  }

  /**
   * Waits for the read and until the memory is closed again, since the next read was not a cold one
   * otherwise. The hops to the securememory scheduler and to the continuation scheduler are part of
   * what is measured, and so is the wake-up of the thread that waits. An event loop does something
   * else meanwhile.
   */
  @Benchmark
  public Byte ours(Ours ours) {
    ours.reads++;
    Byte last = ours.secret.withBytes(Bytes.LAST).block();
    while (ours.factory.stats().openRegions() != 0) {
      Thread.yield();
    }
    return last;
  }

  @Benchmark
  public Byte canonical(Canonical canonical) {
    return canonical.secrets.get(0).withSecretBytes(Bytes.LAST);
  }
}
