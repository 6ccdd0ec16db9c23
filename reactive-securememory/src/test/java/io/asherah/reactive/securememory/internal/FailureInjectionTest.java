package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.LimitPolicy;
import io.asherah.reactive.securememory.MemfdSecret;
import io.asherah.reactive.securememory.MemoryLimitException;
import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecureMemoryStats;
import io.asherah.reactive.securememory.internal.RecordingMemory.Call;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Hiding;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiPredicate;
import java.util.function.Supplier;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.publisher.Mono;

/**
 * One scenario that makes every kind of system call, run again and again with the first, the
 * second, the third … of its calls failing.
 */
class FailureInjectionTest {
  private static final int ATTEMPTS = 4;

  private static MemorySettings settings(Duration window, MemfdSecret memfdSecret) {
    return new MemorySettings(window, 1_024, 1, LimitPolicy.FAIL, memfdSecret, Duration.ZERO);
  }

  private enum Failing {
    ONE,
    TWO_IN_A_ROW,
    ALL_OF_THAT_NAME
  }

  @ParameterizedTest
  @CsvSource({
    "PT0S, OFF, false",
    "PT1S, OFF, false",
    "PT1S, OFF, true",
    "PT0S, REQUIRED, false",
    "PT1S, REQUIRED, false"
  })
  void whicheverCallFails_itsCallerIsTold_andNothingElseHappens(
      Duration window, MemfdSecret memfdSecret, boolean lockThrows) {
    MemorySettings settings = settings(window, memfdSecret);
    Scenario undisturbed = new Scenario(settings, lockThrows, true, (number, name) -> false);
    undisturbed.run();
    assertThat(undisturbed.failures).isZero();
    List<Call> calls = undisturbed.memory.recording.calls();
    assertThat(calls.stream().map(Call::name))
        .contains(
            memfdSecret == MemfdSecret.OFF ? "lock" : "hide",
            "pageSize",
            "lockLimit",
            "map",
            "protect",
            "excludeFromForks",
            "view",
            "unmap");

    for (Failing failing : Failing.values()) {
      for (int n = 0; n < calls.size(); n++) {
        int nth = n;
        String name = calls.get(n).name();
        BiPredicate<Integer, String> predicate =
            switch (failing) {
              case ONE -> (number, ignored) -> number == nth;
              case TWO_IN_A_ROW -> (number, ignored) -> number == nth || number == nth + 1;
              case ALL_OF_THAT_NAME -> (number, called) -> number >= nth && called.equals(name);
            };
        Scenario scenario =
            new Scenario(settings, lockThrows, failing != Failing.ALL_OF_THAT_NAME, predicate);
        try {
          scenario.run();
        } catch (AssertionError | RuntimeException e) {
          throw new AssertionError(
              "%s, call %d (%s) failing, after %s: %s"
                  .formatted(failing, n, name, scenario.step, e.getMessage()),
              e);
        }
      }
    }
  }

  /** Everything a factory does, with nothing under way when the next step begins. */
  private static final class Scenario {
    final Memory memory;
    private final boolean strict;
    private final boolean failuresEnd;
    private final List<Secret> secrets = new ArrayList<>();
    int failures;
    String step = "nothing";

    Scenario(
        MemorySettings settings,
        boolean lockThrows,
        boolean failuresEnd,
        BiPredicate<Integer, String> failing) {
      this.failuresEnd = failuresEnd;
      strict = settings.accessWindow().isZero();
      memory = new Memory(settings);
      memory.recording.answerHide(Hiding.HIDDEN);
      if (lockThrows) {
        memory.recording.lockFailsForAnotherReason();
      }
      memory.recording.failIf(failing);
    }

    void run() {
      Secret first = create("create with probe and new region", 32);
      Secret second = create("create in an open region", 40);
      read("warm read", first, 32);
      passTheWindow("close of an idle region");
      read("cold read", second, 40);
      passTheWindow("another close");
      Secret third = create("create in a closed region", 4_096);
      close("wipe of a slot in an open region", third);
      passTheWindow("one more close");
      close("wipe of a slot in a closed region", second);
      read("read after that", first, 32);
      Secret large = create("create in a region of its own", 5_000);
      read("read of a large one", large, 5_000);
      close("return of a region", large);
      close("close of the last one", first);
      step = "return of the spare region";
      memory.time.advanceTimeBy(Duration.ofSeconds(31));
      memory.settle();
      heal();
      quiet();

      Secret again = create("create when all is well again", 32);
      step = "close of the factory";
      SecureMemoryStats before = memory.factory.stats();
      assertThat(before.liveSecrets()).isOne();
      memory.factory.close().block(Await.TIMEOUT);
      memory.settle();
      assertThat(again.isClosed()).isTrue();
      everythingIsReturned();
    }

    private void heal() {
      memory.recording.heal();
    }

