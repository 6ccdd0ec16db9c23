package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.testsupport.Await;
import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.NonBlocking;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class SecretTest {
  private static final Duration WINDOW = Duration.ofSeconds(1);

  private static byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    for (int i = 0; i < length; i++) {
      bytes[i] = (byte) (i * 7 + 1);
    }
    return bytes;
  }

  private static Secret create(Memory memory, byte[] bytes) {
    return memory.factory.create(bytes).block(Await.TIMEOUT);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 31, 32, 4_095, 4_096, 4_097, 100_000})
  void bytes_comeBackAsTheyWere_andTheCallersArrayIsWiped(int length) {
    try (Memory memory = new Memory(WINDOW)) {
      byte[] given = bytes(length);

      Secret secret = create(memory, given);

      assertThat(given).containsOnly(0);
      assertThat(secret.length()).isEqualTo(length);
      StepVerifier.create(secret.withBytes(byte[]::clone))
          .assertNext(copy -> assertThat(copy).isEqualTo(bytes(length)))
          .verifyComplete();
      // A canary of 32 bytes is behind a secret in a region of its own.
      assertThat(memory.factory.stats().lockedBytes())
          .isEqualTo(length <= 4_096 ? 16_384 : (length + 32 + 4_095) / 4_096 * 4_096);
    }
  }

  @Test
  void copy_isWiped_whenTheFunctionReturnsOrThrows() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      AtomicReference<byte[]> kept = new AtomicReference<>();

      StepVerifier.create(
              secret.withBytes(
                  copy -> {
                    kept.set(copy);
                    return copy[0];
                  }))
          .expectNext((byte) 1)
          .verifyComplete();
      assertThat(kept.get()).hasSize(32).containsOnly(0);

      StepVerifier.create(
              secret.withBytes(
                  copy -> {
                    kept.set(copy);
                    throw new IllegalArgumentException("from the function");
                  }))
          .verifyErrorMessage("from the function");
      assertThat(kept.get()).hasSize(32).containsOnly(0);
    }
  }

  @Test
  void nullResult_completesEmpty_warmAndCold() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      StepVerifier.create(secret.withBytes(copy -> null)).verifyComplete();

      memory.letTheWindowPass();
      StepVerifier.create(secret.withBytes(copy -> null)).verifyComplete();
    }
  }

  @Test
  void warmRead_staysOnTheThread_andMakesNoNativeCall() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      int before = memory.recording.count();

      Mono<Boolean> reads =
          Mono.fromCallable(
                  () -> {
                    Thread subscriber = Thread.currentThread();
                    for (int i = 0; i < 10_000; i++) {
                      AtomicReference<Thread> ran = new AtomicReference<>();
                      secret
                          .withBytes(copy -> copy[31])
                          .subscribe(value -> ran.set(Thread.currentThread()));
                      if (ran.get() != subscriber) {
                        return false;
                      }
                    }
                    return subscriber instanceof NonBlocking;
                  })
              .subscribeOn(Schedulers.parallel());

      StepVerifier.create(reads).expectNext(true).verifyComplete();
      assertThat(memory.recording.count()).isEqualTo(before);
    }
  }

  @Test
  void region_isClosedWhenTheWindowHasPassed_andOpenedByTheNextRead() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      assertThat(memory.factory.stats().openRegions()).isOne();

      memory.time.advanceTimeBy(WINDOW.minusNanos(1));
      StepVerifier.create(secret.withBytes(copy -> copy[0])).expectNext((byte) 1).verifyComplete();
      memory.time.advanceTimeBy(WINDOW.minusNanos(1));
      assertThat(memory.factory.stats().openRegions()).isOne();
      // Whether it was used is looked up four times in a window.
      memory.time.advanceTimeBy(WINDOW.dividedBy(4).plusNanos(1));
      Await.until(() -> memory.factory.stats().closes() == 1);
      assertThat(memory.factory.stats().openRegions()).isZero();

      AtomicReference<String> thread = new AtomicReference<>();
      StepVerifier.create(
              secret.withBytes(
                  copy -> {
                    thread.set(Thread.currentThread().getName());
                    return copy[31];
                  }))
          .expectNext(bytes(32)[31])
          .verifyComplete();
      assertThat(thread.get()).startsWith("parallel-");
      assertThat(memory.factory.stats().opens()).isOne();
      assertThat(memory.factory.stats().openRegions()).isOne();
    }
  }

  @Test
  void strictMode_closesAfterEveryRead() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Secret secret = create(memory, bytes(32));
      assertThat(memory.factory.stats().openRegions()).isZero();

      for (int i = 1; i <= 3; i++) {
        StepVerifier.create(secret.withBytes(copy -> copy[0]))
            .expectNext((byte) 1)
            .verifyComplete();
        int reads = i;
        Await.until(() -> memory.factory.stats().closes() == reads);
        assertThat(memory.factory.stats().openRegions()).isZero();
      }
    }
  }

  @Test
  void nativeCalls_runOnTheSecurememoryThreadsOnly() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      memory.letTheWindowPass();
      secret.withBytes(copy -> copy[0]).block(Await.TIMEOUT);
      secret.close();
      memory.returnIdleRegions();

      assertThat(memory.recording.calls())
          .allSatisfy(call -> assertThat(call.thread()).startsWith("asherah-securememory-"));
      assertThat(memory.recording.calls().stream().map(RecordingMemory.Call::name).toList())
          .containsSubsequence(
              "map",
              "protect",
              "lock",
              "excludeFromCoreDumps",
              "excludeFromForks",
              "view",
              "protect",
              "protect",
              "protect",
              "protect",
              "unlock",
              "unmap");
    }
  }

  @Test
  void closedSecret_signalsClosed_fromTheMomentCloseReturns() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      Mono<Byte> read = secret.withBytes(copy -> copy[0]);

      secret.close();
      secret.close();

      assertThat(secret.isClosed()).isTrue();
      assertThat(memory.factory.stats().liveSecrets()).isZero();
      StepVerifier.create(read).verifyError(SecretClosedException.class);
      memory.returnIdleRegions();
      StepVerifier.create(read).verifyError(SecretClosedException.class);
      assertThat(memory.factory.stats().openRegions()).isZero();
    }
  }

  @Test
  @DisabledIfSystemProperty(
      named = "test.emulated",
      matches = "true",
      disabledReason = "QEMU's user emulation does not pass this madvise on to the kernel")
  void region_isLockedAndLeftOutOfDumpsAndForks_saysTheKernel() throws IOException {
    try (Memory memory = new Memory(WINDOW)) {
      create(memory, bytes(32));
      String start = "%x-".formatted(memory.recording.lastLockedAddress());

      // proc(5), VmFlags: locked; do not include in core dump; do not copy on fork.
      List<String> map = Files.readAllLines(Path.of("/proc/self/smaps"));
      int line = 0;
      while (!map.get(line).startsWith(start)) {
        line++;
      }
      while (!map.get(line).startsWith("VmFlags:")) {
        line++;
      }
      assertThat(map.get(line).split(" ")).contains("lo", "dd", "dc").doesNotContain("wr");
    }
  }

  private static ByteBuffer viewOfTheFirstSlot(Memory memory) {
    ByteBuffer view = new Pointer(memory.recording.lastLockedAddress()).getByteBuffer(0, 32);
    assertThat(view.get(0)).isEqualTo((byte) 1);
    return view;
  }

  private static byte[] read(ByteBuffer view) {
    byte[] bytes = new byte[32];
    view.get(0, bytes);
    return bytes;
  }

  @Test
  void slot_isWiped_whenItsSecretIsClosed() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      ByteBuffer view = viewOfTheFirstSlot(memory);

      secret.close();
      Await.until(() -> memory.factory.stats().queueDepth() == 0);

      assertThat(read(view)).containsOnly(0);
    }
  }

  @Test
  void region_isWipedBeforeItIsReturned_whenTheFactoryIsClosed() {
    AtomicReference<byte[]> seen = new AtomicReference<>();
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      ByteBuffer view = viewOfTheFirstSlot(memory);
      memory.recording.beforeNext("unlock", () -> seen.set(read(view)));
      // Not by the collector.
      Reference.reachabilityFence(secret);
    }

    assertThat(seen.get()).containsOnly(0);
  }

  @Test
  void cancelledColdRead_doesNotRunTheFunction_andOthersAreServed() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      memory.letTheWindowPass();
      var stalled = memory.recording.stall();
      AtomicReference<Boolean> ran = new AtomicReference<>(false);

      var cancelled =
          secret
              .withBytes(
                  copy -> {
                    ran.set(true);
                    return copy[0];
                  })
              .subscribe();
      var other = secret.withBytes(copy -> copy[0]).toFuture();
      cancelled.dispose();
      stalled.countDown();

      assertThat(other.orTimeout(30, java.util.concurrent.TimeUnit.SECONDS).join())
          .isEqualTo((byte) 1);
      assertThat(ran.get()).isFalse();
    }
  }

  @Test
  void toString_hidesTheSecretAndItsLength() {
    try (Memory memory = new Memory(WINDOW)) {
      assertThat(create(memory, bytes(32))).hasToString("Secret[****]");
    }
  }

  @Test
  void noBytes_areRefusedAtOnce() {
    try (Memory memory = new Memory(WINDOW)) {
      assertThatThrownBy(() -> memory.factory.create(new byte[0]))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("a secret needs at least one byte");
    }
  }
}
