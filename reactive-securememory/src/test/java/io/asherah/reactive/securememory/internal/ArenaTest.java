package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class ArenaTest {
  private static final Duration WINDOW = Duration.ofSeconds(1);
  private static final int REGION = 16_384;
  private static final int KEYS_OF_A_REGION = 511;

  private static byte[] bytes(int length, int value) {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) value);
    return bytes;
  }

  /** A secret that nobody holds would be closed by the garbage collector. */
  private final List<Secret> kept = new ArrayList<>();

  private Secret create(Memory memory, int length) {
    Secret secret = memory.factory.create(bytes(length, 7)).block(Await.TIMEOUT);
    kept.add(secret);
    return secret;
  }

  private List<Secret> createKeys(Memory memory, int count) {
    List<Secret> keys =
        Flux.range(0, count)
            .flatMap(i -> memory.factory.create(bytes(32, 1 + i % 100)), 512)
            .collectList()
            .block(Await.TIMEOUT);
    kept.addAll(keys);
    return new ArrayList<>(keys);
  }

  private static long lockedBytes(Memory memory) {
    return memory.factory.stats().lockedBytes();
  }

  @Test
  void region_holds511Keys() {
    try (Memory memory = new Memory(WINDOW)) {
      createKeys(memory, KEYS_OF_A_REGION);
      assertThat(lockedBytes(memory)).isEqualTo(REGION);

      create(memory, 32);
      assertThat(lockedBytes(memory)).isEqualTo(2 * REGION);
      assertThat(memory.recording.count("map")).isEqualTo(2);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 32, 33, 4_095, 4_096})
  void smallSecret_sharesTheRegion_andTakesItsLengthInGranules(int length) {
    try (Memory memory = new Memory(WINDOW)) {
      int granules = GranuleMap.granulesFor(length);
      for (int i = 0; i < KEYS_OF_A_REGION / granules; i++) {
        create(memory, length);
      }
      assertThat(lockedBytes(memory)).isEqualTo(REGION);

      create(memory, length);
      assertThat(lockedBytes(memory)).isEqualTo(2 * REGION);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {4_097, 8_160, 8_161, 100_000})
  void largeSecret_hasARegionOfItsOwn_whichIsReturnedWhenItIsClosed(int length) {
    try (Memory memory = new Memory(WINDOW)) {
      int own = (length + 31) / 32 * 32 + 32;
      int pages = (own + 4_095) / 4_096 * 4_096;
      Secret large = create(memory, length);
      assertThat(lockedBytes(memory)).isEqualTo(pages);

      Secret small = create(memory, 32);
      assertThat(lockedBytes(memory)).isEqualTo(pages + REGION);
      Secret another = create(memory, length);
      assertThat(lockedBytes(memory)).isEqualTo(2 * pages + REGION);

      large.close();
      another.close();
      memory.settle();
      assertThat(lockedBytes(memory)).isEqualTo(REGION);
      StepVerifier.create(small.withBytes(copy -> copy[0])).expectNext((byte) 7).verifyComplete();
    }
  }

  @Test
  void freedSlot_isWiped_andTheFirstToBeUsedAgain() {
    try (Memory memory = new Memory(WINDOW)) {
      List<Secret> keys = createKeys(memory, 10);
      List<Integer> offsets = keys.stream().map(key -> SecretSlots.slotOf(key).offset).toList();
      assertThat(offsets).doesNotHaveDuplicates();
      for (int freed : new int[] {6, 3, 8}) {
        keys.get(freed).close();
      }
      memory.settle();
      byte[] first = new byte[10 * 32];
      new Pointer(memory.recording.lastLockedAddress()).getByteBuffer(0, 10 * 32).get(0, first);
      for (int freed : new int[] {6, 3, 8}) {
        int offset = offsets.get(freed);
        assertThat(Arrays.copyOfRange(first, offset, offset + 32)).containsOnly(0);
      }

      List<Integer> reused = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        Secret again = create(memory, 32);
        StepVerifier.create(again.withBytes(byte[]::clone))
            .expectNextMatches(copy -> Arrays.equals(copy, bytes(32, 7)))
            .verifyComplete();
        reused.add(SecretSlots.slotOf(again).offset);
      }

      List<Integer> expected = new ArrayList<>();
      for (int freed : new int[] {6, 3, 8}) {
        expected.add(offsets.get(freed));
      }
      Collections.sort(expected);
      assertThat(reused).isEqualTo(expected);
    }
  }

  @Test
  void scatteredSecrets_doNotMakeTheMemoryGrow_andEverythingIsReturned() {
    long seed = new Random().nextLong();
    Random random = new Random(seed);
    try (Memory memory = new Memory(WINDOW)) {
      int count = 20_000;
      List<Secret> secrets = createKeys(memory, count);
      long peak = lockedBytes(memory);
      assertThat(peak).isEqualTo((count / KEYS_OF_A_REGION + 1) * REGION);

      for (int round = 0; round < 3; round++) {
        Collections.shuffle(secrets, random);
        List<Secret> closed = secrets.subList(count / 100, count);
        closed.forEach(Secret::close);
        closed.clear();
        memory.settle();
        assertThat(memory.factory.stats().liveSecrets()).isEqualTo(count / 100);

        secrets.addAll(createKeys(memory, count - count / 100));
        assertThat(lockedBytes(memory)).as("seed %d, round %d", seed, round).isEqualTo(peak);
      }

      secrets.forEach(Secret::close);
      memory.settle();
      Await.until(() -> lockedBytes(memory) == REGION);
      memory.time.advanceTimeBy(Duration.ofSeconds(30));
      Await.until(() -> lockedBytes(memory) == 0);
      assertThat(memory.recording.mappingsLeft()).isEmpty();
    }
  }

  @Test
  void spareRegion_isReturnedAfter30Seconds_andNotBefore() {
    try (Memory memory = new Memory(WINDOW)) {
      create(memory, 32).close();
      memory.settle();
      assertThat(lockedBytes(memory)).isEqualTo(REGION);

      memory.time.advanceTimeBy(Duration.ofSeconds(30).minusNanos(1));
      memory.settle();
      assertThat(lockedBytes(memory)).isEqualTo(REGION);

      memory.time.advanceTimeBy(Duration.ofNanos(1));
      Await.until(() -> lockedBytes(memory) == 0);
    }
  }

  @Test
  void spareRegionThatIsUsedAgain_isNotReturned_andIsKeptAsLongWhenItIsEmptyAgain() {
    try (Memory memory = new Memory(WINDOW)) {
      create(memory, 32).close();
      memory.settle();
      memory.time.advanceTimeBy(Duration.ofSeconds(20));
      Secret again = create(memory, 32);
      memory.time.advanceTimeBy(Duration.ofSeconds(20));
      memory.settle();
      StepVerifier.create(again.withBytes(copy -> copy[0])).expectNext((byte) 7).verifyComplete();

      again.close();
      memory.settle();
      create(memory, 32).close();
      memory.settle();
      memory.time.advanceTimeBy(Duration.ofSeconds(29));
      memory.settle();
      assertThat(lockedBytes(memory)).isEqualTo(REGION);
      memory.time.advanceTimeBy(Duration.ofSeconds(1));
      Await.until(() -> lockedBytes(memory) == 0);
      assertThat(memory.recording.count("map")).isOne();
    }
  }

  @Test
  void spareRegionThatIsSpareAgain_isKeptForTheWholeTimeAnew() {
    try (Memory memory = new Memory(WINDOW)) {
      create(memory, 32).close();
      memory.settle();
      memory.time.advanceTimeBy(Duration.ofSeconds(20));
      create(memory, 32).close();
      memory.settle();

      memory.time.advanceTimeBy(Duration.ofSeconds(29));
      memory.settle();
      assertThat(lockedBytes(memory)).isEqualTo(REGION);
      memory.time.advanceTimeBy(Duration.ofSeconds(1));
      Await.until(() -> lockedBytes(memory) == 0);
    }
  }

  @Test
  void secretsMadeAndClosedOneByOne_mapOneRegion_andLeaveNoTimers() {
    RecordingMemory recording = new RecordingMemory();
    ScheduledThreadPoolExecutor timer = new ScheduledThreadPoolExecutor(1);
    timer.setRemoveOnCancelPolicy(true);
    LockedSecretFactory factory =
        new LockedSecretFactory(
            recording.memory(),
            Memory.settings(Duration.ofHours(1), 10),
            System::nanoTime,
            Schedulers.fromExecutorService(timer),
            Schedulers.parallel());
    for (int i = 0; i < 1_000; i++) {
      factory.create(bytes(32, 7)).block(Await.TIMEOUT).close();
      Await.until(() -> factory.stats().queueDepth() == 0);
    }

    assertThat(recording.count("map")).isOne();
    assertThat(recording.count("unmap")).isZero();
    // The one of the spare region and the one of the access window.
    assertThat(timer.getQueue()).hasSize(2);
    factory.close().block(Await.TIMEOUT);
    timer.shutdownNow();
  }

  @Test
  void secondEmptyRegion_isReturnedAtOnce() {
    try (Memory memory = new Memory(WINDOW)) {
      List<Secret> keys = createKeys(memory, 3 * KEYS_OF_A_REGION);

      keys.forEach(Secret::close);
      memory.settle();

      Await.until(() -> lockedBytes(memory) == REGION);
      assertThat(memory.recording.count("unmap")).isEqualTo(2);
    }
  }

  @Test
  void lastPagesBelowTheLimit_areUsed_whenAWholeRegionIsRefused() {
    try (Memory memory = new Memory(WINDOW)) {
      memory.recording.failNext("lock", 1);

      Secret secret = create(memory, 32);

      assertThat(lockedBytes(memory)).isEqualTo(4_096);
      assertThat(memory.recording.mappingsLeft()).hasSize(1);
      StepVerifier.create(secret.withBytes(copy -> copy[0])).expectNext((byte) 7).verifyComplete();
      // The page is shared as any region is: a canary and 127 keys.
      createKeys(memory, 126);
      assertThat(lockedBytes(memory)).isEqualTo(4_096);
      create(memory, 32);
      assertThat(lockedBytes(memory)).isEqualTo(4_096 + REGION);
    }
  }

  @Test
  void factoryClosedWhileARegionIsSpare_returnsItOnce() {
    Memory memory = new Memory(WINDOW);
    create(memory, 32).close();
    memory.settle();
    assertThat(lockedBytes(memory)).isEqualTo(REGION);

    memory.close();
    memory.time.advanceTimeBy(Duration.ofSeconds(60));
    memory.settle();

    assertThat(memory.recording.mappingsLeft()).isEmpty();
    assertThat(memory.recording.count("unmap")).isOne();
  }

  @Test
  void manyFactories_shareNothing_andLeaveNothing() {
    List<Memory> memories = new ArrayList<>();
    List<Secret> secrets = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      Memory memory = new Memory(WINDOW);
      memories.add(memory);
      secrets.add(memory.factory.create(bytes(32, i + 1)).block(Await.TIMEOUT));
    }
    for (int i = 0; i < 40; i += 2) {
      memories.get(i).close();
    }
    for (int i = 0; i < 40; i++) {
      byte expected = (byte) (i + 1);
      assertThat(secrets.get(i).isClosed()).isEqualTo(i % 2 == 0);
      if (i % 2 != 0) {
        StepVerifier.create(secrets.get(i).withBytes(copy -> copy[31]))
            .expectNext(expected)
            .verifyComplete();
        memories.get(i).close();
      }
    }
    assertThat(memories).allMatch(memory -> memory.recording.mappingsLeft().isEmpty());
  }
}