    /** Fails as often as a call does, and not once more. */
    private <T> T retried(Supplier<Mono<T>> operation) {
      for (int attempt = 0; ; attempt++) {
        int failedBefore = memory.recording.failedCalls().size();
        try {
          T result = operation.get().block(Await.TIMEOUT);
          if (result == null) {
            throw new AssertionError("no result");
          }
          memory.settle();
          return result;
        } catch (NativeCallException | MemoryLimitException e) {
          memory.settle();
          failures++;
          assertThat(memory.recording.failedCalls().size())
              .as("failed without a reason of its own: " + e)
              .isGreaterThan(failedBefore);
          if (e instanceof NativeCallException) {
            assertThat(memory.recording.failedCalls().stream().map(call -> call.name()))
                .anyMatch(name -> e.getMessage().contains(name));
          }
          if (attempt == ATTEMPTS - 2) {
            heal();
          }
          assertThat(attempt).isLessThan(ATTEMPTS);
        }
      }
    }

    private Secret create(String name, int length) {
      step = name;
      long live = memory.factory.stats().liveSecrets();
      byte[] given = new byte[length];
      Secret secret =
          retried(
              () -> {
                Arrays.fill(given, (byte) length);
                return memory
                    .factory
                    .create(given)
                    .doOnError(
                        e -> {
                          assertThat(given).containsOnly((byte) length);
                          assertThat(memory.factory.stats().liveSecrets()).isEqualTo(live);
                        });
              });
      assertThat(given).containsOnly((byte) 0);
      secrets.add(secret);
      check();
      return secret;
    }

    private void read(String name, Secret secret, int length) {
      step = name;
      byte[] copy = retried(() -> secret.withBytes(byte[]::clone));
      assertThat(copy).hasSize(length).containsOnly((byte) length);
      check();
    }

    private void close(String name, Secret secret) {
      step = name;
      secret.close();
      secrets.remove(secret);
      memory.settle();
      check();
    }

    private void passTheWindow(String name) {
      step = name;
      memory.time.advanceTimeBy(Duration.ofSeconds(1));
      memory.settle();
      check();
    }

    private void check() {
      SecureMemoryStats stats = memory.factory.stats();
      assertThat(stats.liveSecrets()).isEqualTo(secrets.size());
      assertThat(stats.pendingCreations()).isZero();
      assertThat(stats.queueDepth()).isZero();
      if (strict) {
        assertThat(stats.openRegions()).isZero();
      }
      if (strict && failuresEnd) {
        unreadable();
      }
    }

    private void quiet() {
      step = "time";
      memory.time.advanceTimeBy(Duration.ofSeconds(1));
      unreadable();
    }

    /** With time all pages become so, whatever has failed before, and nobody need come for it. */
    private void unreadable() {
      Await.until(
          () -> {
            SecureMemoryStats stats = memory.factory.stats();
            boolean unreadable =
                stats.queueDepth() == 0
                    && stats.openRegions() == 0
                    && memory.recording.pages().entrySet().stream()
                        .allMatch(page -> page.getValue() == Access.NONE || isLost(page.getKey()));
            if (!unreadable) {
              memory.time.advanceTimeBy(Duration.ofSeconds(1));
            }
            return unreadable;
          });
    }

    /** Of a mapping that could not be returned. */
    private boolean isLost(long address) {
      return memory.recording.failedCalls().stream()
          .filter(call -> call.name().equals("unmap"))
          .anyMatch(
              call -> address >= call.argument(0) && address < call.argument(0) + call.argument(1));
    }

    private void everythingIsReturned() {
      SecureMemoryStats stats = memory.factory.stats();
      assertThat(stats.liveSecrets()).isZero();
      assertThat(stats.openRegions()).isZero();
      assertThat(stats.pendingCreations()).isZero();
      assertThat(stats.queueDepth()).isZero();
      List<Call> failed = memory.recording.failedCalls();
      long lost =
          failed.stream()
              .filter(call -> call.name().equals("unmap"))
              .filter(
                  call ->
                      memory.recording.calls().stream()
                          .filter(view -> view.name().equals("view"))
                          .anyMatch(
                              view ->
                                  view.argument(0) >= call.argument(0)
                                      && view.argument(0) < call.argument(0) + call.argument(1)))
              .filter(call -> failed.stream().noneMatch(other -> undone(other, call)))
              .mapToLong(call -> call.argument(1) - 2L * 4_096)
              .sum();
      assertThat(stats.lockedBytes()).isEqualTo(lost);
      long mapped = count("map", false);
      assertThat(memory.recording.count("unmap")).as("unmap").isEqualTo((int) mapped);
      assertThat(memory.recording.count("unlock"))
          .as("unlock")
          .isEqualTo((int) count("lock", false));
    }

    /** Whether a creation failed in that mapping after its view was made, by a later step. */
    private static boolean undone(Call failed, Call unmap) {
      return failed.name().equals("view")
          && failed.argument(0) >= unmap.argument(0)
          && failed.argument(0) < unmap.argument(0) + unmap.argument(1);
    }

    private long count(String name, boolean failed) {
      return memory.recording.calls().stream()
          .filter(call -> call.name().equals(name))
          .filter(call -> memory.recording.failedCalls().contains(call) == failed)
          .count();
    }
  }
}
