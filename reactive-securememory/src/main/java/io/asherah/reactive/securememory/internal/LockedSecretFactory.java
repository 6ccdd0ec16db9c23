package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryOverloadedException;
import io.asherah.reactive.securememory.SecureMemoryStats;
import io.asherah.reactive.securememory.internal.platform.LinuxMemory;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import java.time.Duration;
import java.util.Arrays;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/** Makes secrets, each in a locked region of its own, and keeps count of them. */
public final class LockedSecretFactory implements SecretFactory {
  private static final int THREADS = 2;
  private static final int IDLE_THREAD_SECONDS = 60;
  private static final AtomicInteger threadNumber = new AtomicInteger();

  private final NativeMemory memory;
  private final long accessWindowNanos;
  private final int maxPendingCreations;
  private final LongSupplier ticker;
  private final Scheduler timer;
  private final Scheduler continuationScheduler;
  private final Scheduler scheduler = newScheduler();

  private final Set<LockedRegion> regions = ConcurrentHashMap.newKeySet();
  private final AtomicInteger pendingCreations = new AtomicInteger();
  private final AtomicLong liveSecrets = new AtomicLong();
  private final AtomicLong lockedBytes = new AtomicLong();
  private final AtomicLong openRegions = new AtomicLong();
  private final AtomicLong opens = new AtomicLong();
  private final AtomicLong closes = new AtomicLong();

  /** Creations under way and regions not yet returned; close() ends when it is zero. */
  private final AtomicLong outstanding = new AtomicLong();

  private final Sinks.Empty<Void> allReleased = Sinks.empty();
  private volatile boolean closed;

  /** Uses the real memory of this machine and looks after idle regions on its own threads. */
  public LockedSecretFactory(
      Duration accessWindow,
      int maxPendingCreations,
      LongSupplier ticker,
      Scheduler continuationScheduler) {
    this(new LinuxMemory(), accessWindow, maxPendingCreations, ticker, null, continuationScheduler);
  }

  /** For tests, with a memory that counts or fails, and a timer that the test controls. */
  public LockedSecretFactory(
      NativeMemory memory,
      Duration accessWindow,
      int maxPendingCreations,
      LongSupplier ticker,
      @Nullable Scheduler timer,
      Scheduler continuationScheduler) {
    this.memory = memory;
    this.accessWindowNanos = accessWindow.toNanos();
    this.maxPendingCreations = maxPendingCreations;
    this.ticker = ticker;
    this.timer = timer == null ? scheduler : timer;
    this.continuationScheduler = continuationScheduler;
  }

  /**
   * Two threads, which end when they were idle for a minute, and a queue without bound, since
   * creations are bounded here and the rest must never be refused. Never shut down: a task that met
   * the end of its scheduler might be lost without a word (see docs/adr/0002).
   */
  private static Scheduler newScheduler() {
    ScheduledThreadPoolExecutor executor =
        new ScheduledThreadPoolExecutor(
            THREADS,
            task -> {
              Thread thread =
                  new Thread(task, "asherah-securememory-" + threadNumber.incrementAndGet());
              thread.setDaemon(true);
              return thread;
            });
    executor.setKeepAliveTime(IDLE_THREAD_SECONDS, TimeUnit.SECONDS);
    executor.allowCoreThreadTimeOut(true);
    executor.setRemoveOnCancelPolicy(true);
    return Schedulers.fromExecutorService(executor, "asherah-securememory");
  }

  @Override
  public Mono<Secret> create(byte[] bytes) {
    if (bytes.length == 0) {
      throw new IllegalArgumentException("a secret needs at least one byte");
    }
    return Mono.defer(
        () -> {
          outstanding.incrementAndGet();
          if (closed) {
            settled();
            return Mono.error(factoryClosed());
          }
          if (pendingCreations.incrementAndGet() > maxPendingCreations) {
            pendingCreations.decrementAndGet();
            settled();
            return Mono.error(new SecureMemoryOverloadedException(maxPendingCreations));
          }
          return Handover.<Secret, Secret>receive(
              handover -> scheduler.schedule(() -> create(bytes, handover)),
              Secret::close,
              continuationScheduler,
              secret -> secret);
        });
  }

  private void create(byte[] bytes, Handover<Secret> handover) {
    Secret secret = null;
    Throwable failure = null;
    try {
      if (closed) {
        failure = factoryClosed();
      } else if (!handover.isAbandoned()) {
        LockedRegion region = LockedRegion.allocate(this, bytes);
        secret = new LockedSecret(this, region, bytes.length);
        Arrays.fill(bytes, (byte) 0);
        region.watch();
        if (closed) {
          // close() may have looked for regions before this one was there.
          secret.close();
        }
      }
    } catch (RuntimeException | Error e) {
      failure = e;
    }
    pendingCreations.decrementAndGet();
    if (failure != null) {
      if (secret != null) {
        secret.close();
      }
      handover.fail(failure);
    } else if (secret != null) {
      handover.put(secret);
    }
    settled();
  }

  @Override
  public Scheduler scheduler() {
    return scheduler;
  }

  @Override
  public SecureMemoryStats stats() {
    return new SecureMemoryStats(
        liveSecrets.get(),
        lockedBytes.get(),
        openRegions.get(),
        opens.get(),
        closes.get(),
        pendingCreations.get());
  }

  @Override
  public Mono<Void> close() {
    return Mono.defer(
        () -> {
          outstanding.incrementAndGet();
          closed = true;
          regions.forEach(region -> free(region, LockedRegion.FIRST_GENERATION));
          settled();
          return allReleased.asMono().publishOn(continuationScheduler);
        });
  }

  void free(LockedRegion region, int generation) {
    if (region.free(generation)) {
      liveSecrets.decrementAndGet();
    }
  }

  private void settled() {
    // Asked again after closed was seen: from then on the count only falls.
    if (outstanding.decrementAndGet() == 0 && closed && outstanding.get() == 0) {
      allReleased.tryEmitEmpty();
    }
  }

  private static SecretClosedException factoryClosed() {
    return new SecretClosedException("the secret factory is closed");
  }

  // What a region asks of its factory.

  NativeMemory memory() {
    return memory;
  }

  Scheduler continuationScheduler() {
    return continuationScheduler;
  }

  long accessWindowNanos() {
    return accessWindowNanos;
  }

  boolean isStrict() {
    return accessWindowNanos == 0;
  }

  long now() {
    return ticker.getAsLong();
  }

  long lockedBytes() {
    return lockedBytes.get();
  }

  void later(Runnable task, long delayNanos) {
    timer.schedule(task, delayNanos, TimeUnit.NANOSECONDS);
  }

  void regionLocked(LockedRegion region, long bytes) {
    outstanding.incrementAndGet();
    liveSecrets.incrementAndGet();
    lockedBytes.addAndGet(bytes);
    if (!isStrict()) {
      openRegions.incrementAndGet();
    }
    regions.add(region);
  }

  void regionOpened() {
    opens.incrementAndGet();
    openRegions.incrementAndGet();
  }

  void regionClosed() {
    closes.incrementAndGet();
    openRegions.decrementAndGet();
  }

  void regionReleased(LockedRegion region, boolean wasOpen, long bytes) {
    if (wasOpen) {
      openRegions.decrementAndGet();
    }
    lockedBytes.addAndGet(-bytes);
    regions.remove(region);
    settled();
  }
}
