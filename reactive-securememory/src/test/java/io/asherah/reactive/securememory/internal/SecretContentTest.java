package io.asherah.reactive.securememory.internal;

import static io.asherah.reactive.securememory.internal.Samples.bytes;
import static io.asherah.reactive.securememory.internal.Samples.create;
import static io.asherah.reactive.securememory.internal.Samples.read;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryException;
import io.asherah.reactive.securememory.SecureMemoryOverloadedException;
import io.asherah.reactive.securememory.internal.Samples.Reads;
import io.asherah.reactive.testsupport.Await;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class SecretContentTest {
  private static final Duration WINDOW = Duration.ofHours(1);

  /** Passes every call on, and keeps the array that a call was given. */
  private static <T> T keepingArray(
      Class<T> type, T target, AtomicReference<byte @Nullable []> kept) {
    return type.cast(
        Proxy.newProxyInstance(
            type.getClassLoader(),
            new Class<?>[] {type},
            (proxy, method, arguments) -> {
              if (arguments != null && arguments[0] instanceof byte[] array) {
                kept.set(array);
              }
              try {
                return method.invoke(target, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            }));
  }

  private static <T> T get(CompletableFuture<T> future) {
    return future.orTimeout(Await.TIMEOUT.toSeconds(), TimeUnit.SECONDS).join();
  }

  // Text

  @ParameterizedTest
  @ValueSource(strings = {"hunter2", "äöüß", "😀", "a_b", "_"})
  void text_comesBackAsItWas_andTheCallersArrayIsWiped(String name) {
    try (Memory memory = new Memory(WINDOW)) {
      String text = name.replace('_', '\0'); // which would make the report a binary file
      char[] given = text.toCharArray();

      Secret secret = memory.factory.createUtf8(given).block(Await.TIMEOUT);

      assertThat(given).containsOnly('\0');
      StepVerifier.create(secret.withUtf8Chars(String::new)).expectNext(text).verifyComplete();
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void characters_areWiped_whenTheFunctionReturnsOrThrows(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = memory.factory.createUtf8("hunter2".toCharArray()).block(Await.TIMEOUT);
      AtomicReference<char[]> kept = new AtomicReference<>(new char[0]);
      AtomicReference<Thread> thread = new AtomicReference<>();

      reads.prepare(memory);
      StepVerifier.create(
              secret.withUtf8Chars(
                  chars -> {
                    kept.set(chars);
                    thread.set(Thread.currentThread());
                    return chars[0];
                  }))
          .expectNext('h')
          .verifyComplete();
      assertThat(kept.get()).hasSize(7).containsOnly('\0');
      if (reads == Reads.WARM) {
        assertThat(thread.get()).isSameAs(Thread.currentThread());
      } else {
        assertThat(thread.get().getName()).startsWith("parallel-");
      }

      reads.prepare(memory);
      StepVerifier.create(
              secret.withUtf8Chars(
                  chars -> {
                    kept.set(chars);
                    throw new IllegalStateException("from the function");
                  }))
          .verifyErrorMessage("from the function");
      assertThat(kept.get()).hasSize(7).containsOnly('\0');

      reads.prepare(memory);
      StepVerifier.create(secret.withUtf8Chars(chars -> null)).verifyComplete();
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void bytesThatAreNoText_areRefused_withTheirPositionAndNothingElse(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, new byte[] {'h', 'u', 'n', (byte) 0xff, 't'});
      reads.prepare(memory);

      StepVerifier.create(secret.withUtf8Chars(String::new))
          .verifyErrorSatisfies(
              e ->
                  assertThat(e)
                      .isExactlyInstanceOf(SecureMemoryException.class)
                      .hasMessage(
                          "the secret is not UTF-8: there is no character at byte 3; read it with"
                              + " withBytes")
                      .hasNoCause());
      // It still can be read as what it is.
      assertThat(read(secret)).containsExactly('h', 'u', 'n', 0xff, 't');
    }
  }

  @Test
  void charactersThatAreNoText_areRefusedOnSubscription_andLeftAsTheyAre() {
    try (Memory memory = new Memory(WINDOW)) {
      char[] given = {'h', 'u', '\ud800', 'n'};
      Mono<Secret> creation = memory.factory.createUtf8(given);

      StepVerifier.create(creation)
          .verifyErrorSatisfies(
              e ->
                  assertThat(e)
                      .isInstanceOf(IllegalArgumentException.class)
                      .hasMessage(
                          "the characters are not text: the surrogate at index 2 has no partner")
                      .hasNoCause());

      assertThat(given).containsExactly('h', 'u', '\ud800', 'n');
      assertThat(memory.recording.count("map")).isZero();
      assertThat(memory.factory.stats().pendingCreations()).isZero();
    }
  }

  @Test
  void characters_areLeftAsTheyAre_whereTheCreationFails() {
    try (Memory memory = new Memory(WINDOW)) {
      char[] given = "hunter2".toCharArray();
      Mono<Secret> creation = memory.factory.createUtf8(given);
      memory.recording.failNext("map", 1);

      StepVerifier.create(creation).verifyError(NativeCallException.class);
      assertThat(given).isEqualTo("hunter2".toCharArray());

      StepVerifier.create(creation.flatMap(secret -> secret.withUtf8Chars(String::new)))
          .expectNext("hunter2")
          .verifyComplete();
      assertThat(given).containsOnly('\0');
    }
  }

  @Test
  void noWork_isDoneBeforeASubscription() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));
      SecretFactory other = new Memory(WINDOW).factory;
      char[] text = {'a'};
      byte[] array = {1};
      Mono<Secret> creation = memory.factory.createUtf8(text);
      Mono<?> sealing = memory.factory.seal(array);
      int before = memory.recording.count();

      assertThat(memory.factory.createRandom(32)).isNotNull();
      assertThat(secret.seal()).isNotNull();
      assertThat(secret.copyTo(other)).isNotNull();
      assertThat(secret.chunks(1)).isNotNull();
      assertThat(secret.contentEquals(secret)).isNotNull();
      assertThat(memory.recording.count()).isEqualTo(before);
      assertThat(memory.factory.stats().liveSecrets()).isOne();
      assertThat(memory.factory.stats().pendingCreations()).isZero();

      // What is in the array when somebody subscribes is taken.
      text[0] = 'b';
      StepVerifier.create(creation.flatMap(s -> s.withUtf8Chars(String::new)))
          .expectNext("b")
          .verifyComplete();
      assertThat(array).containsExactly(1);
      assertThat(sealing).isNotNull();
      // A Flux would not say so at assembly.
      secret.close();
      assertThat(secret.chunks(1)).isNotNull();
    }
  }

  @Test
  void nothing_isRefusedAtOnce() {
    SecretFactory factory = new Memory(WINDOW).factory;

    assertThatThrownBy(() -> factory.createUtf8(new char[0])).satisfies(this::saysSo);
    assertThatThrownBy(() -> factory.seal(new byte[0])).satisfies(this::saysSo);
    assertThatThrownBy(() -> factory.createRandom(0)).satisfies(this::saysSo);
    assertThatThrownBy(() -> factory.createRandom(-1)).satisfies(this::saysSo);
    assertThatThrownBy(() -> factory.createRandom(Integer.MIN_VALUE)).satisfies(this::saysSo);
  }

  private void saysSo(Throwable e) {
    assertThat(e)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("a secret needs at least one byte");
  }

  // Random secrets

  @ParameterizedTest
  @ValueSource(ints = {1, 32, 33, 4_096, 100_000})
  void randomSecret_hasTheLength(int length) {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = memory.factory.createRandom(length).block(Await.TIMEOUT);

      assertThat(secret.length()).isEqualTo(length);
      assertThat(read(secret)).hasSize(length);
    }
  }

  @Test
  void randomSecrets_areAllDifferent_alsoOfOneMono() {
    try (Memory memory = new Memory(WINDOW)) {
      Set<ByteBuffer> seen = new HashSet<>();
      Mono<Secret> random = memory.factory.createRandom(16);

      Flux.range(0, 10_000)
          .flatMap(
              i ->
                  random.flatMap(
                      secret ->
                          secret.withBytes(
                              copy -> {
                                ByteBuffer value = ByteBuffer.wrap(copy.clone());
                                secret.close();
                                return value;
                              })),
              256)
          .doOnNext(seen::add)
          .blockLast(Await.TIMEOUT);

      assertThat(seen).hasSize(10_000);
      byte[] first = read(Objects.requireNonNull(random.block(Await.TIMEOUT)));
      assertThat(seen).doesNotContain(ByteBuffer.wrap(first));
      Await.until(() -> memory.factory.stats().queueDepth() == 0);
    }
  }

  // Comparison

  @ParameterizedTest
  @EnumSource(Reads.class)
  void contentEquals_isTrueForTheSameBytesOnly(Reads reads) {
    try (Memory memory = reads.memory();
        Memory elsewhere = reads.memory()) {
      byte[] firstDiffers = bytes(100);
      firstDiffers[0] ^= 1;
      byte[] lastDiffers = bytes(100);
      lastDiffers[99] ^= (byte) 0x80;
      Secret secret = create(memory, bytes(100));

      for (byte[] other :
          new byte[][] {bytes(100), firstDiffers, lastDiffers, bytes(99), bytes(101), bytes(1)}) {
        boolean same = Arrays.equals(other, bytes(100));
        byte[] given = other.clone();
        reads.prepare(memory);
        StepVerifier.create(secret.contentEquals(given)).expectNext(same).verifyComplete();
        assertThat(given).isEqualTo(other);

        for (Memory where : new Memory[] {memory, elsewhere}) {
          Secret otherSecret = create(where, other.clone());
          reads.prepare(memory);
          reads.prepare(elsewhere);
          StepVerifier.create(secret.contentEquals(otherSecret)).expectNext(same).verifyComplete();
          reads.prepare(memory);
          reads.prepare(elsewhere);
          StepVerifier.create(otherSecret.contentEquals(secret)).expectNext(same).verifyComplete();
        }
      }
      reads.prepare(memory);
      StepVerifier.create(secret.contentEquals(secret)).expectNext(true).verifyComplete();
      StepVerifier.create(secret.contentEquals(new byte[0])).expectNext(false).verifyComplete();
    }
  }

  @Test
  void contentEquals_signalsClosed_whicheverOfTheTwoIsClosed() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret open = create(memory, bytes(32));
      Secret closed = create(memory, bytes(32));
      closed.close();
      AtomicReference<byte @Nullable []> kept = new AtomicReference<>();

      StepVerifier.create(open.contentEquals(keepingArray(Secret.class, closed, kept)))
          .verifyError(SecretClosedException.class);
      assertThat(kept.get()).hasSize(32).containsOnly(0);
      StepVerifier.create(closed.contentEquals(open)).verifyError(SecretClosedException.class);
      StepVerifier.create(closed.contentEquals(bytes(32))).verifyError(SecretClosedException.class);
      StepVerifier.create(open.contentEquals(open)).expectNext(true).verifyComplete();
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void contentEquals_wipesItsCopy(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret left = create(memory, bytes(32));
      Secret right = create(memory, bytes(32));
      AtomicReference<byte @Nullable []> kept = new AtomicReference<>();
      reads.prepare(memory);

      StepVerifier.create(left.contentEquals(keepingArray(Secret.class, right, kept)))
          .expectNext(true)
          .verifyComplete();

      assertThat(kept.get()).hasSize(32).containsOnly(0);
    }
  }

  @Test
  void cancelledContentEquals_wipesItsCopy_whileTheOtherSecretIsRead() {
    try (Memory memory = new Memory(WINDOW);
        Memory elsewhere = Reads.COLD.memory()) {
      Secret left = create(memory, bytes(32));
      Secret right = create(elsewhere, bytes(32));
      elsewhere.letTheWindowPass();
      AtomicReference<byte @Nullable []> kept = new AtomicReference<>();
      CountDownLatch stalled = elsewhere.recording.stall();
      Disposable comparison =
          left.contentEquals(keepingArray(Secret.class, right, kept)).subscribe();
      assertThat(kept.get()).isEqualTo(bytes(32));

      comparison.dispose();

      assertThat(kept.get()).containsOnly(0);
      stalled.countDown();
      Await.until(() -> elsewhere.factory.stats().queueDepth() == 0);
    }
  }

  /** The copy is made on another thread, from the moment it says so, while this one cancels. */
  @Test
  void contentEquals_wipesItsCopy_atWhateverMomentItIsCancelled() {
    AtomicBoolean started = new AtomicBoolean();
    Scheduler threads = Schedulers.newSingle("continuation");
    LockedSecretFactory factory =
        new LockedSecretFactory(
            new RecordingMemory().memory(),
            Memory.settings(Duration.ZERO, 10),
            System::nanoTime,
            null,
            Schedulers.fromExecutor(
                task ->
                    threads.schedule(
                        () -> {
                          started.set(true);
                          task.run();
                        })));
    Secret secret = factory.create(bytes(1 << 20)).block(Await.TIMEOUT);
    for (int round = 0; round < 1_000; round++) {
      AtomicReference<byte @Nullable []> kept = new AtomicReference<>();
      Secret keeping = keepingArray(Secret.class, secret, kept);
      started.set(false);

      Disposable comparison = secret.contentEquals(keeping).subscribe();
      while (!started.get()) {
        Thread.onSpinWait();
      }
      long until = System.nanoTime() + round % 200 * 500L;
      while (System.nanoTime() < until) {
        Thread.onSpinWait();
      }
      comparison.dispose();
      Await.until(() -> factory.stats().queueDepth() == 0);
      Mono.fromRunnable(() -> {}).subscribeOn(threads).block(Await.TIMEOUT);

      byte[] copy = kept.get();
      if (copy != null) {
        assertThat(isWiped(copy)).as("round %d", round).isTrue();
      }
    }
    factory.close().block(Await.TIMEOUT);
    threads.dispose();
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void contentEquals_wipesItsCopy_whereNobodyAsksForTheResult(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, bytes(32));
      AtomicReference<byte @Nullable []> kept = new AtomicReference<>();
      Secret keeping = keepingArray(Secret.class, secret, kept);
      reads.prepare(memory);

      StepVerifier.create(secret.contentEquals(keeping).doOnDiscard(byte[].class, kept::set), 0)
          .expectSubscription()
          .then(() -> Await.until(() -> memory.factory.stats().queueDepth() == 0))
          .thenCancel()
          .verify();

      awaitContinuations();
      byte[] copy = kept.get();
      // Cold, the continuation may not have been reached.
      assertThat(copy == null ? reads != Reads.WARM : isWiped(copy)).isTrue();
    }
  }

  private static boolean isWiped(byte[] copy) {
    return Arrays.equals(copy, new byte[copy.length]);
  }

  /** What was scheduled on the threads of the continuation scheduler before this has been done. */
  private static void awaitContinuations() {
    Flux.range(0, Schedulers.DEFAULT_POOL_SIZE)
        .flatMap(i -> Mono.just(i).publishOn(Schedulers.parallel()))
        .blockLast(Await.TIMEOUT);
  }

  // Copies

  @ParameterizedTest
  @EnumSource(Reads.class)
  void copyTo_makesASecretOfItsOwn_ofTheSameOrAnotherFactory(Reads reads) {
    try (Memory memory = reads.memory();
        Memory elsewhere = reads.memory()) {
      Secret source = create(memory, bytes(100));
      for (Memory target : new Memory[] {memory, elsewhere}) {
        AtomicReference<byte @Nullable []> kept = new AtomicReference<>();
        reads.prepare(memory);

        Secret copy =
            source
                .copyTo(keepingArray(SecretFactory.class, target.factory, kept))
                .block(Await.TIMEOUT);

        assertThat(kept.get()).hasSize(100).containsOnly(0);
        assertThat(read(copy)).isEqualTo(bytes(100));
        copy.close();
        assertThat(read(source)).isEqualTo(bytes(100));
      }
      assertThat(elsewhere.factory.stats().liveSecrets()).isZero();
      Secret copy = source.copyTo(elsewhere.factory).block(Await.TIMEOUT);
      source.close();
      assertThat(read(copy)).isEqualTo(bytes(100));
    }
  }

  @Test
  void copyTo_ofAClosedSecret_signalsClosed_andMakesNothing() {
    try (Memory memory = new Memory(WINDOW);
        Memory elsewhere = new Memory(WINDOW)) {
      Secret source = create(memory, bytes(32));
      source.close();

      StepVerifier.create(source.copyTo(elsewhere.factory))
          .verifyError(SecretClosedException.class);
      StepVerifier.create(source.seal()).verifyError(SecretClosedException.class);
      assertThat(elsewhere.recording.count()).isZero();
    }
  }

  @Test
  void copyTo_wipesItsCopy_whereTheTargetIsOverloadedOrClosedOrFails() {
    try (Memory memory = new Memory(WINDOW);
        Memory overloaded = new Memory(WINDOW, 1)) {
      Secret source = create(memory, bytes(32));
      AtomicReference<byte @Nullable []> kept = new AtomicReference<>();
      SecretFactory target = keepingArray(SecretFactory.class, overloaded.factory, kept);
      overloaded.recording.failNext("map", 1);
      StepVerifier.create(source.copyTo(target)).verifyError(NativeCallException.class);
      assertThat(kept.getAndSet(null)).hasSize(32).containsOnly(0);

      CountDownLatch stalled = overloaded.recording.stall();
      CompletableFuture<Secret> first = overloaded.factory.create(bytes(32)).toFuture();
      StepVerifier.create(source.copyTo(target)).verifyError(SecureMemoryOverloadedException.class);
      assertThat(kept.getAndSet(null)).hasSize(32).containsOnly(0);

      stalled.countDown();
      get(first);
      overloaded.factory.close().block(Await.TIMEOUT);
      StepVerifier.create(source.copyTo(target)).verifyError(SecretClosedException.class);
      assertThat(kept.getAndSet(null)).hasSize(32).containsOnly(0);
      assertThat(read(source)).isEqualTo(bytes(32));
    }
  }

  @Test
  void cancelledCopyTo_wipesItsCopy_andLeavesNoSecret() {
    try (Memory memory = new Memory(WINDOW);
        Memory elsewhere = new Memory(WINDOW)) {
      Secret source = create(memory, bytes(32));
      AtomicReference<byte @Nullable []> kept = new AtomicReference<>();
      CountDownLatch stalled = elsewhere.recording.stall();
      Disposable copying =
          source.copyTo(keepingArray(SecretFactory.class, elsewhere.factory, kept)).subscribe();
      Await.until(() -> elsewhere.recording.count() > 0);
      assertThat(kept.get()).isEqualTo(bytes(32));

      copying.dispose();

      assertThat(kept.get()).containsOnly(0);
      stalled.countDown();
      Await.until(() -> elsewhere.factory.stats().pendingCreations() == 0);
      Await.until(() -> elsewhere.factory.stats().liveSecrets() == 0);
    }
  }

  /** Or a retry behind it would go on with a key of zeros. */
  @Test
  void arrayThatWasTaken_isNotTakenAgain() {
    try (Memory memory = new Memory(Duration.ofSeconds(1))) {
      assertTakenOnce(memory.factory.create(bytes(32)));
      assertTakenOnce(memory.factory.createUtf8("text".toCharArray()));
      assertTakenOnce(memory.factory.seal(bytes(32)));

      memory.recording.failNext("protect", 1);
      byte[] key = bytes(32);
      StepVerifier.create(
              memory
                  .factory
                  .create(key)
                  .retry(1)
                  .flatMap(secret -> secret.contentEquals(bytes(32))))
          .expectNext(true)
          .verifyComplete();
    }
  }

  private static void assertTakenOnce(Mono<?> taking) {
    StepVerifier.create(taking).expectNextCount(1).verifyComplete();
    StepVerifier.create(taking)
        .verifyErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("the array is taken by another subscription, or was"));
  }
}
