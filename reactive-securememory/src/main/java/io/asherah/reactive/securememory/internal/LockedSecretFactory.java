package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.Enclave;
import io.asherah.reactive.securememory.LimitPolicy;
import io.asherah.reactive.securememory.MemfdSecret;
import io.asherah.reactive.securememory.MemoryLimitException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryOverloadedException;
import io.asherah.reactive.securememory.SecureMemoryStats;
import io.asherah.reactive.securememory.UnsupportedPlatformException;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import java.lang.ref.Cleaner;
import java.time.Duration;
import java.util.Arrays;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.util.Logger;
import reactor.util.Loggers;

/** Makes secrets in the regions of an {@link Arena}, and keeps count of them. */
public final class LockedSecretFactory implements SecretFactory {
  private static final Logger log = Loggers.getLogger(LockedSecretFactory.class);

  /** What a view of a region can hold, with the canary behind it. */
  private static final int LONGEST_SECRET = Integer.MAX_VALUE - 2 * Canary.LENGTH + 1;

  private static final int THREADS = 2;
  private static final int IDLE_THREAD_SECONDS = 60;
  private static final AtomicInteger threadNumber = new AtomicInteger();

  /** Its one thread ends secrets that were lost; the rest is done by the scheduler. */
  private static final class Leaks {
    static final Cleaner CLEANER =
        Cleaner.create(task -> daemon(task, "asherah-securememory-leaks"));
  }

  private final NativeMemory memory;
  private final MemorySettings settings;
  private final long accessWindowNanos;
  private final LongSupplier ticker;
  private final Scheduler timer;
  private final Scheduler continuationScheduler;
  private final Scheduler scheduler = newScheduler();
  private final Arena arena;
  private final Coffer coffer = new Coffer(this);

  private final Set<LockedRegion> regions = ConcurrentHashMap.newKeySet();
  private final AtomicInteger pendingCreations = new AtomicInteger();
  private final AtomicInteger queueDepth = new AtomicInteger();

  /** Slots and regions that were given up and are not free yet, and what waits for one of them. */
  private final AtomicInteger comingRoom = new AtomicInteger();

  private final AtomicLong roomsThatCame = new AtomicLong();
  private final Queue<Runnable> waitingForRoom = new ConcurrentLinkedQueue<>();

  private final AtomicLong liveSecrets = new AtomicLong();
  private final AtomicLong leakedSecrets = new AtomicLong();
  private final AtomicLong lockedBytes = new AtomicLong();
  private final AtomicLong hiddenBytes = new AtomicLong();
  private final AtomicLong readableRegions = new AtomicLong();
  private final AtomicLong opens = new AtomicLong();
  private final AtomicLong closes = new AtomicLong();
  private final AtomicLong corruptedRegions = new AtomicLong();
  private volatile long limitBytes = SecureMemoryStats.LIMIT_UNKNOWN;
  private volatile int pageSize;
  private boolean prepared;
  private final AtomicBoolean saidThatItCannotHide = new AtomicBoolean();

  /** Creations under way and regions not yet returned; close() ends when it is zero. */
  private final AtomicLong outstanding = new AtomicLong();

  private final Sinks.Empty<Void> allReleased = Sinks.empty();
  private final CountDownLatch released = new CountDownLatch(1);
  private volatile boolean closed;

