package io.asherah.reactive.securememory.internal;

import static io.asherah.reactive.securememory.internal.Samples.bytes;
import static io.asherah.reactive.securememory.internal.Samples.create;
import static io.asherah.reactive.securememory.internal.Samples.read;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.internal.Samples.Reads;
import io.asherah.reactive.testsupport.Await;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.reactivestreams.Subscription;
import reactor.core.Disposable;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class SecretChunksTest {
  private static final Duration WINDOW = Duration.ofHours(1);
  private static final int LENGTH = 100;

  private static byte[] join(List<ByteBuffer> chunks) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    chunks.forEach(chunk -> all.write(chunk.array(), chunk.arrayOffset(), chunk.remaining()));
    return all.toByteArray();
  }

  private static boolean isWiped(ByteBuffer chunk) {
    for (byte b : chunk.array()) {
      if (b != 0) {
        return false;
      }
    }
    return true;
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void chunks_areAllBytesInOrder_whateverTheSize(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, bytes(LENGTH));
      for (int size : new int[] {1, 7, 32, 50, LENGTH - 1, LENGTH, LENGTH + 1, Integer.MAX_VALUE}) {
        reads.prepare(memory);

        List<ByteBuffer> chunks = secret.chunks(size).collectList().block(Await.TIMEOUT);

        assertThat(join(chunks)).isEqualTo(bytes(LENGTH));
        assertThat(chunks).hasSize((LENGTH - 1) / size + 1);
        assertThat(chunks.subList(0, chunks.size() - 1))
            .allSatisfy(chunk -> assertThat(chunk.remaining()).isEqualTo(size));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 31, 33})
  void chunks_ofShortSecrets_areThoseBytes(int length) {
    try (Memory memory = new Memory(WINDOW)) {
      // Neighbours in the same region, of which nothing may be seen.
      create(memory, bytes(32));
      Secret secret = create(memory, bytes(length));
      create(memory, bytes(32));

      StepVerifier.create(secret.chunks(32).collectList().map(SecretChunksTest::join))
          .assertNext(all -> assertThat(all).isEqualTo(bytes(length)))
          .verifyComplete();
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void oneMebibyte_inPiecesOf16KiB(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, bytes(1 << 20));
      reads.prepare(memory);

      List<ByteBuffer> chunks = secret.chunks(16_384).collectList().block(Await.TIMEOUT);

      assertThat(chunks).hasSize(64);
      assertThat(join(chunks)).isEqualTo(bytes(1 << 20));
    }
  }

  /** One piece after the other on one stack would overflow it. */
  @Test
  void manyPieces_needNoDeepStack() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(200_000));

      StepVerifier.create(secret.chunks(1).count()).expectNext(200_000L).verifyComplete();
      StepVerifier.create(secret.chunks(1).limitRate(1).count())
          .expectNext(200_000L)
          .verifyComplete();
    }
  }

  @Test
  void sizesBelowOne_areRefusedAtOnce() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(LENGTH));

      for (int size : new int[] {0, -1, Integer.MIN_VALUE}) {
        assertThatThrownBy(() -> secret.chunks(size))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessage("a chunk needs at least one byte, not " + size);
      }
    }
  }

  @Test
  void eachChunk_isABufferOfItsOwn_thatTheSubscriberMayChange() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(LENGTH));
      Set<byte[]> arrays = Collections.newSetFromMap(new IdentityHashMap<>());

      for (int subscriber = 0; subscriber < 2; subscriber++) {
        StepVerifier.create(secret.chunks(7))
            .thenConsumeWhile(
                chunk -> {
                  assertThat(chunk.position()).isZero();
                  assertThat(chunk.arrayOffset()).isZero();
                  assertThat(chunk.array()).hasSize(chunk.remaining());
                  arrays.add(chunk.array());
                  chunk.put(new byte[chunk.remaining()]);
                  return true;
                })
            .verifyComplete();
      }

      assertThat(arrays).hasSize(30);
      assertThat(read(secret)).isEqualTo(bytes(LENGTH));
    }
  }

  // Demand

  /** In the strict mode each read opens and closes the region, so the native calls tell of it. */
  @Test
  void eachChunk_isReadWhenItIsAskedFor_andNotBefore() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Secret secret = create(memory, bytes(LENGTH));
      int before = memory.recording.count("protect");

      StepVerifier.Step<ByteBuffer> step =
          StepVerifier.create(secret.chunks(25), 0)
              .expectSubscription()
              .then(() -> assertReads(memory, before, 0));
      for (int i = 1; i <= 4; i++) {
        int reads = i;
        step =
            step.thenRequest(1).expectNextCount(1).then(() -> assertReads(memory, before, reads));
      }
      step.verifyComplete();
    }
  }

  private static void assertReads(Memory memory, int before, int reads) {
    Await.until(() -> memory.factory.stats().queueDepth() == 0);
    assertThat(memory.recording.count("protect") - before).isEqualTo(2 * reads);
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void nothingIsReadAhead_soTheNextPieceOfAClosedSecretIsAnError(Reads reads) {
    try (Memory memory = reads.memory()) {
      for (int served = 0; served < 4; served++) {
        Secret secret = create(memory, bytes(LENGTH));
        reads.prepare(memory);
        StepVerifier.FirstStep<ByteBuffer> first = StepVerifier.create(secret.chunks(25), 0);
        StepVerifier.Step<ByteBuffer> step = first;
        for (int i = 0; i < served; i++) {
          step = step.thenRequest(1).expectNextCount(1);
        }
        step.then(secret::close)
            .thenRequest(1)
            .expectErrorSatisfies(
                e ->
                    assertThat(e)
                        .isInstanceOf(SecretClosedException.class)
                        .hasMessage("the secret is closed"))
            .verify();
      }
    }
  }

  @Test
  void closeInsideOfOnNext_endsTheSequence() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(LENGTH));

      StepVerifier.create(secret.chunks(10).doOnNext(chunk -> secret.close()))
          .expectNextCount(1)
          .verifyError(SecretClosedException.class);
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void requests_areAddedUp_andOneByOneWorksToo(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, bytes(LENGTH));
      reads.prepare(memory);
      List<ByteBuffer> got = Collections.synchronizedList(new ArrayList<>());

      StepVerifier.create(secret.chunks(7).doOnNext(got::add), 0)
          .thenRequest(1)
          .expectNextCount(1)
          .thenRequest(2)
          .thenRequest(3)
          .expectNextCount(5)
          .thenRequest(Long.MAX_VALUE)
          .expectNextCount(9)
          .verifyComplete();

      assertThat(join(got)).isEqualTo(bytes(LENGTH));
      reads.prepare(memory);
      StepVerifier.create(secret.chunks(7).limitRate(1).collectList().map(SecretChunksTest::join))
          .assertNext(all -> assertThat(all).isEqualTo(bytes(LENGTH)))
          .verifyComplete();
    }
  }

  @Test
  void twoSubscribers_areIndependent() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(LENGTH));
      Flux<ByteBuffer> chunks = secret.chunks(7);
      Flux<Byte> firsts = chunks.map(chunk -> chunk.get(0));

      StepVerifier.create(Flux.zip(firsts, firsts.skip(1)).take(3))
          .expectNextMatches(pair -> pair.getT1() == 1 && pair.getT2() == (byte) 50)
          .expectNextCount(2)
          .verifyComplete();
      StepVerifier.create(firsts.count()).expectNext(15L).verifyComplete();
    }
  }

  // Threads

  @ParameterizedTest
  @EnumSource(Reads.class)
  void threads_areThoseOfAReadForEachPiece(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, bytes(LENGTH));
      Queue<String> threads = new ConcurrentLinkedQueue<>();
      reads.prepare(memory);
      int before = memory.recording.count();

      secret
          .chunks(25)
          .doOnNext(chunk -> threads.add(Thread.currentThread().getName()))
          .blockLast(Await.TIMEOUT);

      assertThat(threads).hasSize(4);
      if (reads == Reads.WARM) {
        assertThat(threads).containsOnly(Thread.currentThread().getName());
        assertThat(memory.recording.count()).isEqualTo(before);
      } else {
        assertThat(threads).allMatch(name -> name.startsWith("parallel-"));
        assertThat(memory.recording.calls().subList(before, memory.recording.count()))
            .isNotEmpty()
            .allMatch(call -> call.thread().startsWith("asherah-securememory-"));
      }
    }
  }

  /** The window passes between two pieces, so the next one goes the cold way. */
  @Test
  void slowSubscriber_getsAllPieces_thoughTheRegionIsClosedMeanwhile() {
    try (Memory memory = Reads.COLD.memory()) {
      Secret secret = create(memory, bytes(LENGTH));
      List<ByteBuffer> got = Collections.synchronizedList(new ArrayList<>());

      StepVerifier.create(secret.chunks(50).doOnNext(got::add), 0)
          .thenRequest(1)
          .expectNextCount(1)
          .then(memory::letTheWindowPass)
          .thenRequest(1)
          .expectNextCount(1)
          .verifyComplete();

      assertThat(join(got)).isEqualTo(bytes(LENGTH));
      assertThat(memory.factory.stats().opens()).isOne();
    }
  }

  @Test
  void failedOpen_isSignalled_andANewSubscriptionWorks() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Secret secret = create(memory, bytes(LENGTH));
      Await.until(() -> memory.factory.stats().queueDepth() == 0);
      // The first piece takes two calls.
      memory.recording.failNext("protect", 3);

      StepVerifier.create(secret.chunks(25), 1)
          .expectNextCount(1)
          .then(() -> Await.until(() -> memory.factory.stats().queueDepth() == 0))
          .thenRequest(1)
          .verifyError(NativeCallException.class);
      StepVerifier.create(secret.chunks(25)).expectNextCount(4).verifyComplete();
    }
  }

  // Cancellation

  @ParameterizedTest
  @EnumSource(Reads.class)
  void cancelled_afterEachNumberOfPieces_readsNoMore(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, bytes(LENGTH));
      for (int taken = 1; taken <= 4; taken++) {
        reads.prepare(memory);
        StepVerifier.create(secret.chunks(25).take(taken)).expectNextCount(taken).verifyComplete();
        StepVerifier.create(secret.chunks(25), taken - 1)
            .expectSubscription()
            .expectNextCount(taken - 1)
            .thenCancel()
            .verify();
      }
      Await.until(() -> memory.factory.stats().queueDepth() == 0);
    }
  }

  @Test
  void cancelInsideOfOnSubscribe_readsNothing() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Secret secret = create(memory, bytes(LENGTH));
      int before = memory.recording.count();
      AtomicInteger signals = new AtomicInteger();

      secret
          .chunks(25)
          .subscribe(
              new BaseSubscriber<>() {
                @Override
                protected void hookOnSubscribe(Subscription subscription) {
                  subscription.cancel();
                  subscription.request(1);
                }

                @Override
                protected void hookOnNext(ByteBuffer chunk) {
                  signals.incrementAndGet();
                }

                @Override
                protected void hookOnComplete() {
                  signals.incrementAndGet();
                }

                @Override
                protected void hookOnError(Throwable e) {
                  signals.incrementAndGet();
                }
              });

      assertThat(memory.recording.count()).isEqualTo(before);
      assertThat(signals).hasValue(0);
    }
  }

  @Test
  void cancelledWhileTheColdReadStalls_emitsNothing_andOthersAreServed() {
    try (Memory memory = Reads.COLD.memory()) {
      Secret secret = create(memory, bytes(LENGTH));
      memory.letTheWindowPass();
      CountDownLatch stalled = memory.recording.stall();
      AtomicBoolean emitted = new AtomicBoolean();
      int calls = memory.recording.count();
      Disposable cancelled = secret.chunks(25).subscribe(chunk -> emitted.set(true));
      var other = secret.chunks(25).collectList().toFuture();
      Await.until(() -> memory.recording.count() > calls);

      cancelled.dispose();
      stalled.countDown();

      assertThat(join(other.orTimeout(30, java.util.concurrent.TimeUnit.SECONDS).join()))
          .isEqualTo(bytes(LENGTH));
      assertThat(emitted).isFalse();
    }
  }

  /** The subscriber's own handler comes after ours, and finds zeros. */
  @ParameterizedTest
  @EnumSource(Reads.class)
  void chunkThatIsNotEmitted_isWiped_atWhateverMomentItIsCancelled(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, bytes(50_000));
      Queue<ByteBuffer> discarded = new ConcurrentLinkedQueue<>();
      Queue<ByteBuffer> emitted = new ConcurrentLinkedQueue<>();
      for (int round = 0; round < 1_000; round++) {
        if (round % 50 == 0) {
          reads.prepare(memory);
        }
        Disposable reading =
            secret
                .chunks(10_000)
                .doOnDiscard(ByteBuffer.class, discarded::add)
                .subscribeOn(Schedulers.parallel())
                .subscribe(emitted::add);
        long until = System.nanoTime() + round % 200 * 500L;
        while (System.nanoTime() < until) {
          Thread.onSpinWait();
        }
        reading.dispose();
      }
      Await.until(() -> memory.factory.stats().queueDepth() == 0);

      assertThat(discarded).allMatch(SecretChunksTest::isWiped);
      assertThat(emitted).noneMatch(SecretChunksTest::isWiped);
    }
  }

  /**
   * Discards that are the subscriber's: what a downstream operator had fetched. On another thread
   * publishOn may be cancelled before it has begun, and then discards nothing.
   */
  @Test
  void whatADownstreamOperatorDiscards_isTheSubscribersToWipe() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(LENGTH));
      Queue<ByteBuffer> discarded = new ConcurrentLinkedQueue<>();
      AtomicInteger fetched = new AtomicInteger();

      StepVerifier.create(
              secret
                  .chunks(10)
                  .doOnNext(chunk -> fetched.incrementAndGet())
                  .publishOn(Schedulers.immediate(), 4)
                  .doOnDiscard(
                      ByteBuffer.class,
                      chunk -> {
                        Arrays.fill(chunk.array(), (byte) 0);
                        discarded.add(chunk);
                      }),
              0)
          .expectSubscription()
          .then(() -> Await.until(() -> fetched.get() == 4))
          .thenCancel()
          .verify();

      Await.until(() -> discarded.size() == 4);
      assertThat(discarded).allMatch(SecretChunksTest::isWiped);
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void operatorsThatPrefetch_getEveryPieceOnce(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, bytes(LENGTH));
      Flux<ByteBuffer> chunks = secret.chunks(7);
      List<Flux<ByteBuffer>> all =
          List.of(
              chunks.publishOn(Schedulers.parallel()),
              chunks.publishOn(Schedulers.parallel(), 2),
              chunks.flatMapSequential(chunk -> Mono.just(chunk).hide(), 2),
              chunks.concatMap(chunk -> Mono.just(chunk).publishOn(Schedulers.parallel())),
              chunks.subscribeOn(Schedulers.parallel()),
              chunks.hide().filter(chunk -> true).limitRate(3),
              chunks.onBackpressureBuffer(),
              chunks.buffer(4).concatMapIterable(pieces -> pieces));
      for (Flux<ByteBuffer> one : all) {
        reads.prepare(memory);
        StepVerifier.create(one.collectList().map(SecretChunksTest::join))
            .assertNext(got -> assertThat(got).isEqualTo(bytes(LENGTH)))
            .verifyComplete();
      }
      reads.prepare(memory);
      StepVerifier.create(chunks.flatMap(chunk -> Mono.just(chunk.remaining()).hide(), 4).count())
          .expectNext(15L)
          .verifyComplete();
      StepVerifier.create(chunks.retry(2).repeat(2).count()).expectNext(45L).verifyComplete();
    }
  }
}
