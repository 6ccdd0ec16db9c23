package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.Enclave;
import io.asherah.reactive.securememory.MemoryLimitException;
import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecureMemoryOverloadedException;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.SignalType;
import reactor.core.scheduler.Schedulers;

/**
 * Threads that do everything at once with memory that is slow and fails, again and again: no copy
 * is ever wrong, every subscriber is told, and nothing is left.
 *
 * <p>Takes a few seconds; {@code -Dsecurememory.stress.seconds=600} is for whoever changes the
 * regions.
 */
class AdversarialMemoryTest {
  private static final Duration TIME =
      Duration.ofSeconds(Integer.getInteger("securememory.stress.seconds", 5));
  private static final int THREADS = 4;
  private static final int PLACES = 64;
  private static final List<Duration> WINDOWS =
      List.of(Duration.ZERO, Duration.ofNanos(50_000), Duration.ofMillis(5), Duration.ofHours(1));

  private final Queue<String> wrong = new ConcurrentLinkedQueue<>();

  @Test
  @Timeout(value = 1, unit = TimeUnit.HOURS)
  void everythingAtOnce_leavesNothing_andNoCopyIsWrong() throws InterruptedException {
    long seed = new Random().nextLong();
    System.out.println("AdversarialMemoryTest: seed " + seed);
    Random random = new Random(seed);
    long end = System.nanoTime() + TIME.toNanos();
    int rounds = 0;
    while (System.nanoTime() - end < 0) {
      new Round(random).run();
      rounds++;
    }
    System.out.println("AdversarialMemoryTest: " + rounds + " rounds");
  }

  private final class Round {
    private final AdversarialMemory adversary;
    private final LockedSecretFactory factory;
    private final String name;
    private final int steps;
    private final boolean closesInBetween;
    private final long seed;
    private final AtomicReferenceArray<@Nullable Secret> places =
        new AtomicReferenceArray<>(PLACES);
    private final AtomicReferenceArray<@Nullable Enclave> enclaves = new AtomicReferenceArray<>(4);
    private final AtomicInteger waiting = new AtomicInteger();

    Round(Random random) {
      seed = random.nextLong();
      int failures = random.nextBoolean() ? 0 : 1 + random.nextInt(random.nextBoolean() ? 5 : 100);
      Duration window = WINDOWS.get(random.nextInt(WINDOWS.size()));
      int pending = random.nextInt(4) == 0 ? 4 : 1_024;
      closesInBetween = random.nextInt(3) == 0;
      steps = 50 + random.nextInt(1_500);
      name =
          "round %d: failures %d, window %s, pending %d, steps %d, closes %s"
              .formatted(seed, failures, window, pending, steps, closesInBetween);
      adversary = new AdversarialMemory(failures);
      factory =
          new LockedSecretFactory(
              adversary.memory(),
              Memory.settings(window, pending),
              System::nanoTime,
              null,
              Schedulers.parallel());
    }

    void run() throws InterruptedException {
      CountDownLatch done = new CountDownLatch(THREADS);
      for (int i = 0; i < THREADS; i++) {
        Random random = new Random(seed + i);
        boolean closer = closesInBetween && i == 0;
        Thread thread =
            new Thread(
                () -> {
                  try {
                    int closeAt = closer ? random.nextInt(steps) : -1;
                    for (int step = 0; step < steps; step++) {
                      if (step == closeAt) {
                        track(factory.close(), random);
                      }
                      step(random);
                    }
                  } catch (RuntimeException | Error e) {
                    wrong.add("the test itself: " + e);
                  } finally {
                    done.countDown();
                  }
                },
                "stress-" + i);
        thread.setDaemon(true);
        thread.start();
      }
      done.await();
      adversary.heal();

      factory.close().block(Await.TIMEOUT);

      try {
        Await.until(() -> waiting.get() == 0);
        Await.until(() -> factory.stats().queueDepth() == 0);
      } catch (AssertionError e) {
        wrong.add("%d wait for ever, %s".formatted(waiting.get(), factory.stats()));
      }
      var stats = factory.stats();
      if (stats.liveSecrets() != 0
          || stats.lockedBytes() != 0
          || stats.hiddenBytes() != 0
          || stats.openRegions() != 0
          || stats.pendingCreations() != 0
          || stats.corruptedRegions() != 0
          || adversary.mapped() != 0) {
        wrong.add("left: " + stats + ", mappings " + adversary.mapped());
      }
      assertThat(wrong).as(name).isEmpty();
    }

