package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecureMemoryStats;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.Arrays;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.publisher.Mono;

/**
 * Somebody does something else in the middle of the first, the second, the third … system call of a
 * scenario, where no other test would hit it.
 */
class InterferenceTest {

  private enum Interference {
    CLOSE_FACTORY,
    CLOSE_SECRETS,
    READ_SECRETS,
    CREATE_SECRETS,
    PASS_TIME
  }

  @ParameterizedTest
  @CsvSource({"PT0S", "PT1S"})
  void whateverHappensDuringASystemCall_everybodyIsTold_andNothingIsLeft(Duration window) {
    Scenario undisturbed = new Scenario(window, -1, Interference.PASS_TIME);
    undisturbed.run();
    int calls = undisturbed.memory.recording.count();

    for (Interference interference : Interference.values()) {
      for (int n = 0; n < calls; n++) {
        try {
          new Scenario(window, n, interference).run();
        } catch (AssertionError | RuntimeException e) {
          throw new AssertionError("%s during call %d: %s".formatted(interference, n, e), e);
        }
      }
    }
  }

  private static final class Scenario {
    final Memory memory;
    private final Queue<Secret> secrets = new ConcurrentLinkedQueue<>();
    private final Queue<CompletableFuture<?>> others = new ConcurrentLinkedQueue<>();

    Scenario(Duration window, int nth, Interference interference) {
      memory = new Memory(window);
      memory.recording.failIf(
          (number, name) -> {
            if (number == nth) {
              interfere(interference);
            }
            return false;
          });
    }

    private void interfere(Interference interference) {
      switch (interference) {
        case CLOSE_FACTORY -> others.add(memory.factory.close().toFuture());
        case CLOSE_SECRETS -> secrets.forEach(Secret::close);
        case READ_SECRETS -> secrets.forEach(secret -> others.add(check(secret).toFuture()));
        case CREATE_SECRETS -> {
          for (int length : new int[] {1, 32, 4_096, 5_000}) {
            others.add(made(length).toFuture());
          }
        }
        case PASS_TIME -> memory.time.advanceTimeBy(Duration.ofSeconds(40));
      }
    }

    private Mono<Secret> made(int length) {
      byte[] bytes = new byte[length];
      Arrays.fill(bytes, (byte) 7);
      return memory
          .factory
          .create(bytes)
          .doOnNext(secrets::add)
          .onErrorComplete(SecretClosedException.class);
    }

    private static Mono<Boolean> check(Secret secret) {
      return secret
          .withBytes(copy -> SecretSlots.allAre(copy, 7))
          .doOnNext(right -> assertThat(right).isTrue())
          .onErrorComplete(SecretClosedException.class);
    }

    private @Nullable Secret create(int length) {
      return made(length).block(Await.TIMEOUT);
    }

    private static void close(@Nullable Secret secret) {
      if (secret != null) {
        secret.close();
      }
    }

    private static void read(@Nullable Secret secret) {
      if (secret != null) {
        check(secret).block(Await.TIMEOUT);
      }
    }

    private void passTheWindow() {
      memory.settle();
      memory.time.advanceTimeBy(Duration.ofSeconds(2));
      memory.settle();
    }

    void run() {
      Secret first = create(32);
      Secret second = create(40);
      passTheWindow();
      read(first);
      read(second);
      passTheWindow();
      Secret third = create(64);
      close(second);
      passTheWindow();
      close(third);
      Secret large = create(5_000);
      read(large);
      passTheWindow();
      read(large);
      close(large);
      close(first);
      memory.settle();
      memory.time.advanceTimeBy(Duration.ofSeconds(31));
      memory.settle();
      read(create(32));

      for (int i = 0; i < 3; i++) {
        passTheWindow();
      }
      assertThat(memory.factory.stats().openRegions()).isZero();
      assertThat(memory.recording.pages())
          .doesNotContainValue(Access.READ)
          .doesNotContainValue(Access.READ_WRITE);
      for (CompletableFuture<?> other : others) {
        other.orTimeout(30, TimeUnit.SECONDS).join();
      }
      long living = secrets.stream().filter(secret -> !secret.isClosed()).count();
      assertThat(memory.factory.stats().liveSecrets()).isEqualTo(living);
      memory.factory.close().block(Await.TIMEOUT);
      memory.settle();
      SecureMemoryStats stats = memory.factory.stats();
      assertThat(stats.liveSecrets()).isZero();
      assertThat(stats.lockedBytes()).isZero();
      assertThat(stats.openRegions()).isZero();
      assertThat(stats.corruptedRegions()).isZero();
      assertThat(secrets).allMatch(Secret::isClosed);
      assertThat(memory.recording.mappingsLeft()).isEmpty();
      assertThat(memory.recording.count("unlock")).isEqualTo(memory.recording.count("lock"));
    }
  }
}
