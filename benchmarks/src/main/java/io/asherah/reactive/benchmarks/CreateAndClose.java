package io.asherah.reactive.benchmarks;

import com.godaddy.asherah.securememory.TransientSecretFactory;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** The life of a key that is never read. */
public class CreateAndClose {

  @State(Scope.Benchmark)
  public static class Ours {
    private final SecretFactory factory = SecretFactory.builder().build();

    @TearDown
    public void close() {
      factory.close().block();
    }
  }

  @State(Scope.Benchmark)
  public static class Canonical {
    private final com.godaddy.asherah.securememory.SecretFactory factory =
        new TransientSecretFactory();
  }

  /** Both implementations wipe the array that they are given, so each secret needs a new one. */
  private static byte[] key() {
    byte[] key = new byte[Bytes.KEY_LENGTH];
    key[Bytes.KEY_LENGTH - 1] = 1;
    return key;
  }

  /**
   * Waits for the secret: the hops to the securememory scheduler and to the continuation scheduler
   * are part of what is measured, and so is the wake-up of the thread that waits. Closing returns
   * before the memory was returned to the system; since that happens on the scheduler that the next
   * creation needs, it limits the throughput all the same.
   */
  @Benchmark
  public int ours(Ours ours) {
    try (Secret secret = ours.factory.create(key()).block()) {
      return secret.length();
    }
  }

  @Benchmark
  public com.godaddy.asherah.securememory.Secret canonical(Canonical canonical) {
    com.godaddy.asherah.securememory.Secret secret = canonical.factory.createSecret(key());
    secret.close();
    return secret;
  }
}
