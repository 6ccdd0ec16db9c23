package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.MemoryLimitException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryStats;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.ChildJvm;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.Disposable;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Mono;

/**
 * 16 threads do everything that can be done with secrets, to the same secrets at the same time, in
 * a JVM of its own. No byte may be wrong, and the process must live. For longer: {@code
 * -Dtorture.seconds=60}.
 */
class TortureIT {

  /** The program of the child. Whatever it finds wrong ends it with 1. */
  static final class Child {
    private static final int THREADS = 16;
    private static final int SECRETS = 24;
    private static final int FACTORIES = 4;
    private static final int REPLACED_ONCE_IN = 200;

    /** What a thread does next: all as likely, but the last one. */
    private enum Act {
      CREATE,
      CANCELLED_CREATE,
      READ,
      CANCELLED_READ,
      CLOSE,
      COPY,
      CHUNKS,
      COMPARE,
      ENCLAVE,
      PAUSE,
      REPLACE_FACTORY
    }

    private record Known(Secret secret, byte[] content) {}

    private static byte[] bytes(long seed, int length) {
      byte[] bytes = new byte[length];
      new SplittableRandom(seed).nextBytes(bytes);
      for (int i = 0; i < length; i++) {
        // Never what a wiped byte is.
        bytes[i] |= 1;
      }
      return bytes;
    }

    private static final AtomicReferenceArray<SecretFactory> factories =
        new AtomicReferenceArray<>(FACTORIES);
    private static final AtomicReferenceArray<Known> secrets = new AtomicReferenceArray<>(SECRETS);
    private static final Map<Act, LongAdder> done = new EnumMap<>(Act.class);
    private static final LongAdder closedMeanwhile = new LongAdder();
    private static final LongAdder noRoom = new LongAdder();

    private final SplittableRandom random = new SplittableRandom();
    private final long deadline;

    private Child(long deadline) {
      this.deadline = deadline;
    }

    public static void main(String[] arguments) throws InterruptedException {
      for (Act act : Act.values()) {
        done.put(act, new LongAdder());
      }
      for (int i = 0; i < FACTORIES; i++) {
        factories.set(i, factory(i));
      }
      long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(arguments[0]));
      List<Thread> threads = new ArrayList<>();
      for (int i = 0; i < THREADS; i++) {
        Thread thread = new Thread(new Child(deadline)::work, "torturer-" + i);
        thread.start();
        threads.add(thread);
      }
      for (Thread thread : threads) {
        thread.join();
      }
      for (int i = 0; i < SECRETS; i++) {
        close(secrets.getAndSet(i, null));
      }
      for (int i = 0; i < FACTORIES; i++) {
        SecretFactory factory = factories.get(i);
        // Whatever was created for somebody who had cancelled is closed a moment later.
        Await.until(() -> factory.stats().liveSecrets() <= 2 && factory.stats().queueDepth() <= 1);
        end(factory);
      }
      System.out.printf(
          "done %s, closed meanwhile %s, no room %s%n", done, closedMeanwhile, noRoom);
      System.out.println("end");
    }

    private static SecretFactory factory(int index) {
      long[] windowNanos = {0, 1, 50_000, 1_000_000_000};
      return SecretFactory.builder().accessWindow(Duration.ofNanos(windowNanos[index])).build();
    }

    private static void end(SecretFactory factory) {
      factory.close().block(Await.TIMEOUT);
      SecureMemoryStats stats = factory.stats();
      check(
          stats.liveSecrets() == 0
              && stats.lockedBytes() == 0
              && stats.leakedSecrets() == 0
              && stats.corruptedRegions() == 0
              && stats.openRegions() == 0
              && stats.pendingCreations() == 0,
          stats.toString());
    }

    private static void close(Known known) {
      if (known != null) {
        known.secret.close();
      }
    }

    private static void check(boolean condition, String wrong) {
      if (!condition) {
        fail(new AssertionError(wrong));
      }
    }

    private static void fail(Throwable e) {
      e.printStackTrace();
      Runtime.getRuntime().halt(1);
    }

    private void work() {
      try {
        while (System.nanoTime() - deadline < 0 || isSomethingUntried()) {
          Act act = choose();
          try {
            act(act);
            done.get(act).increment();
          } catch (SecretClosedException e) {
            closedMeanwhile.increment();
          } catch (MemoryLimitException e) {
            noRoom.increment();
          }
        }
      } catch (RuntimeException | Error e) {
        fail(e);
      }
    }

    /** A machine that is very slow or busy takes longer. */
    private static boolean isSomethingUntried() {
      return closedMeanwhile.sum() == 0
          || done.values().stream().anyMatch(times -> times.sum() == 0);
    }

    private Act choose() {
      int dice = random.nextInt(REPLACED_ONCE_IN);
      if (dice == 0) {
        return Act.REPLACE_FACTORY;
      }
      return Act.values()[dice % (Act.values().length - 1)];
    }

