package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryOverloadedException;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import io.asherah.reactive.testsupport.Await;
import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

/** Many at once. */
class SecureMemoryLoadTest {
  private static final Duration WINDOW = Duration.ofSeconds(1);

  private static byte[] key(int value) {
    byte[] key = new byte[32];
    Arrays.fill(key, (byte) value);
    return key;
  }

  private static Secret create(Memory memory, int value) {
    return memory.factory.create(key(value)).block(Await.TIMEOUT);
  }

  private static <T> T join(CompletableFuture<T> future) {
    return future.orTimeout(30, TimeUnit.SECONDS).join();
  }

  @Test
  void freedSlot_isWipedAndUsedAgain_inOneTask_whileOthersOfTheRegionAreRead() {
    int readers = 16;
    try (Memory memory = new Memory(WINDOW)) {
      Secret freed = create(memory, 99);
      List<Secret> others = new ArrayList<>();
      for (int i = 0; i < readers; i++) {
        others.add(create(memory, i + 1));
      }
      memory.settle();
      Slot slot = SecretSlots.slotOf(freed);
      ByteBuffer view =
          new Pointer(memory.recording.lastLockedAddress() + slot.offset).getByteBuffer(0, 32);
      AtomicBoolean stop = new AtomicBoolean();
      AtomicLong reads = new AtomicLong();
      Queue<String> wrong = new ConcurrentLinkedQueue<>();
      Set<Thread> ours = ConcurrentHashMap.newKeySet();
      ours.add(Thread.currentThread());
      CountDownLatch started = new CountDownLatch(readers);
      CountDownLatch ended = new CountDownLatch(readers);
      for (Secret other : others) {
        Thread thread =
            new Thread(
                () -> {
                  try {
                    started.countDown();
                    while (!stop.get()) {
                      other
                          .withBytes(copy -> SecretSlots.allAre(copy, copy[0]) && copy[0] != 0)
                          .subscribe(
                              right -> {
                                reads.incrementAndGet();
                                if (!right) {
                                  wrong.add("wrong bytes");
                                }
                              },
                              e -> wrong.add(e.toString()));
                    }
                  } finally {
                    ended.countDown();
                  }
                });
        thread.setDaemon(true);
        ours.add(thread);
        thread.start();
      }
      Await.until(() -> started.getCount() == 0 && reads.get() > 1_000);
      int protects = memory.recording.count("protect");
      AtomicInteger tasks = new AtomicInteger();
      Schedulers.onScheduleHook(
          "count",
          task -> {
            // Other tests of this JVM are over, but their timers and secrets may not be.
            if (ours.contains(Thread.currentThread())
                || Thread.currentThread().getName().startsWith("asherah-securememory")) {
              tasks.incrementAndGet();
            }
            return task;
          });
      try {
        freed.close();
        memory.settle();
      } finally {
        Schedulers.resetOnScheduleHook("count");
      }

      byte[] after = new byte[32];
      view.get(0, after);
      assertThat(after).containsOnly(0);
      assertThat(tasks).hasValue(1);
      assertThat(memory.recording.count("protect")).isEqualTo(protects + 2);
      Secret next = create(memory, 50);
      assertThat(SecretSlots.slotOf(next).offset).isEqualTo(slot.offset);
      long before = reads.get();
      Await.until(() -> reads.get() > before + 1_000);
      stop.set(true);
      Await.until(() -> ended.getCount() == 0);
      assertThat(wrong).isEmpty();
    }
  }

  @Test
  void tenThousandCreations_fromEventLoops_blockNobody() {
    SecretFactory factory = SecretFactory.builder().build();

    List<Secret> secrets =
        Flux.range(0, 10_000)
            .flatMap(
                i ->
                    Mono.defer(() -> factory.create(key(1 + i % 100)))
                        .flatMap(
                            secret ->
                                secret
                                    .withBytes(copy -> SecretSlots.allAre(copy, 1 + i % 100))
                                    .filter(right -> right)
                                    .map(right -> secret))
                        .subscribeOn(Schedulers.parallel()),
                512)
            .collectList()
            .block(Await.TIMEOUT);

    assertThat(secrets).hasSize(10_000);
    assertThat(factory.stats().liveSecrets()).isEqualTo(10_000);
    Flux.fromIterable(secrets)
        .doOnNext(Secret::close)
        .subscribeOn(Schedulers.parallel())
        .blockLast(Await.TIMEOUT);
    assertThat(factory.stats().liveSecrets()).isZero();
    factory.close().block(Await.TIMEOUT);
    assertThat(factory.stats().lockedBytes()).isZero();
    Await.until(() -> factory.stats().queueDepth() == 0);
  }

