package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.asherah.reactive.securememory.LimitPolicy;
import io.asherah.reactive.securememory.MemfdSecret;
import io.asherah.reactive.securememory.MemoryLimitException;
import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecureMemoryStats;
import io.asherah.reactive.securememory.UnsupportedPlatformException;
import io.asherah.reactive.securememory.internal.RecordingMemory.Call;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Hiding;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Flux;
import reactor.test.StepVerifier;

class MemoryLimitTest {
  private static final Duration WINDOW = Duration.ofSeconds(1);
  private static final int REGION = 16_384;
  private static final long LIMIT = 1 << 20;

  private static Memory withBudget(long budget, LimitPolicy policy) {
    Memory memory = new Memory(Memory.settings(WINDOW, budget, policy));
    if (budget > 0) {
      memory.recording.answerLimit(LIMIT);
    }
    return memory;
  }

  private static Memory with(MemfdSecret memfdSecret) {
    return new Memory(Memory.settings(WINDOW, memfdSecret));
  }

  /** A secret that nobody holds would be closed by the garbage collector. */
  private final List<Secret> kept = new ArrayList<>();

  private Secret create(Memory memory) {
    Secret secret = memory.factory.create(new byte[32]).block(Await.TIMEOUT);
    kept.add(secret);
    return secret;
  }

  /** Those that reserve, lock or give back, up to the first region. */
  private static List<Call> probe(Memory memory) {
    return memory.recording.calls().stream()
        .filter(call -> List.of("map", "protect", "lock", "unlock", "unmap").contains(call.name()))
        .limit(5)
        .toList();
  }

  @ParameterizedTest
  @CsvSource({"1, 1", "16352, 1", "16353, 2", "320000, 20"})
  void budget_isReallyLocked_onceAndBeforeTheFirstSecret(long budget, int regions) {
    try (Memory memory = withBudget(budget, LimitPolicy.FAIL)) {
      assertThat(memory.recording.count()).isZero();
      create(memory);

      long bytes = (long) regions * REGION;
      List<Call> probe = probe(memory);
      assertThat(probe.stream().map(Call::name))
          .containsExactly("map", "protect", "lock", "unlock", "unmap");
      assertThat(probe.get(0).argument(0)).isEqualTo(bytes);
      long address = probe.get(1).argument(0);
      assertThat(probe.get(1).arguments()).containsExactly(address, bytes, Access.READ_WRITE);
      for (Call call : probe.subList(2, 5)) {
        assertThat(call.arguments()).containsExactly(address, bytes);
      }

      create(memory);
      assertThat(memory.recording.count("map")).isEqualTo(2);
      assertThat(memory.factory.stats().lockedBytes()).isEqualTo(REGION);
    }
  }

  @Test
  void budgetBeyondTheLimit_isRefusedWithoutTrying() {
    try (Memory memory = withBudget(LIMIT, LimitPolicy.FAIL)) {
      StepVerifier.create(memory.factory.create(new byte[32]))
          .verifyErrorSatisfies(e -> assertThat(e).isInstanceOf(MemoryLimitException.class));
      assertThat(memory.recording.count("map")).isZero();
    }
  }

  @Test
  void budgetOfAProcessWithoutLimit_isNotTried() {
    try (Memory memory = withBudget(LIMIT, LimitPolicy.FAIL)) {
      memory.recording.answerLimit(-1);
      create(memory);
      assertThat(memory.recording.count("map")).isOne();
      assertThat(memory.factory.stats().limitBytes()).isEqualTo(SecureMemoryStats.NOT_LIMITED);
    }
  }

  @Test
  void creationRightAfterAClose_findsTheRoom_whereThereIsNoMore() {
    try (Memory memory = new Memory(WINDOW)) {
      memory.recording.allowRegions(1);
      for (int round = 0; round < 500; round++) {
        Secret large = memory.factory.create(new byte[40_000]).block(Await.TIMEOUT);
        large.close();
      }
      Secret large = memory.factory.create(new byte[40_000]).block(Await.TIMEOUT);
      StepVerifier.create(memory.factory.create(new byte[40_000]))
          .verifyError(MemoryLimitException.class);
      assertThat(large.isClosed()).isFalse();
    }
  }

  @Test
  void regionThatIsKeptForAWhile_isGivenUp_whereThereIsNoMore() {
    try (Memory memory = new Memory(WINDOW)) {
      memory.recording.allowRegions(1);
      create(memory).close();
      Await.until(() -> memory.factory.stats().queueDepth() == 0);

      StepVerifier.create(memory.factory.create(new byte[40_000]))
          .expectNextCount(1)
          .verifyComplete();
    }
  }

  @Test
  void longestSecret_isBounded() {
    try (Memory memory = new Memory(WINDOW)) {
      assertThatThrownBy(() -> memory.factory.createRandom(Integer.MAX_VALUE - 62))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("a secret has at most 2147483584 bytes, not 2147483585");
    }
  }

  @Test
  void noBudget_isNoProbe() {
    try (Memory memory = withBudget(0, LimitPolicy.FAIL)) {
      create(memory);
      assertThat(memory.recording.count("map")).isOne();
    }
  }

