package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testsupport.Await;
import java.lang.ref.Reference;
import java.lang.ref.WeakReference;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Secrets that the program lost without closing them. What is logged: {@link AlarmIT}. */
class LeakedSecretTest {
  private static final Duration WINDOW = Duration.ofSeconds(1);

  private static byte[] key(int fill) {
    byte[] key = new byte[32];
    Arrays.fill(key, (byte) fill);
    return key;
  }

  private static Secret create(Memory memory, int fill) {
    return memory.factory.create(key(fill)).block(Await.TIMEOUT);
  }

  /** In a method of its own, so that no frame of the test keeps the secret. */
  private static void loseOne(Memory memory, int fill) {
    loseOne(memory, fill, () -> {});
  }

  private static void loseOne(Memory memory, int fill, Runnable before) {
    Secret secret = create(memory, fill);
    assertThat(secret.length()).isEqualTo(32);
    before.run();
    Reference.reachabilityFence(secret);
  }

  private static void loseMany(Memory memory, int count, Runnable before) {
    List<Secret> secrets = IntStream.range(0, count).mapToObj(i -> create(memory, i)).toList();
    before.run();
    Reference.reachabilityFence(secrets);
  }

  private static CompletableFuture<Byte> readAndLose(Memory memory, Secret[] only) {
    CompletableFuture<Byte> read = only[0].withBytes(copy -> copy[31]).toFuture();
    only[0] = null;
    assertThat(memory.factory.stats().liveSecrets()).isOne();
    return read;
  }

  private static byte[] slot(Memory memory, int index) {
    return new Pointer(memory.recording.lastLockedAddress()).getByteArray(index * 32L, 32);
  }

  private static void collectUntilLost(Memory memory, int secrets) {
    Await.until(
        () -> {
          System.gc();
          return memory.factory.stats().leakedSecrets() == secrets;
        });
  }

  /** Returns when the collector has found what was lost before this was called. */
  private static void collect() {
    WeakReference<Object> lost = new WeakReference<>(new Object());
    Await.until(
        () -> {
          System.gc();
          return lost.refersTo(null);
        });
  }

  @Test
  void lostSecret_isWipedAndCounted_andItsSlotIsUsedAgain() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret kept = create(memory, 1);
      loseOne(memory, 2, () -> assertThat(slot(memory, 1)).containsOnly(2));

      collectUntilLost(memory, 1);

      Await.until(() -> memory.factory.stats().queueDepth() == 0);
      assertThat(slot(memory, 1)).containsOnly(0);
      assertThat(memory.factory.stats().liveSecrets()).isOne();
      Secret next = create(memory, 3);
      assertThat(slot(memory, 0)).containsOnly(1);
      assertThat(slot(memory, 1)).containsOnly(3);
      assertThat(memory.factory.stats().lockedBytes()).isEqualTo(Arena.REGION_BYTES);
      Reference.reachabilityFence(kept);
      Reference.reachabilityFence(next);
    }
  }

  @Test
  void closedSecrets_areNotCounted_whenTheyAreCollected() {
    try (Memory memory = new Memory(WINDOW)) {
      for (int i = 0; i < 100; i++) {
        create(memory, i).close();
      }
      Await.until(() -> memory.factory.stats().queueDepth() == 0);
      loseOne(memory, 1);

      // References are found in no order; this one comes with or behind the others.
      collectUntilLost(memory, 1);
      collect();

      assertThat(memory.factory.stats().leakedSecrets()).isOne();
    }
  }

  @Test
  void secretsOfAClosedFactory_areNotCounted() {
    Memory memory = new Memory(WINDOW);
    loseMany(memory, 100, memory::close);

    collect();
    try (Memory other = new Memory(WINDOW)) {
      loseOne(other, 1);
      collectUntilLost(other, 1);
    }

    assertThat(memory.factory.stats().leakedSecrets()).isZero();
    assertThat(memory.factory.stats().liveSecrets()).isZero();
  }

  @Test
  void coldReadUnderWay_keepsTheSecret() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret[] only = {create(memory, 5)};
      memory.time.advanceTimeBy(WINDOW);
      Await.until(() -> memory.factory.stats().openRegions() == 0);
      CountDownLatch stalled = memory.recording.stall();
      CompletableFuture<Byte> read = readAndLose(memory, only);

      for (int i = 0; i < 3; i++) {
        collect();
      }
      // The thread that ends lost secrets has seen whatever was found so far.
      try (Memory other = new Memory(WINDOW)) {
        loseOne(other, 1);
        collectUntilLost(other, 1);
      }
      assertThat(memory.factory.stats().leakedSecrets()).isZero();
      stalled.countDown();

      assertThat(read.orTimeout(30, TimeUnit.SECONDS).join()).isEqualTo((byte) 5);
      collectUntilLost(memory, 1);
    }
  }
}