  @Test
  void surplusOverAFullQueue_isRefusedAtOnce_whileReadsAndClosesAreKept() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      List<Secret> read = new ArrayList<>();
      List<Secret> closed = new ArrayList<>();
      for (int i = 0; i < 50; i++) {
        read.add(create(memory, i + 1));
        closed.add(create(memory, i + 1));
      }
      memory.settle();
      CountDownLatch stalled = memory.recording.stall();
      List<CompletableFuture<Secret>> creations = new ArrayList<>();
      for (int i = 0; i < 2_000; i++) {
        creations.add(memory.factory.create(key(7)).toFuture());
      }
      assertThat(memory.factory.stats().pendingCreations()).isEqualTo(1_024);
      List<CompletableFuture<Secret>> refused =
          creations.stream().filter(CompletableFuture::isCompletedExceptionally).toList();
      assertThat(refused).hasSize(2_000 - 1_024);
      for (CompletableFuture<Secret> creation : refused) {
        assertThat(creation.handle((secret, e) -> e).join())
            .isInstanceOf(SecureMemoryOverloadedException.class)
            .hasMessageContaining("1024");
      }
      List<CompletableFuture<Byte>> reads =
          read.stream().map(secret -> secret.withBytes(copy -> copy[31]).toFuture()).toList();
      closed.forEach(Secret::close);

      stalled.countDown();

      for (int i = 0; i < reads.size(); i++) {
        assertThat(join(reads.get(i))).isEqualTo((byte) (i + 1));
      }
      creations.stream().filter(creation -> !refused.contains(creation)).forEach(c -> join(c));
      memory.settle();
      assertThat(memory.factory.stats().liveSecrets()).isEqualTo(50 + 1_024);
      assertThat(memory.factory.stats().openRegions()).isZero();
      // 1,074 keys of 32 bytes: the slots of the closed ones can be used.
      assertThat(memory.factory.stats().lockedBytes()).isEqualTo(3 * 16_384);
      creations.stream().filter(c -> !refused.contains(c)).forEach(c -> join(c).close());
      read.forEach(Secret::close);
      memory.settle();
      assertThat(memory.factory.stats().liveSecrets()).isZero();
    }
  }

  @Test
  void strictRegion_isReadableOnlyWhileItIsRead() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      List<Secret> secrets = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        secrets.add(create(memory, i + 1));
      }
      for (int round = 0; round < 20; round++) {
        long opens = memory.factory.stats().opens();
        List<Byte> values =
            Flux.fromIterable(secrets)
                .flatMap(
                    secret ->
                        secret
                            .withBytes(copy -> copy[0])
                            .repeat(24)
                            .subscribeOn(Schedulers.parallel()))
                .collectList()
                .block(Await.TIMEOUT);
        memory.settle();

        assertThat(values).hasSize(100);
        assertThat(memory.factory.stats().opens() - opens).isBetween(25L, 100L);
        assertThat(memory.factory.stats().closes()).isEqualTo(memory.factory.stats().opens());
        assertThat(memory.factory.stats().openRegions()).isZero();
        assertThat(memory.recording.pages()).hasSize(1).containsValue(Access.NONE);
      }
      assertThat(memory.time.getScheduledTaskCount()).isZero();
    }
  }

  /** An idle check is due in a quarter of the window; the region does not wait for it. */
  @Test
  void returnedRegion_isKeptByNoTimer() {
    LockedSecretFactory factory =
        new LockedSecretFactory(
            Platforms.memory(false),
            Memory.settings(Duration.ofHours(1), 10),
            System::nanoTime,
            null,
            Schedulers.parallel());

    WeakReference<LockedRegion> region = regionOfAClosedSecret(factory);

    Await.until(() -> factory.stats().lockedBytes() == 0);
    Await.until(
        () -> {
          System.gc();
          return region.refersTo(null);
        });
    factory.close().block(Await.TIMEOUT);
  }

  private static WeakReference<LockedRegion> regionOfAClosedSecret(LockedSecretFactory factory) {
    Secret large = factory.create(new byte[5_000]).block(Await.TIMEOUT);
    large.close();
    return new WeakReference<>(SecretSlots.slotOf(large).region);
  }

  @Test
  void lostSecrets_areWipedAndCounted_andTheirSlotsUsedAgain() {
    int lost = 20;
    try (Memory memory = new Memory(WINDOW)) {
      Secret kept = create(memory, 1);
      for (int i = 0; i < lost; i++) {
        lose(memory);
      }
      assertThat(memory.factory.stats().liveSecrets()).isGreaterThanOrEqualTo(1);
      ByteBuffer view =
          new Pointer(memory.recording.lastLockedAddress()).getByteBuffer(0, 32 * (lost + 1));

      Await.until(
          () -> {
            System.gc();
            return memory.factory.stats().leakedSecrets() == lost;
          });
      memory.settle();

      assertThat(memory.factory.stats().liveSecrets()).isOne();
      byte[] after = new byte[32 * (lost + 1)];
      view.get(0, after);
      assertThat(Arrays.copyOf(after, 32)).containsOnly(1);
      assertThat(Arrays.copyOfRange(after, 32, after.length)).containsOnly(0);
      assertThat(SecretSlots.slotOf(create(memory, 2)).offset).isEqualTo(32);
      StepVerifier.create(kept.withBytes(copy -> copy[0])).expectNext((byte) 1).verifyComplete();
    }
  }

  private static void lose(Memory memory) {
    assertThat(create(memory, 9).length()).isEqualTo(32);
  }
}