  @Test
  void creationsAtOnce_probeOnce() {
    try (Memory memory = withBudget(1_000, LimitPolicy.FAIL)) {
      Flux.range(0, 100)
          .flatMap(i -> memory.factory.create(new byte[32]), 100)
          .blockLast(Await.TIMEOUT);
      assertThat(memory.recording.count("map")).isEqualTo(2);
      assertThat(memory.recording.count("pageSize")).isLessThanOrEqualTo(2);
    }
  }

  @Test
  void refusedBudget_failsTheCreation_namesTheFix_andIsTriedAgain() {
    try (Memory memory = withBudget(320_000, LimitPolicy.FAIL)) {
      memory.recording.failIf((number, name) -> name.equals("lock"));
      byte[] key = {1, 2, 3};
      for (int attempt = 0; attempt < 2; attempt++) {
        StepVerifier.create(memory.factory.create(key))
            .verifyErrorSatisfies(
                e -> {
                  assertThat(e)
                      .isInstanceOf(MemoryLimitException.class)
                      .hasMessageContaining("cannot lock 327680 more bytes")
                      .hasMessageContaining("ulimit -l");
                  MemoryLimitException refused = (MemoryLimitException) e;
                  assertThat(refused.requestedBytes()).isEqualTo(20 * REGION);
                  assertThat(refused.lockedBytes()).isZero();
                  assertThat(refused.limitBytes()).isEqualTo(LIMIT);
                });
      }
      assertThat(key).containsExactly(1, 2, 3);
      assertThat(memory.recording.count("unlock")).isZero();
      assertThat(memory.recording.mappingsLeft()).isEmpty();

      // Somebody raised the limit.
      memory.recording.heal();
      StepVerifier.create(memory.factory.create(key)).expectNextCount(1).verifyComplete();
      assertThat(memory.recording.count("unlock")).isOne();
    }
  }

  @Test
  void refusedBudget_isAWarningOnly_whereThePolicySaysSo() {
    try (Memory memory = withBudget(320_000, LimitPolicy.WARN)) {
      memory.recording.failNext("lock", 1);

      create(memory);
      create(memory);

      // No second probe, and a whole region.
      assertThat(memory.recording.count("map")).isEqualTo(2);
      assertThat(memory.factory.stats().lockedBytes()).isEqualTo(REGION);
    }
  }

  @ParameterizedTest
  @EnumSource(LimitPolicy.class)
  void probeThatFailsForAnotherReason_isThatError(LimitPolicy policy) {
    try (Memory memory = withBudget(1, policy)) {
      memory.recording.lockFailsForAnotherReason();
      memory.recording.failNext("lock", 1);

      StepVerifier.create(memory.factory.create(new byte[32]))
          .verifyError(NativeCallException.class);

      assertThat(memory.recording.mappingsLeft()).isEmpty();
      create(memory);
    }
  }

  @Test
  void refusedRegion_namesWhatTheFactoryHolds_andSecretsThatExistAreWell() {
    try (Memory memory = withBudget(0, LimitPolicy.FAIL)) {
      long limit = Platforms.memory(false).lockLimit();
      Secret secret = create(memory);
      memory.recording.failIf((number, name) -> name.equals("lock"));

      StepVerifier.create(memory.factory.create(new byte[5_000]))
          .verifyErrorSatisfies(
              e -> {
                MemoryLimitException refused = (MemoryLimitException) e;
                assertThat(refused.lockedBytes()).isEqualTo(REGION);
                assertThat(refused.requestedBytes()).isEqualTo(8_192);
                assertThat(refused.limitBytes()).isEqualTo(limit);
                assertThat(refused).hasMessageContaining("this factory holds " + REGION);
              });

      StepVerifier.create(secret.withBytes(copy -> copy[0])).expectNext((byte) 0).verifyComplete();
      // There is room in what is locked.
      create(memory);
    }
  }

  @Test
  void limit_isUnknownBeforeTheFirstSecret_andThatOfTheSystemThen() {
    NativeMemory real = Platforms.memory(false);
    try (Memory memory = withBudget(0, LimitPolicy.FAIL)) {
      assertThat(memory.factory.stats().limitBytes()).isEqualTo(SecureMemoryStats.LIMIT_UNKNOWN);
      create(memory);
      assertThat(memory.factory.stats().limitBytes())
          .isEqualTo(real.mayExceedLockLimit() ? SecureMemoryStats.NOT_LIMITED : real.lockLimit());
    }
  }

  @Test
  void limit_isThatOfTheProcess_whereItMayNotBeExceeded() {
    assumeThat(Platforms.memory(false).lockLimit()).as("there is a limit").isPositive();
    try (Memory memory = withBudget(0, LimitPolicy.FAIL)) {
      memory.recording.failIf((number, name) -> name.equals("mayExceedLockLimit"));
      create(memory);
      assertThat(memory.factory.stats().limitBytes())
          .isEqualTo(Platforms.memory(false).lockLimit());
    }
  }

