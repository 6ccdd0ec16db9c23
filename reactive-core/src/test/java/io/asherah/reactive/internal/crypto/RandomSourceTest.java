package io.asherah.reactive.internal.crypto;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

class RandomSourceTest {
  private static final Duration TIMEOUT = Duration.ofSeconds(60);

  private static RandomSource ready() {
    RandomSource random = new RandomSource(Schedulers.boundedElastic());
    random.ready().block(TIMEOUT);
    return random;
  }

  @Test
  void draw_beforeSeeding_isRefused() {
    RandomSource random = new RandomSource(Schedulers.boundedElastic());
    assertThatThrownBy(() -> random.nextBytes(new byte[1]))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void draws_onManyEventLoops_neverRepeat_andNeverBlock() {
    RandomSource random = new RandomSource(Schedulers.boundedElastic());
    Scheduler threads = Schedulers.newParallel("draw", 8);
    Set<ByteBuffer> seen = ConcurrentHashMap.newKeySet();
    int draws = 8 * 50_000;

    // More threads than stripes, from the very first draw on: they all wait for the seeding.
    Flux.range(0, 8)
        .flatMap(
            i ->
                random
                    .ready()
                    .subscribeOn(threads)
                    .publishOn(threads)
                    .then(
                        Mono.fromRunnable(
                                () -> {
                                  for (int n = 0; n < draws / 8; n++) {
                                    byte[] nonce = new byte[12];
                                    random.nextBytes(nonce);
                                    seen.add(ByteBuffer.wrap(nonce));
                                  }
                                })
                            .subscribeOn(threads)))
        .then()
        .block(TIMEOUT);

    threads.dispose();
    assertThat(seen).hasSize(draws);
  }

  @Test
  void draw_longerThanABlock_isFilledWhole() {
    RandomSource random = ready();
    byte[] bytes = new byte[10_000];
    random.nextBytes(bytes);

    Set<Byte> tail = new HashSet<>();
    for (int i = 9_000; i < 10_000; i++) {
      tail.add(bytes[i]);
    }
    assertThat(tail.size()).isGreaterThan(100);
  }

  @Test
  void everyValue_appearsAboutEquallyOften() {
    RandomSource random = ready();
    int[] counts = new int[256];
    byte[] bytes = new byte[4_096];
    for (int i = 0; i < 256; i++) {
      random.nextBytes(bytes);
      for (byte b : bytes) {
        counts[b & 0xff]++;
      }
    }
    // 1 Mi bytes: 4,096 of each on average; ten standard deviations are 640.
    for (int count : counts) {
      assertThat(count).isBetween(3_456, 4_736);
    }
  }

  @Test
  void generators_areSeededOnce_andRenewedAfterFourMebibytes() {
    AtomicInteger tasks = new AtomicInteger();
    Scheduler counting = new CountingScheduler(Schedulers.boundedElastic(), tasks);
    RandomSource random = new RandomSource(counting);
    random.ready().block(TIMEOUT);
    random.ready().block(TIMEOUT);
    assertThat(tasks.get()).isOne();

    byte[] block = new byte[4_096];
    for (int i = 0; i < 1_023; i++) {
      random.nextBytes(block);
    }
    assertThat(tasks.get()).isOne();
    random.nextBytes(block);
    assertThat(tasks.get()).isEqualTo(2);
  }

  /** Counts what is scheduled. */
  private record CountingScheduler(Scheduler scheduler, AtomicInteger tasks) implements Scheduler {
    @Override
    public reactor.core.Disposable schedule(Runnable task) {
      tasks.incrementAndGet();
      return scheduler.schedule(task);
    }

    @Override
    public Worker createWorker() {
      tasks.incrementAndGet();
      return scheduler.createWorker();
    }
  }
}
