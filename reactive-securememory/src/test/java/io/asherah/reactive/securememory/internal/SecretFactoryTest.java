package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.MemoryLimitException;
import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryOverloadedException;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.LongSupplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class SecretFactoryTest {
  private static final Duration WINDOW = Duration.ofSeconds(1);

  private static byte[] key() {
    byte[] key = new byte[32];
    java.util.Arrays.fill(key, (byte) 7);
    return key;
  }

  private static LockedSecretFactory factoryWithTicker(LongSupplier ticker) {
    return new LockedSecretFactory(
        new RecordingMemory().memory(),
        Memory.settings(WINDOW, 10),
        ticker,
        null,
        Schedulers.parallel());
  }

  @ParameterizedTest
  @CsvSource({
    "pageSize, 1",
    "map, 1",
    "protect, 1",
    "excludeFromCoreDumps, 1",
    "excludeFromForks, 1",
    "view, 1",
    "protect, 2"
  })
  void failedCall_undoesTheStepsBeforeIt_andLeavesTheCallersArray(String call, int nth) {
    try (Memory memory = new Memory(WINDOW)) {
      memory.recording.failNext(call, nth);
      byte[] key = key();

      StepVerifier.create(memory.factory.create(key)).verifyError(NativeCallException.class);

      assertThat(key).isEqualTo(key());
      Await.until(() -> memory.factory.stats().lockedBytes() == 0);
      assertThat(memory.recording.count("unlock")).isEqualTo(memory.recording.count("lock"));
      assertThat(memory.recording.count("unmap"))
          .isEqualTo(call.equals("map") ? 0 : memory.recording.count("map"));
      assertThat(memory.factory.stats().liveSecrets()).isZero();
      assertThat(memory.factory.stats().lockedBytes()).isZero();
      assertThat(memory.factory.stats().openRegions()).isZero();
      assertThat(memory.factory.stats().pendingCreations()).isZero();

      StepVerifier.create(memory.factory.create(key)).expectNextCount(1).verifyComplete();
    }
  }

  @Test
  void refusedLock_namesLimitNeedAndFix() {
    try (Memory memory = new Memory(WINDOW)) {
      // A whole region, and the single page that is tried then.
      memory.recording.failNext("lock", 1);
      memory.recording.failNext("lock", 2);

      StepVerifier.create(memory.factory.create(key()))
          .verifyErrorSatisfies(
              e ->
                  assertThat(e)
                      .isInstanceOf(MemoryLimitException.class)
                      .hasMessageContaining("cannot lock 4096 more bytes")
                      .hasMessageContaining("ulimit -l"));
      assertThat(memory.recording.count("unmap")).isEqualTo(2);
      assertThat(memory.recording.count("unlock")).isZero();
    }
  }

  @Test
  void failedOpen_isSignalledToTheReader_andTheNextReadSucceeds() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Secret secret = memory.factory.create(key()).block(Await.TIMEOUT);
      // Each second read comes as soon as the first one was told.
      for (int round = 0; round < 1_000; round++) {
        memory.recording.failNext("protect", 1);

        StepVerifier.create(secret.withBytes(copy -> copy[0]))
            .verifyError(NativeCallException.class);
        StepVerifier.create(secret.withBytes(copy -> copy[0]))
            .expectNext((byte) 7)
            .verifyComplete();
        int reads = round + 1;
        Await.until(() -> memory.factory.stats().closes() == reads);
      }
    }
  }

  @Test
  void failedClose_keepsTheRegionReadable_andIsTriedAgain() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = memory.factory.create(key()).block(Await.TIMEOUT);
      int protects = memory.recording.count("protect");
      memory.recording.failNext("protect", 1);

      memory.time.advanceTimeBy(WINDOW);
      Await.until(() -> memory.recording.count("protect") == protects + 1);
      StepVerifier.create(secret.withBytes(copy -> copy[0])).expectNext((byte) 7).verifyComplete();

      Await.until(
          () -> {
            memory.time.advanceTimeBy(WINDOW);
            return memory.factory.stats().openRegions() == 0;
          });
    }
  }

  @ParameterizedTest
  @CsvSource({"protect", "unlock"})
  void failedStepOfRelease_doesNotKeepTheOthersFromRunning(String call) {
    Memory memory = new Memory(WINDOW);
    Secret secret = memory.factory.create(key()).block(Await.TIMEOUT);
    memory.recording.failNext(call, 1);

    secret.close();
    memory.close();

    assertThat(memory.recording.count("unmap")).isOne();
  }

  @Test
  void surplusCreations_areRefused_whileReadsAndClosesStillRun() {
    try (Memory memory = new Memory(Duration.ZERO, 8)) {
      Secret secret = memory.factory.create(key()).block(Await.TIMEOUT);
      Secret closing = memory.factory.create(key()).block(Await.TIMEOUT);
      CountDownLatch stalled = memory.recording.stall();

      List<CompletableFuture<Secret>> creations = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        creations.add(memory.factory.create(key()).toFuture());
      }
      CompletableFuture<Byte> read = secret.withBytes(copy -> copy[0]).toFuture();
      closing.close();

      List<CompletableFuture<Secret>> refused =
          creations.stream().filter(CompletableFuture::isCompletedExceptionally).toList();
      assertThat(refused).hasSize(12);
      assertThatThrownBy(() -> refused.get(0).join())
          .hasCauseInstanceOf(SecureMemoryOverloadedException.class);
      assertThat(memory.factory.stats().pendingCreations()).isEqualTo(8);

      stalled.countDown();
      assertThat(read.orTimeout(30, TimeUnit.SECONDS).join()).isEqualTo((byte) 7);
      Await.until(() -> memory.factory.stats().liveSecrets() == 9);
      Await.until(() -> memory.factory.stats().queueDepth() == 0);
    }
  }

  @Test
  void cancelledCreations_leaveNothing_atWhateverMomentTheyAreCancelled() {
    try (Memory memory = new Memory(WINDOW, 100_000)) {
      for (int i = 0; i < 2_000; i++) {
        Disposable creation = memory.factory.create(key()).subscribe();
        for (int spin = 0; spin < i % 500 * 40; spin++) {
          Thread.onSpinWait();
        }
        creation.dispose();
      }
      // Some were cancelled after their end, and are this test's to close; the factory closes them.
    }
  }

  @Test
  void cancelledCreation_isReleased_whenItWasDoneButNotYetHandedOver() {
    Queue<Runnable> handovers = new ConcurrentLinkedQueue<>();
    LockedSecretFactory factory =
        new LockedSecretFactory(
            new RecordingMemory().memory(),
            Memory.settings(WINDOW, 10),
            System::nanoTime,
            Schedulers.parallel(),
            Schedulers.fromExecutor(handovers::add));
    Disposable creation = factory.create(key()).subscribe();
    Await.until(() -> handovers.size() == 1);
    assertThat(factory.stats().liveSecrets()).isOne();

    creation.dispose();

    Await.until(() -> factory.stats().liveSecrets() == 0);
    // Its end is announced to the queue, which nobody works off.
    factory.close().subscribe();
    Await.until(() -> factory.stats().lockedBytes() == 0);
  }

  @Test
  void cancelledCreation_isReleased_whenItWasUnderWay() {
    try (Memory memory = new Memory(WINDOW)) {
      CountDownLatch stalled = memory.recording.stall();
      Disposable creation = memory.factory.create(key()).subscribe();
      Await.until(() -> memory.recording.count() > 0);

      creation.dispose();
      stalled.countDown();

      Await.until(() -> memory.factory.stats().pendingCreations() == 0);
      Await.until(() -> memory.factory.stats().liveSecrets() == 0);
    }
  }

  @Test
  void close_endsAllSecrets_andRefusesNewOnes() {
    Memory memory = new Memory(WINDOW);
    List<Secret> secrets =
        Flux.range(0, 100)
            .flatMap(i -> memory.factory.create(key()))
            .collectList()
            .block(Await.TIMEOUT);
    assertThat(memory.factory.stats().liveSecrets()).isEqualTo(100);

    memory.close();
    memory.close();

    assertThat(secrets).allMatch(Secret::isClosed);
    StepVerifier.create(memory.factory.create(key())).verifyError(SecretClosedException.class);
    StepVerifier.create(secrets.get(0).withBytes(copy -> copy[0]))
        .verifyError(SecretClosedException.class);
  }

  /**
   * Found with Schedulers.newBoundedElastic, where the late task span in the scheduler for ever.
   */
  @Test
  void readsAndCreationsThatMeetClose_end() {
    for (int round = 0; round < 300; round++) {
      Memory memory = new Memory(Duration.ZERO);
      Secret secret = memory.factory.create(key()).block(Await.TIMEOUT);
      Mono<Void> late =
          Flux.merge(
                  Mono.defer(() -> secret.withBytes(copy -> copy[0]))
                      .repeat()
                      .subscribeOn(Schedulers.parallel())
                      .onErrorComplete(SecretClosedException.class),
                  Mono.defer(() -> memory.factory.create(key()))
                      .repeat()
                      .subscribeOn(Schedulers.parallel())
                      .onErrorComplete(SecretClosedException.class))
              .then();
      CompletableFuture<Void> ended = late.toFuture();

      memory.close();

      ended.orTimeout(30, TimeUnit.SECONDS).join();
    }
  }

  @Test
  void close_ofAnUnusedFactory_completesWithoutANativeCall() {
    Memory memory = new Memory(WINDOW);

    memory.close();

    assertThat(memory.recording.count()).isZero();
  }

  @Test
  void nothing_happensBeforeASubscription() {
    try (Memory memory = new Memory(WINDOW)) {
      for (int i = 0; i < 1_000; i++) {
        Mono<Secret> assembled = memory.factory.create(key());
        assertThat(assembled).isNotNull();
      }
      assertThat(memory.recording.count()).isZero();
      assertThat(memory.factory.stats().pendingCreations()).isZero();
    }
  }

  /** The window is measured by the ticker that was given, and watched by our own threads. */
  @Test
  void defaultTimer_closesIdleRegions() {
    AtomicLong nanos = new AtomicLong();
    SecretFactory factory =
        SecretFactory.builder().accessWindow(Duration.ofMillis(10)).ticker(nanos::get).build();
    factory.create(key()).block(Await.TIMEOUT);
    assertThat(factory.stats().openRegions()).isOne();

    nanos.addAndGet(Duration.ofMillis(10).toNanos());

    Await.until(() -> factory.stats().openRegions() == 0);
    factory.close().block(Await.TIMEOUT);
  }

  /** The ticker is read in the middle of a creation: here somebody closes the factory just then. */
  @Test
  void closeInTheMiddleOfACreation_leavesNothingReadable() {
    AtomicReference<Runnable> onTick = new AtomicReference<>(() -> {});
    LockedSecretFactory factory =
        factoryWithTicker(
            () -> {
              onTick.get().run();
              return 0;
            });
    onTick.set(
        () -> {
          onTick.set(() -> {});
          factory.close().subscribe();
        });

    Secret secret = factory.create(key()).block(Await.TIMEOUT);

    assertThat(secret.isClosed()).isTrue();
    StepVerifier.create(secret.withBytes(copy -> copy[0])).verifyError(SecretClosedException.class);
    factory.close().block(Await.TIMEOUT);
    assertThat(factory.stats().lockedBytes()).isZero();
    assertThat(factory.stats().openRegions()).isZero();
  }

  @Test
  void creationsThatRaceWithClose_endClosedOrNotAtAll() {
    for (int round = 0; round < 1_000; round++) {
      SecretFactory factory = SecretFactory.builder().build();
      CompletableFuture<List<Secret>> creations =
          Flux.range(0, 8)
              .flatMap(
                  i ->
                      factory
                          .create(key())
                          .onErrorResume(SecretClosedException.class, e -> Mono.empty()))
              .collectList()
              .toFuture();
      for (int spin = 0; spin < round; spin++) {
        Thread.onSpinWait();
      }

      factory.close().block(Await.TIMEOUT);

      assertThat(creations.orTimeout(30, TimeUnit.SECONDS).join())
          .allSatisfy(
              secret -> {
                assertThat(secret.isClosed()).isTrue();
                StepVerifier.create(secret.withBytes(copy -> copy[0]))
                    .verifyError(SecretClosedException.class);
              });
      assertThat(factory.stats().lockedBytes()).isZero();
      assertThat(factory.stats().liveSecrets()).isZero();
      assertThat(factory.stats().openRegions()).isZero();
    }
  }

  @Test
  void failingTicker_isAnError_andLeavesNothing() {
    LockedSecretFactory factory =
        factoryWithTicker(
            () -> {
              throw new IllegalStateException("the clock broke");
            });

    StepVerifier.create(factory.create(key())).verifyErrorMessage("the clock broke");
    Await.until(() -> factory.stats().lockedBytes() == 0);
    factory.close().block(Await.TIMEOUT);
  }

  @Test
  void builder_refusesWhatMakesNoSense() {
    assertThatThrownBy(() -> SecretFactory.builder().accessWindow(Duration.ofMillis(-1)))
        .hasMessage("accessWindow must be between zero and one hour, was PT-0.001S");
    assertThatThrownBy(() -> SecretFactory.builder().maxPendingCreations(0))
        .hasMessage("maxPendingCreations must be at least 1, was 0");
  }

  @Test
  void defaultFactory_worksOnThisMachine() {
    SecretFactory factory = SecretFactory.builder().build();
    StepVerifier.create(factory.create(key()).flatMap(secret -> secret.withBytes(copy -> copy[31])))
        .expectNext((byte) 7)
        .verifyComplete();
    factory.close().block(Await.TIMEOUT);
  }
}