  /**
   * Uses the given memory.
   *
   * @param timer watches idle regions, or null for the threads of this factory; tests control it
   */
  public LockedSecretFactory(
      NativeMemory memory,
      MemorySettings settings,
      LongSupplier ticker,
      @Nullable Scheduler timer,
      Scheduler continuationScheduler) {
    this.memory = memory;
    this.settings = settings;
    this.accessWindowNanos = settings.accessWindow().toNanos();
    this.arena = new Arena(this, Arena.REGION_BYTES, settings.accessWindow().isZero());
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
            task -> daemon(task, "asherah-securememory-" + threadNumber.incrementAndGet()));
    executor.setKeepAliveTime(IDLE_THREAD_SECONDS, TimeUnit.SECONDS);
    executor.allowCoreThreadTimeOut(true);
    executor.setRemoveOnCancelPolicy(true);
    return Schedulers.fromExecutorService(executor, "asherah-securememory");
  }

  private static Thread daemon(Runnable task, String name) {
    Thread thread = new Thread(task, name);
    thread.setDaemon(true);
    return thread;
  }

  @Override
  public Mono<Secret> create(byte[] bytes) {
    requireLength(bytes.length);
    return taking(Secret::close, receiver -> store(arena, bytes, receiver));
  }

  @Override
  public Mono<Secret> createUtf8(char[] chars) {
    requireLength(chars.length);
    return taking(
        Secret::close,
        receiver -> {
          byte[] bytes = Utf8.encode(chars);
          store(
              arena,
              bytes,
              Receiver.of(
                  receiver::isAbandoned,
                  secret -> {
                    Arrays.fill(chars, '\0');
                    receiver.put(secret);
                  },
                  e -> {
                    Arrays.fill(bytes, (byte) 0);
                    receiver.fail(e);
                  }));
        });
  }

  @Override
  public Mono<Secret> createRandom(int length) {
    requireLength(length);
    return creation(Secret::close, receiver -> store(arena, Drbg.bytes(length), receiver));
  }

  @Override
  public Mono<Enclave> seal(byte[] bytes) {
    requireLength(bytes.length);
    return taking(unused -> {}, receiver -> coffer.seal(bytes, receiver));
  }

  Mono<Secret> open(SealedEnclave enclave) {
    return creation(Secret::close, receiver -> coffer.open(enclave, arena, receiver));
  }

  /** For a task that takes an array and leaves zeros in it, of which no secret must be made. */
  private <T> Mono<T> taking(Consumer<? super T> release, Consumer<Receiver<T>> task) {
    AtomicBoolean taken = new AtomicBoolean();
    return creation(
        release,
        receiver -> {
          if (!taken.compareAndSet(false, true)) {
            receiver.fail(
                new IllegalStateException(
                    "the array is taken by another subscription, or was and has only zeros now;"
                        + " call the factory again, with another array"));
            return;
          }
          Consumer<Throwable> failed =
              e -> {
                taken.set(false);
                receiver.fail(e);
              };
          try {
            task.accept(Receiver.of(receiver::isAbandoned, receiver::put, failed));
          } catch (RuntimeException | Error e) {
            failed.accept(e);
          }
        });
  }

  private static void requireLength(int length) {
    if (length < 1) {
      throw new IllegalArgumentException("a secret needs at least one byte");
    }
    if (length > LONGEST_SECRET) {
      throw new IllegalArgumentException(
          "a secret has at most %d bytes, not %d".formatted(LONGEST_SECRET, length));
    }
  }

  /** Has a task make something on the scheduler for each subscriber. */
  private <T> Mono<T> creation(Consumer<? super T> release, Consumer<Receiver<T>> task) {
    return Mono.defer(
        () -> {
          if (!begin()) {
            return Mono.error(factoryClosed());
          }
          if (pendingCreations.incrementAndGet() > settings.maxPendingCreations()) {
            pendingCreations.decrementAndGet();
            settled();
            return Mono.error(new SecureMemoryOverloadedException(settings.maxPendingCreations()));
          }
          return Handover.<T, T>receive(
              handover -> execute(() -> create(task, new Creation<>(handover))),
              release,
              continuationScheduler,
              Function.identity());
        });
  }

  private <T> void create(Consumer<Receiver<T>> task, Creation<T> creation) {
    try {
      if (closed) {
        creation.fail(factoryClosed());
      } else if (creation.isAbandoned()) {
        creation.fail(Slot.closed());
      } else {
        if (regions.isEmpty()) {
          ExitWipe.update(this);
        }
        prepare();
        task.accept(creation);
      }
    } catch (RuntimeException | Error e) {
      creation.fail(e);
    }
  }

  /** A creation that was let in, until its end. */
  private final class Creation<T> implements Receiver<T> {
    private final Receiver<T> receiver;

    Creation(Receiver<T> receiver) {
      this.receiver = receiver;
    }

    @Override
    public boolean isAbandoned() {
      return receiver.isAbandoned();
    }

    @Override
    public void put(T value) {
      pendingCreations.decrementAndGet();
      receiver.put(value);
      settled();
    }

    @Override
    public void fail(Throwable reason) {
      pendingCreations.decrementAndGet();
      if (regions.isEmpty()) {
        ExitWipe.update(LockedSecretFactory.this);
      }
      receiver.fail(reason);
      settled();
    }
  }

  /**
   * Moves bytes into locked memory; the array is wiped on success only. Called on the scheduler.
   */
  void store(Arena arena, byte[] bytes, Receiver<? super LockedSecret> receiver) {
    long before = roomsThatCame.get();
    Slot slot;
    try {
      slot = arena.take(bytes.length);
    } catch (MemoryLimitException e) {
      if (comingRoom.get() > 0) {
        // Secrets that were closed are being wiped, and regions returned: tried again after each.
        waitingForRoom.add(() -> store(arena, bytes, receiver));
        if (comingRoom.get() == 0) {
          tryAgain(Integer.MAX_VALUE);
        }
      } else if (roomsThatCame.get() != before) {
        execute(() -> store(arena, bytes, receiver));
      } else {
        receiver.fail(e);
      }
      return;
    } catch (RuntimeException | Error e) {
      receiver.fail(e);
      return;
    }
    slot.region.write(
        slot,
        bytes,
        Receiver.of(
            receiver::isAbandoned,
            filled -> {
              LockedSecret secret;
              try {
                secret = newSecret(filled);
              } catch (RuntimeException | Error e) {
                filled.end();
                filled.region.free(filled);
                receiver.fail(e);
                return;
              }
              Arrays.fill(bytes, (byte) 0);
              receiver.put(secret);
            },
            receiver::fail));
  }

  /** A slot or a region was given up, and will be free when it was wiped. */
  void roomIsComing() {
    comingRoom.incrementAndGet();
  }

  void roomHasCome() {
    roomsThatCame.incrementAndGet();
    tryAgain(comingRoom.decrementAndGet() == 0 ? Integer.MAX_VALUE : 1);
  }

  private void tryAgain(int most) {
    for (int i = 0; i < most; i++) {
      Runnable next = waitingForRoom.poll();
      if (next == null) {
        return;
      }
      execute(next);
    }
  }

  private LockedSecret newSecret(Slot slot) {
    LockedSecret secret = new LockedSecret(this, slot);
    slot.watchedBy(Leaks.CLEANER.register(secret, () -> leaked(slot)));
    liveSecrets.incrementAndGet();
    return secret;
  }

  private void leaked(Slot slot) {
    // Who closes a factory need not close its secrets, whose region may still be on its way out.
    boolean isLost = !slot.region.isPurged();
    if (end(slot) && isLost && leakedSecrets.getAndIncrement() == 0) {
      log.warn(
          "A secret was lost without close(); it was wiped now that the garbage collector has found"
              + " it, later ones are only counted (SecureMemoryStats.leakedSecrets)");
    }
  }

  /** Ends a secret and has its slot wiped; true for the one caller that did. */
  boolean end(Slot slot) {
    // So that close() of the factory, which may find the slot ended, does not end before it counts.
    outstanding.incrementAndGet();
    boolean ended = slot.end();
    if (ended) {
      liveSecrets.decrementAndGet();
      slot.region.free(slot);
    }
    settled();
    return ended;
  }

  /** Finds out once what the system allows; later creations find it done. */
  synchronized void prepare() {
    if (prepared) {
      return;
    }
    pageSize = memory.pageSize();
    long limit = memory.lockLimit();
    limitBytes = limit < 0 || memory.mayExceedLockLimit() ? SecureMemoryStats.NOT_LIMITED : limit;
    probeBudget();
    prepared = true;
  }

  private void probeBudget() {
    long region = Math.max(pageSize, Arena.REGION_BYTES);
    long room = region - Canary.LENGTH;
    long budget = (settings.memoryBudget() + room - 1) / room * region;
    if (limitBytes == SecureMemoryStats.NOT_LIMITED
        || budget == 0
        || (budget <= limitBytes && canLock(budget))) {
      return;
    }
    MemoryLimitException refused =
        MemoryLimitException.forBudget(limitBytes, lockedBytes.get(), budget);
    if (settings.limitPolicy() == LimitPolicy.FAIL) {
      throw refused;
    }
    log.warn("The memory budget is not available: {}", refused.getMessage());
  }

  private boolean canLock(long bytes) {
    long address = memory.map(bytes);
    try {
      memory.protect(address, bytes, NativeMemory.Access.READ_WRITE);
      boolean locked = memory.lock(address, bytes);
      if (locked) {
        memory.unlock(address, bytes);
      }
      return locked;
    } finally {
      memory.unmap(address, bytes);
    }
  }

  @Override
  public Scheduler scheduler() {
    return scheduler;
  }

  @Override
  public SecureMemoryStats stats() {
    return new SecureMemoryStats(
        liveSecrets.get(),
        leakedSecrets.get(),
        lockedBytes.get(),
        hiddenBytes.get(),
        limitBytes,
        readableRegions.get(),
        opens.get(),
        closes.get(),
        corruptedRegions.get(),
        pendingCreations.get(),
        queueDepth.get());
  }

  @Override
  public Mono<Void> close() {
    return Mono.defer(
        () -> {
          purge();
          return allReleased.asMono().publishOn(continuationScheduler);
        });
  }

  /** Closes every factory of this process that holds locked memory. */
  public static Mono<Void> closeAll() {
    return Mono.defer(
        () -> Mono.when(ExitWipe.holders().stream().map(SecretFactory::close).toList()));
  }

  /** Ends all secrets at once; never blocks. {@link #awaitReleased} tells when they are wiped. */
  void purge() {
    outstanding.incrementAndGet();
    closed = true;
    regions.forEach(LockedRegion::purge);
    settled();
  }

  /** For the thread that ends the JVM. */
  boolean awaitReleased(long nanos) {
    try {
      return released.await(nanos, TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /** Has close() wait for something until {@link #settled}; false where it is too late for it. */
  boolean begin() {
    outstanding.incrementAndGet();
    if (closed) {
      settled();
      return false;
    }
    return true;
  }

  void settled() {
    // Asked again after closed was seen: from then on the count only falls.
    if (outstanding.decrementAndGet() == 0 && closed && outstanding.get() == 0) {
      released.countDown();
      allReleased.tryEmitEmpty();
    }
  }

  private static SecretClosedException factoryClosed() {
    return new SecretClosedException("the secret factory is closed");
  }

  // What its parts ask of the factory.

  NativeMemory memory() {
    return memory;
  }

  int pageSize() {
    return pageSize;
  }

  MemfdSecret memfdSecret() {
    return settings.memfdSecret();
  }

  Scheduler continuationScheduler() {
    return continuationScheduler;
  }

  Duration shutdownGrace() {
    return settings.shutdownGrace();
  }

  long accessWindowNanos() {
    return accessWindowNanos;
  }

  @Override
  public boolean isClosed() {
    return closed;
  }

  long now() {
    return ticker.getAsLong();
  }

  /** Has a task done on the scheduler. */
  void execute(Runnable task) {
    queueDepth.incrementAndGet();
    scheduler.schedule(
        () -> {
          try {
            task.run();
          } finally {
            queueDepth.decrementAndGet();
          }
        });
  }

  /** Has a task done on the scheduler after a delay. */
  Disposable later(Runnable task, long delayNanos) {
    return timer.schedule(task, delayNanos, TimeUnit.NANOSECONDS);
  }

  /** What a region does where there are no pages of memfd_secret. */
  void cannotHide() {
    if (settings.memfdSecret() == MemfdSecret.REQUIRED) {
      throw new UnsupportedPlatformException(
          "memfd_secret is not available: it needs Linux 5.14 (before 6.5 with secretmem.enable=1 at"
              + " boot) and a seccomp filter that allows it. Allow it, or use MemfdSecret.PREFERRED",
          null);
    }
    if (saidThatItCannotHide.compareAndSet(false, true)) {
      log.warn("memfd_secret is not available; secrets are kept in ordinary locked memory");
    }
  }

  void regionLocked(LockedRegion region) {
    outstanding.incrementAndGet();
    lockedBytes.addAndGet(region.length());
    if (region.isHidden()) {
      hiddenBytes.addAndGet(region.length());
    }
    regions.add(region);
    if (closed) {
      // close() may have looked for regions before this one was there.
      region.purge();
    }
  }

  void regionReturned(LockedRegion region, boolean unmapped) {
    if (unmapped) {
      lockedBytes.addAndGet(-region.length());
      if (region.isHidden()) {
        hiddenBytes.addAndGet(-region.length());
      }
    }
    regions.remove(region);
    ExitWipe.update(this);
    settled();
  }

  /** Whether there is, or is about to be, memory of this factory. */
  boolean isHolder() {
    return !regions.isEmpty() || pendingCreations.get() > 0;
  }

  /** Whether the end of the JVM has to wait for it, unless it is closed. */
  boolean isInUse() {
    return liveSecrets.get() > 0 || pendingCreations.get() > 0;
  }

  void readableRegions(int change) {
    readableRegions.addAndGet(change);
  }

  void regionOpened() {
    opens.incrementAndGet();
  }

  void regionClosed() {
    closes.incrementAndGet();
  }

  void regionCorrupted() {
    corruptedRegions.incrementAndGet();
  }

  /** The secret in this slot was wiped together with its region. */
  void secretPurged(Slot slot) {
    if (slot.end()) {
      liveSecrets.decrementAndGet();
    }
    slot.unwatch();
  }
}