    private void act(Act act) {
      int index = random.nextInt(SECRETS);
      if (act == Act.REPLACE_FACTORY) {
        int factory = random.nextInt(FACTORIES);
        end(factories.getAndSet(factory, factory(factory)));
        return;
      }
      if (act == Act.PAUSE) {
        LockSupport.parkNanos(random.nextInt(50_000));
        return;
      }
      if (act == Act.CANCELLED_CREATE) {
        cancelledCreate();
        return;
      }
      Known known = secrets.get(index);
      if (known == null || act == Act.CREATE) {
        put(index, create());
        return;
      }
      switch (act) {
        case READ -> readManyTimes(known);
        case CANCELLED_READ -> cancelledRead(known);
        case CLOSE -> {
          secrets.compareAndSet(index, known, null);
          known.secret.close();
          mustBeClosed(known);
        }
        case COPY -> {
          Secret copy = known.secret.copyTo(anyFactory()).block(Await.TIMEOUT);
          put(random.nextInt(SECRETS), new Known(Objects.requireNonNull(copy), known.content));
        }
        case CHUNKS -> chunks(known);
        case COMPARE -> compare(known);
        case ENCLAVE -> enclave(known);
        default -> throw new IllegalStateException(act.toString());
      }
    }

    private SecretFactory anyFactory() {
      return factories.get(random.nextInt(FACTORIES));
    }

    private void put(int index, Known known) {
      close(secrets.getAndSet(index, known));
    }

    private Known create() {
      // Mostly of the size of a key, some that share a region with few, some with a region alone.
      int dice = random.nextInt(20);
      int length = 1 + random.nextInt(dice < 5 ? 100_000 : dice < 10 ? 4_096 : 64);
      byte[] content = bytes(random.nextLong(), length);
      Secret secret = anyFactory().create(content.clone()).block(Await.TIMEOUT);
      return new Known(Objects.requireNonNull(secret), content);
    }

    /** So often that most threads are reading at any moment, also when another one closes. */
    private void readManyTimes(Known known) {
      for (int i = random.nextInt(300); i >= 0; i--) {
        read(known);
      }
    }

    /** Right bytes, or the exception of a closed secret, which then is closed. */
    private static void read(Known known) {
      try {
        Boolean right =
            known.secret.withBytes(copy -> Arrays.equals(copy, known.content)).block(Await.TIMEOUT);
        check(Boolean.TRUE.equals(right), "a read gave wrong bytes");
      } catch (SecretClosedException e) {
        check(known.secret.isClosed(), "a read said closed, the secret did not");
        throw e;
      }
    }

    private void cancelledRead(Known known) {
      Disposable reading =
          known
              .secret
              .withBytes(
                  copy -> {
                    check(Arrays.equals(copy, known.content), "a cancelled read gave wrong bytes");
                    return true;
                  })
              .onErrorComplete(SecretClosedException.class)
              .subscribe(unused -> {}, Child::fail);
      spin();
      reading.dispose();
    }

    private void spin() {
      for (int i = random.nextInt(2_000); i > 0; i--) {
        Thread.onSpinWait();
      }
    }

    /** Either this subscriber gets the secret and closes it, or it is closed for him. */
    private void cancelledCreate() {
      BaseSubscriber<Secret> creating =
          new BaseSubscriber<>() {
            @Override
            protected void hookOnNext(Secret created) {
              created.close();
            }

            @Override
            protected void hookOnError(Throwable e) {
              if (!(e instanceof SecretClosedException || e instanceof MemoryLimitException)) {
                fail(e);
              }
            }
          };
      anyFactory().create(new byte[32]).subscribe(creating);
      spin();
      creating.cancel();
    }

    private static void mustBeClosed(Known known) {
      check(known.secret.isClosed(), "a closed secret is not closed");
      boolean refused =
          Boolean.TRUE.equals(
              known
                  .secret
                  .withBytes(copy -> false)
                  .onErrorResume(SecretClosedException.class, e -> Mono.just(true))
                  .block(Await.TIMEOUT));
      check(refused, "a closed secret was read");
    }

    private void chunks(Known known) {
      ByteArrayOutputStream all = new ByteArrayOutputStream();
      known
          .secret
          .chunks(1 + random.nextInt(known.secret.length()))
          .doOnNext((ByteBuffer chunk) -> all.writeBytes(chunk.array()))
          .then()
          .block(Await.TIMEOUT);
      check(Arrays.equals(all.toByteArray(), known.content), "chunks were wrong");
    }

    private void compare(Known known) {
      check(
          Boolean.TRUE.equals(known.secret.contentEquals(known.content).block(Await.TIMEOUT)),
          "a comparison with the content was false");
      Known other = secrets.get(random.nextInt(SECRETS));
      if (other != null) {
        boolean same = Arrays.equals(known.content, other.content);
        check(
            Boolean.valueOf(same)
                .equals(known.secret.contentEquals(other.secret).block(Await.TIMEOUT)),
            "a comparison of two secrets was wrong");
      }
    }

    private void enclave(Known known) {
      Secret opened =
          Objects.requireNonNull(
              known.secret.seal().flatMap(enclave -> enclave.open()).block(Await.TIMEOUT));
      read(new Known(opened, known.content));
      opened.close();
    }
  }

  @Test
  @Timeout(value = 5, unit = TimeUnit.MINUTES)
  void everythingAtOnce_neverGivesAWrongByte_andLeavesNothing(@TempDir Path directory) {
    int seconds = Integer.getInteger("torture.seconds", 5);

    // A small young generation, so that the collector looks for lost secrets all the time.
    ChildJvm.Ended ended =
        ChildJvm.main(Child.class, Integer.toString(seconds))
            .options("-Xmx256m", "-Xmn2m")
            .run(directory);

    assertThat(ended.crashReport()).isEmpty();
    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    assertThat(ended.out()).endsWith("end");
    // Each act was done, and readers have met closed secrets.
    assertThat(ended.out().get(0)).startsWith("done ").doesNotContain("=0", "meanwhile 0");
    System.out.println(ended.out().get(0));
  }
}
