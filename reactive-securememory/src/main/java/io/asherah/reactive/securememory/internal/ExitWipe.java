package io.asherah.reactive.securememory.internal;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import reactor.util.Logger;
import reactor.util.Loggers;

/**
 * Wipes all locked memory of this process when the JVM shuts down, and with it on SIGTERM, SIGINT
 * and SIGHUP. Hooks of a JVM run side by side, so this one first gives the others, which let a
 * server finish what it was asked, until every factory that has secrets is closed or its grace has
 * passed.
 */
final class ExitWipe {
  private static final Logger log = Loggers.getLogger(ExitWipe.class);
  private static final long LONGEST_WIPE_SECONDS = 2;
  private static final long LOOK_AGAIN_MILLIS = 10;

  private static final Set<LockedSecretFactory> holders = ConcurrentHashMap.newKeySet();
  private static boolean installed;
  private static boolean exiting;

  private ExitWipe() {}

  /** The factories that hold locked memory at this moment. */
  static List<LockedSecretFactory> holders() {
    return new ArrayList<>(holders);
  }

  /** Called on the scheduler whenever a factory may have begun or ceased to hold memory. */
  static synchronized void update(LockedSecretFactory factory) {
    if (!factory.isHolder()) {
      holders.remove(factory);
      return;
    }
    if (holders.add(factory)) {
      install();
    }
    if (exiting) {
      // Nobody would wipe what it makes now.
      factory.purge();
    }
  }

  private static void install() {
    if (installed) {
      return;
    }
    installed = true;
    try {
      Runtime.getRuntime().addShutdownHook(new Thread(ExitWipe::run, "asherah-securememory-exit"));
    } catch (IllegalStateException e) {
      // Hooks are running already, and none of them will wipe what is made now.
      exiting = true;
    }
  }

  private static void run() {
    waitUntilNobodyIsServed();
    List<LockedSecretFactory> left;
    synchronized (ExitWipe.class) {
      exiting = true;
      left = holders();
    }
    left.forEach(LockedSecretFactory::purge);
    long start = System.nanoTime();
    for (LockedSecretFactory factory : left) {
      long wait = TimeUnit.SECONDS.toNanos(LONGEST_WIPE_SECONDS) - (System.nanoTime() - start);
      if (!factory.awaitReleased(wait)) {
        log.error("Locked memory could not be wiped before the JVM ended: {}", factory.stats());
      }
    }
  }

  /** Looks again and again, because a server that is being stopped may still load its first key. */
  private static void waitUntilNobodyIsServed() {
    long start = System.nanoTime();
    Set<LockedSecretFactory> overdue = new HashSet<>();
    while (holders.stream().anyMatch(factory -> isWaitedFor(factory, start, overdue))) {
      try {
        Thread.sleep(LOOK_AGAIN_MILLIS);
      } catch (InterruptedException e) {
        return;
      }
    }
  }

  private static boolean isWaitedFor(
      LockedSecretFactory factory, long start, Set<LockedSecretFactory> overdue) {
    if (factory.isClosed() || !factory.isInUse()) {
      return false;
    }
    if (System.nanoTime() - start < factory.shutdownGrace().toNanos()) {
      return true;
    }
    if (overdue.add(factory)) {
      log.warn(
          "A SecretFactory was not closed within {} of the JVM's shutdown; it is closed and its"
              + " secrets are wiped now",
          factory.shutdownGrace());
    }
    return false;
  }
}