    private void step(Random random) {
      int place = random.nextInt(PLACES);
      Secret secret = places.get(place);
      switch (random.nextInt(16)) {
        case 0, 1, 2 -> create(random, place);
        case 3 -> {
          if (secret != null) {
            secret.close();
          }
        }
        case 4 -> {
          // Lost, for the garbage collector to find.
          if (random.nextInt(20) == 0) {
            places.set(place, null);
          }
        }
        case 5 -> {
          int at = random.nextInt(enclaves.length());
          byte[] bytes = pattern(random);
          track(factory.seal(bytes).doOnNext(enclave -> enclaves.set(at, enclave)), random);
        }
        case 6 -> {
          Enclave enclave = enclaves.get(random.nextInt(enclaves.length()));
          if (enclave != null) {
            track(enclave.open().doOnNext(opened -> put(place, opened)), random);
          }
        }
        case 7 -> {
          if (secret != null) {
            track(secret.copyTo(factory).doOnNext(copy -> put(place, copy)), random);
          }
        }
        case 8 -> {
          if (secret != null) {
            track(
                secret
                    .chunks(1 + random.nextInt(secret.length()))
                    .doOnNext(chunk -> check(chunk.array()))
                    .then(),
                random);
          }
        }
        case 9 -> LockSupport.parkNanos(random.nextInt(100_000));
        default -> {
          if (secret != null) {
            track(
                secret.withBytes(
                    copy -> {
                      check(copy);
                      return copy.length;
                    }),
                random);
          }
        }
      }
    }

    private void create(Random random, int place) {
      byte[] bytes = pattern(random);
      byte first = bytes[0];
      track(
          factory
              .create(bytes)
              .doOnNext(created -> put(place, created))
              .doOnError(
                  e -> {
                    if (bytes[0] != first || bytes[bytes.length - 1] != first) {
                      wrong.add("the array was wiped in spite of " + e);
                    }
                  }),
          random);
    }

    private void put(int place, Secret secret) {
      Secret before = places.getAndSet(place, secret);
      if (before != null) {
        before.close();
      }
    }

    private byte[] pattern(Random random) {
      int length =
          switch (random.nextInt(8)) {
            case 0 -> 1 + random.nextInt(20_000);
            case 1, 2 -> 1 + random.nextInt(4_096);
            default -> 1 + random.nextInt(64);
          };
      byte[] bytes = new byte[length];
      Arrays.fill(bytes, (byte) (1 + random.nextInt(127)));
      return bytes;
    }

    private void check(byte[] copy) {
      for (byte b : copy) {
        if (b == 0 || b != copy[0]) {
          wrong.add("read " + copy[0] + " and " + b);
          return;
        }
      }
    }

    /** Counts who waits; cancels one in eight at whatever moment. */
    private void track(Mono<?> operation, Random random) {
      waiting.incrementAndGet();
      Mono<?> checked = operation.doOnError(this::checkError).onErrorComplete();
      Disposable subscription =
          (random.nextBoolean() ? checked.subscribeOn(Schedulers.parallel()) : checked)
              .doFinally(this::ended)
              .subscribe();
      if (random.nextInt(8) == 0) {
        for (int spin = random.nextInt(20_000); spin > 0; spin--) {
          Thread.onSpinWait();
        }
        subscription.dispose();
      }
    }

    private void ended(SignalType signal) {
      if (signal != SignalType.ON_SUBSCRIBE) {
        waiting.decrementAndGet();
      }
    }

    private void checkError(Throwable e) {
      if (!(e instanceof SecretClosedException
          || e instanceof NativeCallException
          || e instanceof MemoryLimitException
          || e instanceof SecureMemoryOverloadedException)) {
        wrong.add("unexpected: " + e);
      }
    }
  }
}