  @Test
  void switchedOff_neverHides() {
    try (Memory memory = with(MemfdSecret.OFF)) {
      create(memory);
      assertThat(memory.recording.count("hide")).isZero();
      assertThat(memory.factory.stats().hiddenBytes()).isZero();
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"PREFERRED", "REQUIRED"})
  void hiddenRegion_isNeitherLockedNorUnlocked_andCounted(MemfdSecret memfdSecret) {
    try (Memory memory = with(memfdSecret)) {
      memory.recording.answerHide(Hiding.HIDDEN);
      Secret small = create(memory);
      Secret large = memory.factory.create(new byte[5_000]).block(Await.TIMEOUT);
      assertThat(memory.factory.stats().hiddenBytes()).isEqualTo(REGION + 8_192);
      assertThat(memory.factory.stats().lockedBytes()).isEqualTo(REGION + 8_192);

      large.close();
      memory.settle();
      assertThat(memory.factory.stats().hiddenBytes()).isEqualTo(REGION);
      small.close();
      memory.returnIdleRegions();

      assertThat(memory.factory.stats().hiddenBytes()).isZero();
      for (String call : List.of("lock", "unlock", "excludeFromCoreDumps")) {
        assertThat(memory.recording.count(call)).as(call).isZero();
      }
      assertThat(memory.recording.count("excludeFromForks")).isEqualTo(2);
      assertThat(memory.recording.mappingsLeft()).isEmpty();
    }
  }

  @Test
  void preferredButNotAvailable_isOrdinaryLockedMemory() {
    try (Memory memory = with(MemfdSecret.PREFERRED)) {
      memory.recording.answerHide(Hiding.NOT_AVAILABLE);
      create(memory);
      assertThat(memory.factory.stats().hiddenBytes()).isZero();
      assertThat(memory.factory.stats().lockedBytes()).isEqualTo(REGION);
      assertThat(memory.recording.count("lock")).isOne();
      assertThat(memory.recording.count("excludeFromCoreDumps")).isOne();
    }
  }

  @Test
  void requiredButNotAvailable_isAnError_andNothingIsLocked() {
    try (Memory memory = with(MemfdSecret.REQUIRED)) {
      memory.recording.answerHide(Hiding.NOT_AVAILABLE);
      byte[] key = {1};

      StepVerifier.create(memory.factory.create(key))
          .verifyErrorSatisfies(
              e ->
                  assertThat(e)
                      .isInstanceOf(UnsupportedPlatformException.class)
                      .hasMessageContaining("MemfdSecret.PREFERRED"));

      assertThat(key).containsExactly(1);
      assertThat(memory.recording.count("lock")).isZero();
      assertThat(memory.recording.mappingsLeft()).isEmpty();
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"PREFERRED", "REQUIRED"})
  void hiddenMemoryBeyondTheLimit_isTheLimit_neverLessProtection(MemfdSecret memfdSecret) {
    try (Memory memory = with(memfdSecret)) {
      memory.recording.answerHide(Hiding.LIMIT_REACHED);

      StepVerifier.create(memory.factory.create(new byte[32]))
          .verifyErrorSatisfies(
              e ->
                  assertThat(((MemoryLimitException) e).requestedBytes())
                      .as("a whole region, and then a page")
                      .isEqualTo(4_096));

      assertThat(memory.recording.count("hide")).isEqualTo(2);
      assertThat(memory.recording.count("lock")).isZero();
      assertThat(memory.recording.mappingsLeft()).isEmpty();
    }
  }

  @Test
  void hideThatFails_isAnError_andTheNextCreationWorks() {
    try (Memory memory = with(MemfdSecret.PREFERRED)) {
      memory.recording.answerHide(Hiding.HIDDEN);
      memory.recording.failNext("hide", 1);

      StepVerifier.create(memory.factory.create(new byte[32]))
          .verifyError(NativeCallException.class);
      assertThat(memory.recording.mappingsLeft()).isEmpty();

      create(memory);
      assertThat(memory.factory.stats().hiddenBytes()).isEqualTo(REGION);
    }
  }

  @Test
  void hiddenSecret_worksOnThisKernel() {
    NativeMemory real = Platforms.memory(false);
    long page = real.pageSize();
    long mapping = real.map(page);
    Hiding hiding = real.hide(mapping, page);
    real.unmap(mapping, page);
    assumeThat(hiding).as("this kernel has memfd_secret").isEqualTo(Hiding.HIDDEN);

    try (Memory memory = with(MemfdSecret.REQUIRED)) {
      Secret secret = memory.factory.create(new byte[] {1, 2, 3}).block(Await.TIMEOUT);
      assertThat(memory.factory.stats().hiddenBytes()).isEqualTo(REGION);
      memory.letTheWindowPass();

      StepVerifier.create(secret.withBytes(byte[]::clone))
          .assertNext(copy -> assertThat(copy).containsExactly(1, 2, 3))
          .verifyComplete();

      Secret other = memory.factory.create(new byte[] {4}).block(Await.TIMEOUT);
      secret.close();
      StepVerifier.create(other.withBytes(copy -> copy[0])).expectNext((byte) 4).verifyComplete();
      assertThat(memory.recording.count("lock")).isZero();
      assertThat(memory.recording.count("unlock")).isZero();
    }
  }
}
