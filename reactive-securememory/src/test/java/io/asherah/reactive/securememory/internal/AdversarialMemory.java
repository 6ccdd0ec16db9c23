package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/**
 * The real memory of this machine, so that an access that is not allowed ends this JVM, with calls
 * that take their time and fail at random. A mapping that is to be returned always is.
 */
final class AdversarialMemory {
  private static final Set<String> FAILING =
      Set.of(
          "map",
          "protect",
          "lock",
          "unlock",
          "excludeFromCoreDumps",
          "excludeFromForks",
          "view",
          "pageSize",
          "lockLimit");

  private final NativeMemory real = Platforms.memory(false);
  private final AtomicLong mapped = new AtomicLong();
  private volatile int failuresOfThousand;

  AdversarialMemory(int failuresOfThousand) {
    this.failuresOfThousand = failuresOfThousand;
  }

  void heal() {
    failuresOfThousand = 0;
  }

  /** How many mappings are left. */
  long mapped() {
    return mapped.get();
  }

  NativeMemory memory() {
    return (NativeMemory)
        Proxy.newProxyInstance(
            NativeMemory.class.getClassLoader(),
            new Class<?>[] {NativeMemory.class},
            (proxy, method, arguments) -> {
              Random random = ThreadLocalRandom.current();
              loseTime(random);
              String name = method.getName();
              if (FAILING.contains(name) && random.nextInt(1_000) < failuresOfThousand) {
                if (name.equals("lock") && random.nextBoolean()) {
                  return false;
                }
                throw new NativeCallException(name, 12);
              }
              Object result;
              try {
                result = method.invoke(real, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
              if (name.equals("map")) {
                mapped.incrementAndGet();
              } else if (name.equals("unmap")) {
                mapped.decrementAndGet();
              }
              loseTime(random);
              return result;
            });
  }

  private static void loseTime(Random random) {
    switch (random.nextInt(8)) {
      case 0 -> Thread.yield();
      case 1 -> LockSupport.parkNanos(random.nextInt(200_000));
      case 2 -> {
        for (int spin = random.nextInt(5_000); spin > 0; spin--) {
          Thread.onSpinWait();
        }
      }
      default -> {}
    }
  }
}
