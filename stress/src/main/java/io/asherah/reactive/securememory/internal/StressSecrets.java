package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.LimitPolicy;
import io.asherah.reactive.securememory.MemfdSecret;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import java.time.Duration;
import java.util.Arrays;
import java.util.concurrent.Callable;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * Secrets of the real implementation on {@link SlotMemory}, all their bytes the same, and what a
 * reader made of them.
 *
 * <p>The securememory scheduler runs its tasks on the thread that schedules them. On a thread of
 * its own a wipe comes microseconds after the close, too late to meet the read that it is to meet.
 */
public final class StressSecrets {
  /** Regions that stay readable until they are freed: every read is a copy by the reader itself. */
  static final LockedSecretFactory WARM = factory(Duration.ofDays(1));

  /** Regions that are made readable for each read. */
  static final LockedSecretFactory STRICT = factory(Duration.ZERO);

  /** Regions that are idle whenever they are asked, that is when a test calls for it. */
  static final LockedSecretFactory IDLE = factory(Duration.ofNanos(1));

  private StressSecrets() {}

  private static final class OnTheCaller extends ScheduledThreadPoolExecutor {
    OnTheCaller() {
      super(
          1,
          task -> {
            Thread thread = new Thread(task, "stress-later");
            thread.setDaemon(true);
            return thread;
          });
    }

    @Override
    public <T> Future<T> submit(Callable<T> task) {
      FutureTask<T> done = new FutureTask<>(task);
      done.run();
      return done;
    }
  }

  private static LockedSecretFactory factory(Duration accessWindow) {
    Schedulers.setExecutorServiceDecorator("stress", (scheduler, executor) -> new OnTheCaller());
    try {
      return new LockedSecretFactory(
          new SlotMemory(),
          new MemorySettings(
              accessWindow, Integer.MAX_VALUE, 0, LimitPolicy.FAIL, MemfdSecret.OFF, Duration.ZERO),
          System::nanoTime,
          new IdleChecks(),
          Schedulers.immediate());
    } finally {
      Schedulers.removeExecutorServiceDecorator("stress");
    }
  }

  /** A scheduler that runs tasks at once, but nothing that has a delay. */
  public static Scheduler timer() {
    return new IdleChecks();
  }

  /** A slot in a region of its own. */
  static Slot slot(LockedSecretFactory factory, int value) {
    return slot(
        factory,
        new Arena(factory, SlotMemory.PAGE, factory == STRICT),
        SlotMemory.PAGE / 2,
        value);
  }

  /** A slot in a region of that arena. */
  static Slot slot(LockedSecretFactory factory, Arena arena, int length, int value) {
    factory.prepare();
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) value);
    Slot slot = arena.take(length);
    slot.region.write(slot, bytes, Receiver.of(filled -> {}, StressSecrets::unexpected));
    return slot;
  }

  private static void unexpected(Throwable reason) {
    throw new AssertionError(reason);
  }

  /** Without the watch for secrets that are lost, which costs more than the secret. */
  static Secret secret(LockedSecretFactory factory, Slot slot) {
    return new LockedSecret(factory, slot);
  }

  /** A secret of that byte. */
  public static Secret secret(int value) {
    return secret(WARM, slot(WARM, value));
  }

  /** How a read ended: in the name of what was read, or "closed". */
  public static String outcome(Supplier<Mono<String>> read) {
    try {
      return String.valueOf(read.get().block());
    } catch (SecretClosedException e) {
      return "closed";
    }
  }

  /** Reads a secret. */
  static String read(Secret secret) {
    return outcome(() -> secret.withBytes(StressSecrets::nameOf));
  }

  /** The byte that all bytes are; in words where no secret has it. */
  public static @Nullable String nameOf(byte[] bytes) {
    for (byte b : bytes) {
      if (b != bytes[0]) {
        return "mixed";
      }
    }
    return switch (bytes[0]) {
      case 0 -> "wiped";
      case SlotMemory.UNREADABLE -> "unreadable";
      default -> "key " + bytes[0];
    };
  }
}
