package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.Arrays;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * Readers on several threads, closing windows, and a close in the middle. It cannot prove that no
 * interleaving is wrong, but a read of freed memory ends this JVM, and a wiped byte that is taken
 * for a key is seen.
 */
class ReadVersusCloseTest {
  private static final int READERS = 4;

  @ParameterizedTest
  @ValueSource(longs = {0, 50_000, 1_000_000_000})
  void read_getsTheWholeSecretOrClosed_neverWipedBytes(long windowNanos) {
    SecretFactory factory =
        SecretFactory.builder().accessWindow(Duration.ofNanos(windowNanos)).build();
    Scheduler threads = Schedulers.newParallel("reader", READERS);
    Queue<String> wrong = new ConcurrentLinkedQueue<>();
    int rounds = windowNanos < 1_000_000 ? 100 : 400;

    for (int round = 0; round < rounds; round++) {
      byte[] key = new byte[8_192];
      Arrays.fill(key, (byte) 0x5a);
      Secret secret = factory.create(key).block(Await.TIMEOUT);
      CountDownLatch started = new CountDownLatch(READERS);
      Mono<Void> readers =
          Flux.range(0, READERS)
              .flatMap(
                  i ->
                      Mono.defer(
                              () -> {
                                started.countDown();
                                return readUntilClosed(secret, wrong);
                              })
                          .subscribeOn(threads))
              .then();
      var done = readers.toFuture();
      try {
        started.await();
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
      for (int spin = 0; spin < round * 50; spin++) {
        Thread.onSpinWait();
      }
      secret.close();
      done.orTimeout(30, java.util.concurrent.TimeUnit.SECONDS).join();
    }

    threads.dispose();
    factory.close().block(Await.TIMEOUT);
    assertThat(wrong).isEmpty();
    assertThat(factory.stats().lockedBytes()).isZero();
    assertThat(factory.stats().openRegions()).isZero();
  }

  private static Mono<Void> readUntilClosed(Secret secret, Queue<String> wrong) {
    return secret
        .withBytes(
            copy -> {
              for (byte b : copy) {
                if (b != 0x5a) {
                  wrong.add("read " + b);
                  break;
                }
              }
              return copy.length;
            })
        .repeat()
        .then()
        .onErrorComplete(SecretClosedException.class);
  }
}
