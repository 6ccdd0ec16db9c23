package io.asherah.reactive.securememory.internal;

import static io.asherah.reactive.securememory.internal.Samples.bytes;
import static io.asherah.reactive.securememory.internal.Samples.create;
import static io.asherah.reactive.securememory.internal.Samples.read;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.Enclave;
import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryException;
import io.asherah.reactive.securememory.SecureMemoryOverloadedException;
import io.asherah.reactive.securememory.internal.Samples.Reads;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import io.asherah.reactive.testsupport.Await;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class EnclaveTest {
  /** So long that all regions stay readable, also for this test. */
  private static final Duration WINDOW = Duration.ofHours(1);

  private static final Duration REKEYED = Duration.ofSeconds(1);
  private static final long PAGE = 4_096;

  private static SealedEnclave seal(Memory memory, byte[] bytes) {
    return (SealedEnclave) Objects.requireNonNull(memory.factory.seal(bytes).block(Await.TIMEOUT));
  }

  /** What is sealed in there. */
  private static byte[] open(Enclave enclave) {
    Secret secret = Objects.requireNonNull(enclave.open().block(Await.TIMEOUT));
    byte[] bytes = read(secret);
    secret.close();
    return bytes;
  }

  private static void awaitIdle(Memory memory) {
    Await.until(() -> memory.factory.stats().queueDepth() == 0);
  }

  private static void assertOpens(Enclave enclave, byte[] expected) {
    assertThat(open(enclave)).isEqualTo(expected);
  }

  // Sealing and opening

  @ParameterizedTest
  @ValueSource(ints = {1, 15, 16, 17, 32, 4_096, 4_097, 100_000})
  void bytes_comeBackAsTheyWere_andTheCallersArrayIsWiped(int length) {
    try (Memory memory = new Memory(WINDOW)) {
      byte[] given = bytes(length);

      Enclave enclave = seal(memory, given);

      assertThat(given).containsOnly(0);
      assertThat(enclave.length()).isEqualTo(length);
      for (int i = 0; i < 3; i++) {
        assertOpens(enclave, bytes(length));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Reads.class)
  void sealAndOpen_workWhateverStateTheMemoryIsIn(Reads reads) {
    try (Memory memory = reads.memory()) {
      Secret secret = create(memory, bytes(100));
      reads.prepare(memory);
      Enclave ofTheSecret = secret.seal().block(Await.TIMEOUT);
      reads.prepare(memory);
      Enclave ofTheArray = seal(memory, bytes(100));
      reads.prepare(memory);
      assertOpens(ofTheArray, bytes(100));
      secret.close();
      reads.prepare(memory);
      assertOpens(ofTheSecret, bytes(100));
    }
  }

  @Test
  void everySubscription_makesAnEnclaveAndASecretOfItsOwn() {
    try (Memory memory = new Memory(WINDOW)) {
      Mono<Enclave> sealing = create(memory, bytes(32)).seal();
      SealedEnclave one = (SealedEnclave) sealing.block(Await.TIMEOUT);
      SealedEnclave two = (SealedEnclave) sealing.block(Await.TIMEOUT);

      assertThat(one.nonce).hasSize(12).isNotEqualTo(two.nonce);
      assertThat(one.sealed).hasSize(32 + 16).isNotEqualTo(two.sealed);

      Mono<Secret> opening = one.open();
      Secret first = opening.block(Await.TIMEOUT);
      Secret second = opening.block(Await.TIMEOUT);
      first.close();
      assertThat(read(second)).isEqualTo(bytes(32));
    }
  }

  @Test
  void enclaves_takeNoLockedMemory_butThatOfTheTwoHalves() {
    try (Memory memory = new Memory(WINDOW)) {
      for (int i = 0; i < 100; i++) {
        seal(memory, bytes(1_000));
      }

      assertThat(memory.factory.stats().liveSecrets()).isEqualTo(2);
      assertThat(memory.factory.stats().lockedBytes()).isEqualTo(2 * PAGE);
    }
  }

  @Test
  void factoryWithoutEnclaves_holdsNoHalves() {
    try (Memory memory = new Memory(WINDOW)) {
      Secret secret = create(memory, bytes(32));

      assertThat(memory.factory.stats().liveSecrets()).isOne();
      assertThat(memory.recording.count("lock")).isOne();
      assertThat(memory.time.getScheduledTaskCount()).isOne();
      Reference.reachabilityFence(secret);
    }
  }

  @Test
  void toString_hidesEverything() {
    try (Memory memory = new Memory(WINDOW)) {
      assertThat(seal(memory, bytes(32))).hasToString("Enclave[****]");
    }
  }

  // Errors

  @Test
  void tamperedEnclave_isRefused_andSaysNothing() {
    try (Memory memory = new Memory(WINDOW);
        Memory elsewhere = new Memory(WINDOW)) {
      byte[] text = "hunter2".getBytes(StandardCharsets.UTF_8);
      SealedEnclave enclave = seal(memory, text);
      for (byte[] part : List.of(enclave.nonce, enclave.sealed)) {
        for (int i = 0; i < part.length; i++) {
          part[i] ^= 0x10;
          assertRefused(enclave);
          part[i] ^= 0x10;
        }
      }
      byte[] sealed = enclave.sealed;
      for (int length : new int[] {16, 22, 24, 100}) {
        assertRefused(
            new SealedEnclave(memory.factory, 7, enclave.nonce, Arrays.copyOf(sealed, length)));
      }
      seal(elsewhere, bytes(1));
      assertRefused(new SealedEnclave(elsewhere.factory, 7, enclave.nonce, sealed));

      assertOpens(enclave, "hunter2".getBytes(StandardCharsets.UTF_8));
      assertThat(memory.factory.stats().liveSecrets()).isLessThanOrEqualTo(3);
      awaitIdle(memory);
    }
  }

  private static void assertRefused(Enclave enclave) {
    StepVerifier.create(enclave.open())
        .verifyErrorSatisfies(
            e ->
                assertThat(e)
                    .isExactlyInstanceOf(SecureMemoryException.class)
                    .hasMessage("the enclave was sealed by another factory or tampered with")
                    .hasStackTraceContaining("AEADBadTagException")
                    .satisfies(
                        all ->
                            assertThat(String.valueOf(all.getCause())).doesNotContain("hunter")));
  }

  @Test
  void closedFactory_neitherSealsNorOpens_andLeavesTheArray() {
    Memory memory = new Memory(WINDOW);
    Enclave enclave = seal(memory, bytes(32));
    Secret secret = create(memory, bytes(32));
    memory.close();
    byte[] given = bytes(32);

    StepVerifier.create(enclave.open()).verifyError(SecretClosedException.class);
    StepVerifier.create(memory.factory.seal(given)).verifyError(SecretClosedException.class);
    StepVerifier.create(secret.seal()).verifyError(SecretClosedException.class);
    assertThat(given).isEqualTo(bytes(32));
    assertThat(enclave.length()).isEqualTo(32);
    assertThat(memory.factory.stats().pendingCreations()).isZero();
  }

  @Test
  void purge_endsEnclaves() {
    Memory memory = new Memory(WINDOW);
    Enclave enclave = seal(memory, bytes(32));

    memory.factory.purge();

    StepVerifier.create(enclave.open()).verifyError(SecretClosedException.class);
    memory.close();
  }

  @Test
  void surplusSealingsAndOpenings_areRefused_andLeaveTheArray() {
    try (Memory memory = new Memory(WINDOW, 1)) {
      Enclave enclave = seal(memory, bytes(32));
      CountDownLatch stalled = memory.recording.stall();
      // A secret of its own region, whose native calls stall.
      CompletableFuture<Secret> first = memory.factory.create(bytes(8_192)).toFuture();
      byte[] given = bytes(32);

      StepVerifier.create(memory.factory.seal(given))
          .verifyError(SecureMemoryOverloadedException.class);
      StepVerifier.create(enclave.open()).verifyError(SecureMemoryOverloadedException.class);
      assertThat(given).isEqualTo(bytes(32));

      stalled.countDown();
      first.orTimeout(30, TimeUnit.SECONDS).join();
      assertOpens(enclave, bytes(32));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "pageSize, 1",
    "map, 1",
    "map, 2",
    "lock, 1",
    "lock, 2",
    "excludeFromCoreDumps, 1",
    "excludeFromForks, 2",
    "view, 1",
    "view, 3",
    "protect, 1",
    "protect, 2",
    "protect, 3",
    "protect, 4"
  })
  void failedCreationOfTheHalves_isTold_leavesNothing_andTheNextOneWorks(String call, int nth) {
    try (Memory memory = new Memory(WINDOW)) {
      memory.recording.failNext(call, nth);
      byte[] given = bytes(32);

      StepVerifier.create(memory.factory.seal(given)).verifyError(SecureMemoryException.class);

      assertThat(given).isEqualTo(bytes(32));
      awaitIdle(memory);
      assertThat(memory.factory.stats().liveSecrets()).isZero();
      assertThat(memory.factory.stats().pendingCreations()).isZero();

      Enclave enclave = seal(memory, given);
      assertThat(given).containsOnly(0);
      assertOpens(enclave, bytes(32));
    }
  }

  @Test
  void failedReadOfTheHalves_isTold_andTheNextOneWorks() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Enclave enclave = seal(memory, bytes(32));
      byte[] given = bytes(32);
      for (Mono<?> attempt : List.of(enclave.open(), memory.factory.seal(given))) {
        awaitIdle(memory);
        memory.recording.failNext("protect", 1);
        StepVerifier.create(attempt).verifyError(NativeCallException.class);
      }
      assertThat(given).isEqualTo(bytes(32));

      assertOpens(enclave, bytes(32));
      awaitIdle(memory);
    }
  }

  @Test
  void failedCreationOfTheOpenedSecret_isTold_andTheNextOneWorks() {
    try (Memory memory = new Memory(WINDOW)) {
      Enclave enclave = seal(memory, bytes(32));
      memory.recording.failNext("map", 1);

      StepVerifier.create(enclave.open()).verifyError(NativeCallException.class);

      assertOpens(enclave, bytes(32));
      Await.until(() -> memory.factory.stats().liveSecrets() == 2);
    }
  }

  // Cancellation

  @Test
  void cancelledSealingsAndOpenings_leaveNothing_atWhateverMomentTheyAreCancelled() {
    try (Memory memory = new Memory(WINDOW, 100_000)) {
      Enclave enclave = seal(memory, bytes(32));
      for (int round = 0; round < 1_000; round++) {
        Disposable opening = enclave.open().doOnNext(Secret::close).subscribe();
        Disposable sealing = memory.factory.seal(bytes(32)).subscribe();
        for (int spin = 0; spin < round % 250 * 40; spin++) {
          Thread.onSpinWait();
        }
        opening.dispose();
        sealing.dispose();
      }

      Await.until(() -> memory.factory.stats().pendingCreations() == 0);
      assertOpens(enclave, bytes(32));
      Await.until(() -> memory.factory.stats().liveSecrets() == 2);
    }
  }

  // The coffer

  /** The regions of the two halves, as the system sees them. */
  private static List<Long> addressesOfTheHalves(Memory memory) {
    return memory.recording.calls().stream()
        .filter(call -> call.name().equals("lock") && (long) call.arguments().get(1) == PAGE)
        .map(call -> (long) call.arguments().get(0))
        .toList();
  }

  /** The one slot of that region that is not empty. */
  private static byte[] half(Memory memory, long address) {
    // Halves are unreadable but for the moment of their use.
    memory.settle();
    NativeMemory system = Platforms.memory(false);
    system.protect(address, PAGE, NativeMemory.Access.READ);
    byte[] page = new Pointer(address).getByteArray(0, (int) PAGE - Canary.LENGTH);
    system.protect(address, PAGE, NativeMemory.Access.NONE);
    byte[] found = new byte[0];
    for (int i = 0; i < page.length; i += 32) {
      byte[] slot = Arrays.copyOfRange(page, i, i + 32);
      if (!Arrays.equals(slot, new byte[32])) {
        assertThat(found).as("another half").isEmpty();
        found = slot;
      }
    }
    assertThat(found).as("a half").isNotEmpty();
    return found;
  }

  private static byte[] key(byte[] left, byte[] right) {
    try {
      byte[] key = MessageDigest.getInstance("SHA-256").digest(right);
      for (int i = 0; i < key.length; i++) {
        key[i] ^= left[i];
      }
      return key;
    } catch (GeneralSecurityException e) {
      throw new AssertionError(e);
    }
  }

  private static void rekey(Memory memory) {
    memory.time.advanceTimeBy(REKEYED);
    awaitIdle(memory);
  }

  @Test
  void halves_lieInRegionsOfTheirOwn_andOnlyBothTogetherMakeTheKey()
      throws GeneralSecurityException {
    try (Memory memory = new Memory(WINDOW)) {
      create(memory, bytes(32));
      SealedEnclave enclave = seal(memory, bytes(100));
      List<Long> addresses = addressesOfTheHalves(memory);
      assertThat(addresses).hasSize(2);
      // Guard pages are around each.
      assertThat(Math.abs(addresses.get(0) - addresses.get(1))).isGreaterThanOrEqualTo(2 * PAGE);
      byte[] left = half(memory, addresses.get(0));
      byte[] right = half(memory, addresses.get(1));
      byte[] key = key(left, right);
      assertThat(left).isNotEqualTo(right);
      assertThat(key).isNotEqualTo(left).isNotEqualTo(right);

      Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
      cipher.init(
          Cipher.DECRYPT_MODE,
          new SecretKeySpec(key, "AES"),
          new GCMParameterSpec(128, enclave.nonce));
      assertThat(cipher.doFinal(enclave.sealed)).isEqualTo(bytes(100));
    }
  }

  @Test
  void everySecond_bothHalvesAreReplaced_andMakeTheSameKey() {
    try (Memory memory = new Memory(WINDOW)) {
      Enclave enclave = seal(memory, bytes(100));
      List<Long> addresses = addressesOfTheHalves(memory);
      byte[] key = key(half(memory, addresses.get(0)), half(memory, addresses.get(1)));
      Set<String> seen = new HashSet<>();

      for (int second = 0; second < 20; second++) {
        byte[] left = half(memory, addresses.get(0));
        byte[] right = half(memory, addresses.get(1));
        assertThat(key(left, right)).isEqualTo(key);
        assertThat(seen.add(Arrays.toString(left))).as("a new left half").isTrue();
        assertThat(seen.add(Arrays.toString(right))).as("a new right half").isTrue();
        assertOpens(enclave, bytes(100));

        memory.time.advanceTimeBy(REKEYED.minusNanos(1));
        awaitIdle(memory);
        assertThat(half(memory, addresses.get(0))).isEqualTo(left);
        memory.time.advanceTimeBy(Duration.ofNanos(1));
        awaitIdle(memory);
      }

      assertThat(memory.factory.stats().liveSecrets()).isEqualTo(2);
      assertThat(addressesOfTheHalves(memory)).hasSize(2);
    }
  }

  @Test
  void openings_workWhileTheHalvesAreReplaced() {
    try (Memory memory = new Memory(WINDOW, 100_000)) {
      Enclave enclave = seal(memory, bytes(100));
      byte[] left = half(memory, addressesOfTheHalves(memory).get(0));
      CompletableFuture<Long> opened =
          Flux.range(0, 5_000)
              .flatMap(
                  i ->
                      i % 10 == 0
                          ? memory.factory.seal(bytes(100)).flatMap(Enclave::open)
                          : enclave.open(),
                  500)
              .flatMap(
                  secret -> secret.contentEquals(bytes(100)).doFinally(signal -> secret.close()))
              .filter(same -> same)
              .count()
              .toFuture();

      while (!opened.isDone()) {
        memory.time.advanceTimeBy(REKEYED);
        Thread.onSpinWait();
      }

      assertThat(opened.join()).isEqualTo(5_000);
      awaitIdle(memory);
      assertThat(half(memory, addressesOfTheHalves(memory).get(0))).isNotEqualTo(left);
      assertOpens(enclave, bytes(100));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5, 6, 7, 8})
  void failedRekey_keepsTheKey_andIsDoneASecondLater(int nth) {
    try (Memory memory = new Memory(WINDOW)) {
      Enclave enclave = seal(memory, bytes(32));
      List<Long> addresses = addressesOfTheHalves(memory);
      byte[] key = key(half(memory, addresses.get(0)), half(memory, addresses.get(1)));
      memory.recording.failNext("protect", nth);

      rekey(memory);

      assertOpens(enclave, bytes(32));
      // What could not be wiped is wiped a second later, and the halves are replaced again.
      rekey(memory);
      rekey(memory);
      byte[] left = half(memory, addressesInUse(memory).get(0));
      byte[] right = half(memory, addressesInUse(memory).get(1));
      assertThat(key(left, right)).isEqualTo(key);
      rekey(memory);
      assertThat(half(memory, addressesInUse(memory).get(0))).isNotEqualTo(left);
      assertThat(half(memory, addressesInUse(memory).get(1))).isNotEqualTo(right);
      assertOpens(enclave, bytes(32));
      assertThat(memory.factory.stats().liveSecrets()).isEqualTo(2);
    }
  }

  private static List<Long> addressesInUse(Memory memory) {
    assertThat(addressesOfTheHalves(memory)).hasSize(2);
    return addressesOfTheHalves(memory);
  }

  @Test
  void closedHalves_areReadAndReplaced_inStrictMode() {
    try (Memory memory = new Memory(Duration.ZERO)) {
      Enclave enclave = seal(memory, bytes(32));
      awaitIdle(memory);
      for (int second = 0; second < 5; second++) {
        int before = memory.recording.count("protect");
        rekey(memory);
        // To be written, both regions are opened and closed, if not more.
        assertThat(memory.recording.count("protect") - before).isGreaterThanOrEqualTo(8);
        assertOpens(enclave, bytes(32));
        awaitIdle(memory);
      }
    }
  }

  @Test
  void rekeying_ends_whenTheFactoryIsClosed() {
    Memory memory = new Memory(WINDOW);
    seal(memory, bytes(32));
    rekey(memory);

    memory.close();
    int calls = memory.recording.count();
    // Counts those that were done as well.
    long timers = memory.time.getScheduledTaskCount();
    for (int second = 0; second < 5; second++) {
      memory.time.advanceTimeBy(REKEYED);
      awaitIdle(memory);
    }

    assertThat(memory.time.getScheduledTaskCount()).isEqualTo(timers);
    assertThat(memory.recording.count()).isEqualTo(calls);
    assertThat(memory.factory.stats().lockedBytes()).isZero();
  }

  /**
   * Closing completes when all memory was returned, also that which a rekey was about to take. The
   * rekey waits behind a task of this test, so that both can start at the same moment.
   */
  @Test
  void closeDuringARekey_leavesNothing() {
    for (int round = 0; round < 500; round++) {
      Memory memory = new Memory(WINDOW);
      seal(memory, bytes(1));
      awaitIdle(memory);
      AtomicInteger waiting = new AtomicInteger();
      AtomicBoolean go = new AtomicBoolean();
      CountDownLatch other = new CountDownLatch(1);
      memory
          .factory
          .scheduler()
          .schedule(
              () -> {
                waiting.incrementAndGet();
                while (!go.get()) {
                  Thread.onSpinWait();
                }
              });
      memory
          .factory
          .scheduler()
          .schedule(
              () -> {
                waiting.incrementAndGet();
                awaitUninterruptibly(other);
              });
      Await.until(() -> waiting.get() == 2);
      memory.time.advanceTimeBy(REKEYED);

      go.set(true);
      long until = System.nanoTime() + round % 100 * 1_000L;
      while (System.nanoTime() < until) {
        Thread.onSpinWait();
      }
      memory.factory.purge();
      other.countDown();

      memory.close();
      int locks = memory.recording.count("lock");
      awaitIdle(memory);
      assertThat(memory.recording.count("lock")).as("round %d", round).isEqualTo(locks);
      assertThat(memory.factory.stats().lockedBytes()).isZero();
    }
  }

  private static void awaitUninterruptibly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  // Real time

  @Test
  void manyThreads_sealAndOpen() {
    SecretFactory factory = SecretFactory.builder().accessWindow(Duration.ofMillis(1)).build();
    Scheduler threads = Schedulers.newParallel("sealer", 16);

    Flux.range(0, 16)
        .flatMap(
            thread ->
                Flux.range(0, 100)
                    .concatMap(
                        i ->
                            factory
                                .seal(bytes(thread * 100 + i + 1))
                                .flatMap(Enclave::open)
                                .flatMap(
                                    secret ->
                                        secret
                                            .contentEquals(bytes(thread * 100 + i + 1))
                                            .doFinally(signal -> secret.close())))
                    .subscribeOn(threads))
        .all(same -> same)
        .as(StepVerifier::create)
        .expectNext(true)
        .verifyComplete();

    threads.dispose();
    factory.close().block(Await.TIMEOUT);
    assertThat(factory.stats().lockedBytes()).isZero();
    assertThat(factory.stats().liveSecrets()).isZero();
  }

  @Test
  void sealing_ofNothing_isRefusedAtOnce() {
    try (Memory memory = new Memory(WINDOW)) {
      assertThatThrownBy(() -> memory.factory.seal(new byte[0]))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("a secret needs at least one byte");
    }
  }
}
