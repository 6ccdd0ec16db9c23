package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.Enclave;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.SteadyTimeScheduler;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

/** A region survives what goes wrong around it: system calls, the user's clock and code. */
class RegionRobustnessTest {
  private static final Duration WINDOW = Duration.ofSeconds(1);

  private static Secret create(LockedSecretFactory factory, int length) {
    return factory.create(new byte[length]).block(Await.TIMEOUT);
  }

  @Test
  void failedCloseAfterAStrictRead_isTriedAgain() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Secret secret = create(memory.factory, 32);
      memory.recording.failNext("protect", 2);

      StepVerifier.create(secret.withBytes(copy -> copy[0])).expectNext((byte) 0).verifyComplete();
      memory.settle();

      Await.until(
          () -> {
            memory.time.advanceTimeBy(WINDOW);
            memory.settle();
            return !memory.recording.pages().containsValue(Access.READ);
          });
      memory.settle();
      assertThat(memory.factory.stats().closes()).isEqualTo(memory.factory.stats().opens());
    }
  }

  @Test
  void failedCloseAfterAStrictRead_isNoErrorOfSomeoneElse() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Secret secret = create(memory.factory, 32);
      // The second caller comes while the pages of the first one fail to be closed.
      memory.recording.failNext("protect", 2);
      AtomicBoolean second = new AtomicBoolean();
      CompletableFuture<Byte> other = new CompletableFuture<>();
      memory.recording.beforeNext(
          "protect",
          () ->
              memory.recording.beforeNext(
                  "protect",
                  () -> {
                    if (second.compareAndSet(false, true)) {
                      secret
                          .withBytes(copy -> copy[0])
                          .subscribe(other::complete, other::completeExceptionally);
                    }
                  }));

      StepVerifier.create(secret.withBytes(copy -> copy[0])).expectNext((byte) 0).verifyComplete();

      assertThat(other.orTimeout(30, TimeUnit.SECONDS).join()).isZero();
    }
  }

  private static final class Clock {
    final SteadyTimeScheduler time = new SteadyTimeScheduler();
    final AtomicBoolean broken = new AtomicBoolean();
    final AtomicLong asked = new AtomicLong();
    final RecordingMemory recording = new RecordingMemory();
    final LockedSecretFactory factory =
        new LockedSecretFactory(
            recording.memory(),
            Memory.settings(WINDOW, 10),
            () -> {
              asked.incrementAndGet();
              if (broken.get()) {
                throw new IllegalStateException("the clock broke");
              }
              return time.now(TimeUnit.NANOSECONDS);
            },
            time,
            Schedulers.parallel());
  }

  @Test
  void clockThatFailsWhileARegionIsWatched_doesNotKeepItOpenForEver() {
    Clock clock = new Clock();
    create(clock.factory, 32);
    clock.broken.set(true);
    long before = clock.asked.get();
    clock.time.advanceTimeBy(WINDOW);
    Await.until(() -> clock.asked.get() > before);
    clock.broken.set(false);

    Await.until(
        () -> {
          clock.time.advanceTimeBy(WINDOW);
          return clock.factory.stats().openRegions() == 0;
        });
    clock.factory.close().block(Await.TIMEOUT);
  }

  @Test
  void clockThatFailsDuringAColdRead_leavesNothingReadable() {
    Clock clock = new Clock();
    Secret secret = create(clock.factory, 32);
    Await.until(
        () -> {
          clock.time.advanceTimeBy(WINDOW);
          return clock.factory.stats().openRegions() == 0;
        });
    clock.broken.set(true);

    StepVerifier.create(secret.withBytes(copy -> copy[0])).expectNext((byte) 0).verifyComplete();

    Await.until(() -> clock.factory.stats().queueDepth() == 0);
    clock.broken.set(false);
    Await.until(
        () -> {
          clock.time.advanceTimeBy(WINDOW);
          return !clock.recording.pages().containsValue(Access.READ);
        });
    clock.factory.close().block(Await.TIMEOUT);
  }

  private static Runnable anError() {
    return () -> {
      throw new Error("no refusal, as OutOfMemoryError is none");
    };
  }

  @Test
  void errorInsteadOfARefusal_isSignalled_inAnOpenAndInAClosedRegion() {
    for (Duration window : new Duration[] {Duration.ZERO, WINDOW}) {
      try (Memory memory = new Memory(window)) {
        Secret secret = create(memory.factory, 32);
        memory.recording.beforeNext("protect", anError());
        StepVerifier.create(memory.factory.create(new byte[] {1})).verifyError(Error.class);
        memory.settle();
        memory.letTheWindowPass();
        // A region counts as closed before the system has closed it.
        Await.until(() -> !memory.recording.pages().containsValue(Access.READ));
        memory.recording.beforeNext("protect", anError());
        StepVerifier.create(secret.withBytes(copy -> copy[0])).verifyError(Error.class);
        memory.settle();

        StepVerifier.create(secret.withBytes(copy -> copy[0]))
            .expectNext((byte) 0)
            .verifyComplete();
        Secret another = create(memory.factory, 1);
        assertThat(memory.factory.stats().liveSecrets()).isEqualTo(2);
        another.close();
      }
    }
  }

  @Test
  void errorInsteadOfARefusal_doesNotKeepARegionOpen_norASlotUnwiped() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory.factory, 32);
      Secret closing = create(memory.factory, 32);
      memory.settle();
      memory.recording.beforeNext("protect", anError());
      closing.close();
      memory.settle();
      memory.time.advanceTimeBy(WINDOW);
      memory.settle();
      assertThat(SecretSlots.slotOf(create(memory.factory, 32)).offset).isEqualTo(32);
      memory.settle();

      memory.recording.beforeNext("protect", anError());
      Await.until(
          () -> {
            memory.time.advanceTimeBy(WINDOW);
            memory.settle();
            return memory.factory.stats().openRegions() == 0
                && !memory.recording.pages().containsValue(Access.READ);
          });
      StepVerifier.create(secret.withBytes(copy -> copy[0])).expectNext((byte) 0).verifyComplete();
      memory.settle();
      assertThat(memory.factory.stats().openRegions()).isOne();
    }
  }

  /** No receiver does, but one that would must not silence the others. */
  @Test
  void receiverThatThrows_isNoHarmToOthers() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Secret secret = create(memory.factory, 32);
      Slot slot = SecretSlots.slotOf(secret);
      CountDownLatch stalled = memory.recording.stall();
      CompletableFuture<byte[]> first = new CompletableFuture<>();
      CompletableFuture<byte[]> last = new CompletableFuture<>();
      slot.region.coldRead(slot, 0, 1, Receiver.of(first::complete, first::completeExceptionally));
      for (Error error : new Error[] {new LinkageError("the user's"), new AssertionError()}) {
        slot.region.coldRead(
            slot,
            0,
            1,
            Receiver.of(
                copy -> {
                  throw error;
                },
                e -> {
                  throw error;
                }));
      }
      slot.region.coldRead(slot, 0, 1, Receiver.of(last::complete, last::completeExceptionally));
      stalled.countDown();

      assertThat(first.orTimeout(30, TimeUnit.SECONDS).join()).hasSize(1);
      assertThat(last.orTimeout(30, TimeUnit.SECONDS).join()).hasSize(1);
      memory.settle();
      assertThat(memory.recording.pages()).doesNotContainValue(Access.READ);
      StepVerifier.create(secret.withBytes(copy -> copy[0])).expectNext((byte) 0).verifyComplete();
    }
  }

  /** The copy of a large secret may not fit on the heap: here it never does. */
  @Test
  void copyThatDoesNotFitOnTheHeap_failsItsReader_andNobodyElse() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Secret secret = create(memory.factory, 32);
      Slot slot = SecretSlots.slotOf(secret);
      CountDownLatch stalled = memory.recording.stall();
      CompletableFuture<byte[]> tooLarge = new CompletableFuture<>();
      CompletableFuture<byte[]> other = new CompletableFuture<>();
      slot.region.coldRead(
          slot,
          0,
          Integer.MAX_VALUE,
          Receiver.of(tooLarge::complete, tooLarge::completeExceptionally));
      slot.region.coldRead(slot, 0, 1, Receiver.of(other::complete, other::completeExceptionally));
      stalled.countDown();

      assertThat(other.orTimeout(30, TimeUnit.SECONDS).join()).hasSize(1);
      assertThat(tooLarge.orTimeout(30, TimeUnit.SECONDS)).isCompletedExceptionally();
      memory.settle();
      assertThat(memory.recording.pages()).doesNotContainValue(Access.READ);
    }
  }

  @Test
  void rekeyThatFailed_isTriedAgain() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      byte[] bytes = {1, 2, 3};
      Enclave enclave = memory.factory.seal(bytes).block(Await.TIMEOUT);
      memory.settle();
      memory.recording.failNext("protect", 1);
      int failing = memory.recording.count();
      memory.time.advanceTimeBy(Duration.ofSeconds(1));
      Await.until(() -> memory.recording.count() > failing);
      memory.settle();

      int before = memory.recording.count();
      memory.time.advanceTimeBy(Duration.ofSeconds(1));

      Await.until(() -> memory.recording.count() > before);
      StepVerifier.create(enclave.open().flatMap(secret -> secret.withBytes(byte[]::clone)))
          .assertNext(opened -> assertThat(opened).containsExactly(1, 2, 3))
          .verifyComplete();
    }
  }
}
