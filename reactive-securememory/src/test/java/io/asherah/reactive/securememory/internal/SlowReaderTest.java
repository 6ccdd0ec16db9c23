package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.test.StepVerifier;

/**
 * The operating system takes a reader off its processor in the middle of its copy. What such a
 * reader makes of what it has copied by then is in SecretStressTest.
 */
class SlowReaderTest {
  private static final Duration WINDOW = Duration.ofSeconds(1);

  private final Memory memory = new Memory(WINDOW);
  private final RecordingMemory recording = memory.recording;
  private final LockedSecretFactory factory = memory.factory;
  private final Secret secret = create(7);
  private final LockedRegion region = ((LockedSecret) secret).slot.region;

  private static byte[] key(int fill) {
    byte[] key = new byte[32];
    Arrays.fill(key, (byte) fill);
    return key;
  }

  private Secret create(int fill) {
    return factory.create(key(fill)).block(Await.TIMEOUT);
  }

  private byte[] firstSlot() {
    return new Pointer(recording.lastLockedAddress()).getByteArray(0, 32);
  }

  private void awaitIdle() {
    Await.until(() -> factory.stats().queueDepth() == 0);
  }

  @AfterEach
  void end() {
    memory.close();
    assertThat(factory.stats().openRegions()).isZero();
  }

  @Test
  void purge_wipesAtOnce_butReturnsTheMemoryOnlyBehindTheReader() {
    assertThat(region.pin()).isTrue();

    CompletableFuture<Void> closed = factory.close().toFuture();

    Await.until(() -> factory.stats().liveSecrets() == 0);
    awaitIdle();
    assertThat(firstSlot()).containsOnly(0);
    assertThat(recording.count("unlock")).isZero();
    assertThat(recording.count("unmap")).isZero();
    assertThat(closed).isNotDone();

    region.unpin();
    closed.orTimeout(30, TimeUnit.SECONDS).join();
    assertThat(recording.count("unmap")).isOne();
  }

  @Test
  void window_isNotClosedUnderTheReader() {
    assertThat(region.pin()).isTrue();

    memory.time.advanceTimeBy(WINDOW.multipliedBy(2));
    awaitIdle();
    assertThat(factory.stats().closes()).isZero();
    assertThat(factory.stats().openRegions()).isOne();
    assertThat(firstSlot()).containsOnly(7);

    region.unpin();
    Await.until(
        () -> {
          memory.time.advanceTimeBy(WINDOW);
          return factory.stats().openRegions() == 0;
        });
  }

  @Test
  void close_wipesAtOnce_andTheNextSecretGetsTheSlot() {
    assertThat(region.pin()).isTrue();

    secret.close();
    awaitIdle();
    assertThat(firstSlot()).containsOnly(0);
    Secret next = create(9);
    assertThat(firstSlot()).containsOnly(9);

    region.unpin();
    StepVerifier.create(secret.withBytes(copy -> copy[0])).verifyError(SecretClosedException.class);
    StepVerifier.create(next.contentEquals(key(9))).expectNext(true).verifyComplete();
  }
}
