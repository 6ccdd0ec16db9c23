package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecureMemoryException;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.test.StepVerifier;

/** Something else in the process has written to locked memory. What is logged: {@link AlarmIT}. */
class CanaryTest {
  private static final Duration WINDOW = Duration.ofSeconds(1);

  private static byte[] key(int length) {
    byte[] key = new byte[length];
    Arrays.fill(key, (byte) 7);
    return key;
  }

  private static Secret create(Memory memory, int length) {
    return memory.factory.create(key(length)).block(Await.TIMEOUT);
  }

  /** Writes one byte of an open region, as a library with a bug would do it. */
  static void overwrite(long region, int offset) {
    NativeMemory system = Platforms.memory(false);
    Pointer pointer = new Pointer(region);
    system.protect(region, Arena.REGION_BYTES, Access.READ_WRITE);
    pointer.setByte(offset, (byte) ~pointer.getByte(offset));
    system.protect(region, Arena.REGION_BYTES, Access.READ);
  }

  @ParameterizedTest
  @ValueSource(ints = {16_384 - 32, 16_384 - 1})
  void overwrittenCanary_isDetectedOnFree_andEndsEverySecretOfTheRegion(int offset) {
    try (Memory memory = new Memory(WINDOW)) {
      Secret elsewhere = create(memory, 5_000);
      Secret freed = create(memory, 32);
      Secret neighbour = create(memory, 32);
      overwrite(memory.recording.lastLockedAddress(), offset);

      freed.close();

      Await.until(() -> memory.factory.stats().corruptedRegions() == 1);
      Await.until(() -> memory.factory.stats().lockedBytes() == 8_192);
      assertThat(neighbour.isClosed()).isTrue();
      StepVerifier.create(neighbour.withBytes(copy -> copy[0]))
          .verifyError(SecretClosedException.class);
      assertThat(memory.factory.stats().liveSecrets()).isOne();
      StepVerifier.create(elsewhere.contentEquals(key(5_000))).expectNext(true).verifyComplete();

      Secret next = create(memory, 32);
      StepVerifier.create(next.contentEquals(key(32))).expectNext(true).verifyComplete();
      next.close();
      elsewhere.close();
      memory.returnIdleRegions();
      assertThat(memory.factory.stats().corruptedRegions()).isOne();
    }
  }

  @Test
  void overwrittenCanary_isDetectedOnCreation_whichFailsAndLeavesTheCallersArray() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret neighbour = create(memory, 32);
      overwrite(memory.recording.lastLockedAddress(), 16_384 - 32);
      byte[] key = key(32);

      StepVerifier.create(memory.factory.create(key))
          .verifyErrorSatisfies(
              e ->
                  assertThat(e)
                      .isInstanceOf(SecureMemoryException.class)
                      .hasMessageStartingWith("the canary of a locked region was overwritten"));

      assertThat(key).isEqualTo(key(32));
      assertThat(neighbour.isClosed()).isTrue();
      Await.until(() -> memory.factory.stats().lockedBytes() == 0);
      assertThat(memory.factory.stats().liveSecrets()).isZero();
      assertThat(memory.factory.stats().corruptedRegions()).isOne();
    }
  }

  @Test
  void overwrittenCanary_isDetectedWhenTheRegionIsClosed() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, 32);
      overwrite(memory.recording.lastLockedAddress(), 16_384 - 1);

      memory.letTheWindowPass();

      Await.until(() -> memory.factory.stats().corruptedRegions() == 1);
      assertThat(secret.isClosed()).isTrue();
      Await.until(() -> memory.factory.stats().lockedBytes() == 0);
    }
  }

  /** It was given a slot of the region that is found corrupt before its turn comes. */
  @Test
  void creationThatWaitsForACorruptRegion_failsForTheSameReason() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret freed = create(memory, 32);
      Secret neighbour = create(memory, 32);
      overwrite(memory.recording.lastLockedAddress(), 16_384 - 32);
      AtomicReference<CompletableFuture<Secret>> waiting = new AtomicReference<>();
      memory.recording.beforeNext(
          "protect",
          () -> {
            waiting.set(memory.factory.create(key(32)).toFuture());
            // All that is left on the scheduler is the task that is here.
            Await.until(() -> memory.factory.stats().queueDepth() == 1);
          });

      freed.close();

      Await.until(() -> waiting.get() != null && waiting.get().isDone());
      assertThatThrownBy(() -> waiting.get().join())
          .cause()
          .isInstanceOf(SecureMemoryException.class)
          .hasMessageStartingWith("the canary of a locked region was overwritten");
      assertThat(neighbour.isClosed()).isTrue();
    }
  }

  @Test
  void corruptRegion_isWipedBeforeItIsReturned() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret freed = create(memory, 32);
      Secret neighbour = create(memory, 32);
      long region = memory.recording.lastLockedAddress();
      overwrite(region, 16_384 - 32);
      byte[] seen = new byte[64];
      Arrays.fill(seen, (byte) 1);
      memory.recording.beforeNext("unlock", () -> new Pointer(region).read(0, seen, 0, 64));

      freed.close();

      Await.until(() -> memory.factory.stats().lockedBytes() == 0);
      assertThat(seen).containsOnly(0);
      assertThat(neighbour.isClosed()).isTrue();
    }
  }

  @Test
  void byteBeforeTheCanary_isNotWatched_asItBelongsToASlot() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret freed = create(memory, 32);
      Secret neighbour = create(memory, 32);
      overwrite(memory.recording.lastLockedAddress(), 16_384 - 33);

      freed.close();

      Await.until(() -> memory.factory.stats().queueDepth() == 0);
      assertThat(memory.factory.stats().corruptedRegions()).isZero();
      StepVerifier.create(neighbour.contentEquals(key(32))).expectNext(true).verifyComplete();
    }
  }
}
