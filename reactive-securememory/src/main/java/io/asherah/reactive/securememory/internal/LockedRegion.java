package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.MemoryLimitException;
import io.asherah.reactive.securememory.SecureMemoryException;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.util.Logger;
import reactor.util.Loggers;

/*
 * Concurrency
 *
 * Two words decide whether a reader may have the bytes of a slot. `state`, one per region, holds
 * the mode and the number of readers that are copying at this moment (pins). The generation, one
 * per slot, says whether the secret that a reader came for is still the one that lies there; as a
 * Slot object is never used twice, it is a flag (Slot.hasEnded).
 *
 *   NONE --open--> READ --idle, no pins--> CLOSING --pages made unreadable--> NONE
 *   any of them --purge, by any thread--> PURGED, for ever
 *
 * Readers run on any thread and never wait. They pin only in READ, by a compare-and-set that checks
 * the mode as well, and a pin lasts for one copy on one thread. Hence
 *   (1) pages are made unreadable only in CLOSING, which is entered from READ with no pins, and so
 *       never under a reader; one that comes later sees CLOSING or NONE and goes the cold way;
 *   (2) pages are unmapped only in PURGED with no pins left; no reader can come after that.
 *
 * Wiping waits for nobody, neither that of a slot nor that of a region. The one who wipes first
 * says so (the slot has ended, or the mode is PURGED) and then writes zeros; a reader first copies
 * and then, after an atomic change of `state` that keeps its loads in order, asks both words. A
 * reader that met a single zero therefore sees the end and throws its copy away, as in a seqlock.
 * The same holds for a slow reader whose slot has a new owner by now: the bytes of the new secret
 * were written after the end of the old one. Nothing that was wiped or replaced is taken for a key.
 *
 * Everything else happens in drain(): all system calls, all writing, every change of mode but pins
 * and PURGED. At most one drain of a region runs at a time (`work` counts requests; who raises it
 * from zero has it run). Requests are queues and flags, so opening, closing, wiping and freeing are
 * never refused for want of space. `pages` is what the pages allow at this moment, which only the
 * drain knows and changes; they are writable only within one drain, with readers in the same region
 * undisturbed.
 */

/**
 * A guard page, locked pages for the slots of many secrets with a canary behind them, and another
 * guard page. Unreadable while idle, opened for an access window by the first read.
 */
final class LockedRegion {
  private static final Logger log = Loggers.getLogger(LockedRegion.class);

  private static final long RECHECK_NANOS = TimeUnit.MILLISECONDS.toNanos(1);
  private static final long RETRY_NANOS = TimeUnit.SECONDS.toNanos(1);

  private static final int LOOKS_PER_WINDOW = 4;

  private static final int PIN = 1;
  private static final int PINS = 0x0FFF_FFFF;
  private static final int NONE = 0;
  private static final int READ = 1 << 28;
  private static final int CLOSING = 2 << 28;
  private static final int PURGED = 3 << 28;

  private final LockedSecretFactory factory;
  private final Arena arena;
  private final NativeMemory memory;
  private final long mapping;
  private final long mappingLength;
  private final long address;
  private final long length;
  private final boolean hidden;
  private final ByteBuffer data;
  private final ByteBuffer canary;

  /** Which of it is taken; the arena's, and guarded by it. */
  final GranuleMap granules;

  private final AtomicInteger state = new AtomicInteger(NONE);

  /** Set by readers, which have no time to ask what time it is; cleared by who looks for them. */
  private volatile boolean used;

  /** When the region was found in use the last time. */
  private volatile long lastUse;

  private final AtomicInteger work = new AtomicInteger();
  private final Queue<Write> writes = new ConcurrentLinkedQueue<>();
  private final Queue<Slot> frees = new ConcurrentLinkedQueue<>();
  private final Queue<ColdRead> coldReads = new ConcurrentLinkedQueue<>();
  private volatile boolean closeRequested;
  private volatile Disposable idleCheck = Disposables.disposed();

  // Of the drain.
  private Access pages = Access.READ_WRITE;
  private final Set<Slot> filled = new HashSet<>();
  private boolean readable;
  private boolean closedBefore;
  private boolean wiped;
  private boolean returned;
  private @Nullable SecureMemoryException corruption;

  private record Write(Slot slot, byte[] bytes, Receiver<Slot> receiver) {}

  private record ColdRead(Slot slot, int from, int length, Receiver<byte[]> receiver) {}

  private LockedRegion(
      LockedSecretFactory factory,
      Arena arena,
      long mapping,
      long mappingLength,
      long address,
      long length,
      boolean hidden) {
    this.factory = factory;
    this.arena = arena;
    this.memory = factory.memory();
    this.mapping = mapping;
    this.mappingLength = mappingLength;
    this.address = address;
    this.length = length;
    this.hidden = hidden;
    int capacity = (int) Math.min(length - Canary.LENGTH, Integer.MAX_VALUE);
    this.data = memory.view(address, capacity);
    this.canary = memory.view(address + length - Canary.LENGTH, Canary.LENGTH);
    this.granules = new GranuleMap(capacity / GranuleMap.GRANULE);
  }

  /**
   * Reserves and locks memory that is a whole number of pages. Runs on the scheduler. Where a step
   * fails, those before it are undone.
   */
  static LockedRegion allocate(LockedSecretFactory factory, Arena arena, long length) {
    NativeMemory memory = factory.memory();
    int page = factory.pageSize();
    long mappingLength = length + 2L * page;
    long mapping = memory.map(mappingLength);
    long address = mapping + page;
    boolean locked = false;
    LockedRegion region;
    try {
      boolean hidden = hide(factory, address, length);
      if (!hidden) {
        memory.protect(address, length, Access.READ_WRITE);
        locked = memory.lock(address, length);
        if (!locked) {
          throw limitReached(factory, length);
        }
        memory.excludeFromCoreDumps(address, length);
      }
      memory.excludeFromForks(address, length);
      region = new LockedRegion(factory, arena, mapping, mappingLength, address, length, hidden);
      Canary.put(region.canary);
    } catch (RuntimeException | Error e) {
      if (locked) {
        undo(e, () -> memory.unlock(address, length));
      }
      undo(e, () -> memory.unmap(mapping, mappingLength));
      throw e;
    }
    factory.regionLocked(region);
    return region;
  }

  private static boolean hide(LockedSecretFactory factory, long address, long length) {
    return switch (factory.memfdSecret()) {
      case OFF -> false;
      case PREFERRED, REQUIRED ->
          switch (factory.memory().hide(address, length)) {
            case HIDDEN -> true;
            case LIMIT_REACHED -> throw limitReached(factory, length);
            case NOT_AVAILABLE -> {
              factory.cannotHide();
              yield false;
            }
          };
    };
  }

  private static MemoryLimitException limitReached(LockedSecretFactory factory, long length) {
    return new MemoryLimitException(
        factory.memory().lockLimit(), factory.stats().lockedBytes(), length);
  }

  private static void undo(Throwable reason, Runnable step) {
    try {
      step.run();
    } catch (RuntimeException e) {
      reason.addSuppressed(e);
    }
  }

  /** How many bytes are locked for this region. */
  long length() {
    return length;
  }

  /** Whether its pages are those of {@code memfd_secret}. */
  boolean isHidden() {
    return hidden;
  }

  /** Whether every secret in this region has ended, and no other will come. */
  boolean isPurged() {
    return mode(state.get()) == PURGED;
  }

  /**
   * Copies bytes of a slot if the region is open.
   *
   * @return false where the region is closed and the copy must be asked for with {@link #coldRead}
   * @throws io.asherah.reactive.securememory.SecretClosedException where the secret has ended, also
   *     while it was being copied
   */
  boolean read(Slot slot, int from, byte[] copy) {
    if (slot.hasEnded()) {
      throw Slot.closed();
    }
    if (!pin()) {
      return false;
    }
    try {
      if (!used) {
        used = true;
      }
      data.get(slot.offset + from, copy);
    } finally {
      unpin();
    }
    if (slot.hasEnded()) {
      Arrays.fill(copy, (byte) 0);
      throw Slot.closed();
    }
    return true;
  }

  /** Keeps the pages readable until {@link #unpin}, or returns false where they are not. */
  boolean pin() {
    int current = state.get();
    while (mode(current) == READ) {
      if (state.compareAndSet(current, current + PIN)) {
        return true;
      }
      current = state.get();
    }
    return false;
  }

  void unpin() {
    state.getAndAdd(-PIN);
  }

  /** Has the region opened and a copy made. */
  void coldRead(Slot slot, int from, int bytes, Receiver<byte[]> receiver) {
    coldReads.add(new ColdRead(slot, from, bytes, receiver));
    requestDrain();
  }

  /**
   * Has the bytes put into a slot that was taken for them. Called on the scheduler. Where it fails
   * the slot is free again.
   */
  void write(Slot slot, byte[] bytes, Receiver<Slot> receiver) {
    writes.add(new Write(slot, bytes, receiver));
    if (work.getAndIncrement() == 0) {
      drain();
    }
  }

  /** Has a slot wiped whose secret has ended. */
  void free(Slot slot) {
    factory.roomIsComing();
    frees.add(slot);
    requestDrain();
  }

  /** Ends all secrets of this region, and has it wiped and returned to the system. */
  void purge() {
    int before = state.getAndUpdate(current -> PURGED | (current & PINS));
    if (mode(before) == PURGED) {
      return;
    }
    factory.roomIsComing();
    if (mode(before) == READ) {
      factory.readableRegions(-1);
    }
    requestDrain();
  }

  private void requestDrain() {
    if (work.getAndIncrement() == 0) {
      factory.execute(this::drain);
    }
  }

  private void drain() {
    int missed = work.get();
    while (missed != 0) {
      try {
        handleRequests();
      } catch (RuntimeException | Error e) {
        log.error("Unexpected failure in a locked region", e);
        failWaiting(e);
        settleOrRetry(false);
      }
      missed = work.addAndGet(-missed);
    }
  }

  private void handleRequests() {
    if (!isPurged()) {
      edit();
      serveColdReads();
      closeIfIdle();
      settleOrRetry(false);
    }
    // Asked again: an edit that found the canary changed has purged the region.
    if (isPurged()) {
      pollAll(frees).forEach(slot -> factory.roomHasCome());
      pollAll(coldReads).forEach(read -> fail(read, Slot.closed()));
      failWaiting(corruption == null ? Slot.closed() : corruption);
      release();
    }
  }

  /** Wipes and fills slots: all that wait, while the pages are writable once. */
  private void edit() {
    List<Slot> freed = pollAll(frees);
    List<Write> written = pollAll(writes);
    if (freed.isEmpty() && written.isEmpty()) {
      return;
    }
    try {
      setPages(Access.READ_WRITE);
    } catch (RuntimeException | Error e) {
      written.forEach(write -> fail(write, e));
      if (!freed.isEmpty()) {
        log.error("Slots could not be wiped; trying again", e);
        frees.addAll(freed);
        factory.later(this::requestDrain, RETRY_NANOS);
      }
      return;
    }
    freed.forEach(this::wipe);
    written.removeIf(this::giveUpIfAbandoned);
    written.forEach(this::fill);
    if (!Canary.isIntact(canary)) {
      purgeBecauseOfCanary(written);
      freed.forEach(slot -> factory.roomHasCome());
      return;
    }
    settleAfter(written);
    // Not before the pages are as they should be, since this may wait for another region.
    for (Slot slot : freed) {
      arena.release(slot);
      factory.roomHasCome();
    }
  }

  private void settleAfter(List<Write> written) {
    try {
      settle(!written.isEmpty());
    } catch (RuntimeException | Error e) {
      written.forEach(write -> wipe(write.slot()));
      written.forEach(write -> fail(write, e));
      arena.giveUpIfEmpty(this);
      return;
    }
    written.forEach(write -> tell(() -> write.receiver().put(write.slot())));
  }

  private boolean giveUpIfAbandoned(Write write) {
    boolean abandoned = write.receiver().isAbandoned();
    if (abandoned) {
      fail(write, Slot.closed());
    }
    return abandoned;
  }

  private void fail(Write write, Throwable reason) {
    arena.release(write.slot());
    tell(() -> write.receiver().fail(reason));
  }

  private void fill(Write write) {
    data.put(write.slot().offset, write.bytes());
    filled.add(write.slot());
  }

  private void wipe(Slot slot) {
    zero(slot);
    filled.remove(slot);
    slot.unwatch();
  }

  private void zero(Slot slot) {
    for (int i = slot.offset; i < slot.offset + slot.length; i++) {
      data.put(i, (byte) 0);
    }
  }

  private void purgeBecauseOfCanary(List<Write> written) {
    SecureMemoryException reason =
        new SecureMemoryException(
            "the canary of a locked region was overwritten: something in this process writes to"
                + " memory that is not its own. All secrets of that region were closed and wiped",
            null);
    log.error("Locked memory is corrupt", reason);
    corruption = reason;
    purge();
    // Who hears of it finds the secrets ended.
    factory.regionCorrupted();
    written.forEach(write -> wipe(write.slot()));
    written.forEach(write -> tell(() -> write.receiver().fail(reason)));
  }

  private void serveColdReads() {
    List<ColdRead> waiting = pollAll(coldReads);
    if (waiting.isEmpty()) {
      return;
    }
    try {
      if (pages == Access.NONE) {
        setPages(Access.READ);
      }
    } catch (RuntimeException | Error e) {
      waiting.forEach(read -> fail(read, e));
      return;
    }
    if (!arena.isStrict()) {
      // Before anybody is told, whose next read is to find it open.
      used = true;
      settleOrRetry(true);
    }
    waiting.forEach(this::serve);
  }

  private void serve(ColdRead read) {
    if (read.receiver().isAbandoned()) {
      return;
    }
    byte[] copy;
    try {
      copy = new byte[read.length()];
    } catch (OutOfMemoryError e) {
      fail(read, e);
      return;
    }
    data.get(read.slot().offset + read.from(), copy);
    if (read.slot().hasEnded()) {
      Arrays.fill(copy, (byte) 0);
      fail(read, Slot.closed());
    } else {
      tell(() -> read.receiver().put(copy));
    }
  }

  private static void fail(ColdRead read, Throwable reason) {
    tell(() -> read.receiver().fail(reason));
  }

  /** One that fails must not keep the others waiting for ever. */
  private static void tell(Runnable receiver) {
    try {
      receiver.run();
    } catch (RuntimeException | Error e) {
      log.error("A receiver of locked memory failed", e);
    }
  }

  /** Only who waits now: one who is told may try again before this returns. */
  private void failWaiting(Throwable reason) {
    pollAll(coldReads).forEach(read -> fail(read, reason));
    pollAll(writes).forEach(write -> fail(write, reason));
  }

  private static <T> List<T> pollAll(Queue<T> queue) {
    List<T> all = new ArrayList<>();
    for (T next = queue.poll(); next != null; next = queue.poll()) {
      all.add(next);
    }
    return all;
  }

  /** Gives the pages what the mode allows; a region that was just used becomes readable. */
  private void settle(boolean justUsed) {
    int mode = mode(state.get());
    if (mode == PURGED) {
      // There may be readers still.
      return;
    }
    if (mode == READ || (justUsed && !arena.isStrict())) {
      // The clock is the user's and may fail: before anything has changed.
      long now = factory.now();
      setPages(Access.READ);
      if (state.compareAndSet(NONE, READ)) {
        factory.readableRegions(1);
        lastUse = now;
        watch(lookEveryNanos());
      }
    } else {
      setPages(Access.NONE);
    }
  }

  /** Does the same again where a system call failed. */
  private void settleOrRetry(boolean justUsed) {
    try {
      settle(justUsed);
    } catch (RuntimeException | Error e) {
      log.error("Locked pages could not be protected; trying again", e);
      factory.later(this::requestDrain, RETRY_NANOS);
    }
  }

  private void setPages(Access access) {
    if (pages == access) {
      return;
    }
    memory.protect(address, length, access);
    pages = access;
    if (access == Access.READ && !readable) {
      readable = true;
      if (closedBefore) {
        factory.regionOpened();
      }
    } else if (access == Access.NONE) {
      closedBefore = true;
      if (readable) {
        readable = false;
        factory.regionClosed();
      }
    }
  }

  /**
   * Has an open region closed again once it was idle for the access window. Looks four times in a
   * window whether it was used, so that it is closed at the latest a quarter of a window late, or a
   * millisecond where that is more.
   */
  private void watch(long delayNanos) {
    idleCheck = factory.later(this::checkIdle, delayNanos);
  }

  private void checkIdle() {
    if (mode(state.get()) != READ) {
      return;
    }
    long remaining = remainingNanos();
    if (remaining > 0) {
      watch(Math.min(remaining, lookEveryNanos()));
    } else {
      closeRequested = true;
      requestDrain();
    }
  }

  private long lookEveryNanos() {
    return Math.max(RECHECK_NANOS, factory.accessWindowNanos() / LOOKS_PER_WINDOW);
  }

  /** Nothing remains where the user's clock fails: who reads later opens the region again. */
  private long remainingNanos() {
    long now;
    try {
      now = factory.now();
    } catch (RuntimeException | Error e) {
      log.error("The ticker failed; a locked region is closed early", e);
      return 0;
    }
    if (used) {
      used = false;
      lastUse = now;
    }
    return factory.accessWindowNanos() - (now - lastUse);
  }

  private void closeIfIdle() {
    if (!closeRequested) {
      return;
    }
    closeRequested = false;
    long remaining = remainingNanos();
    if (remaining > 0 || !state.compareAndSet(READ, CLOSING)) {
      if (mode(state.get()) == READ) {
        watch(Math.max(RECHECK_NANOS, Math.min(remaining, lookEveryNanos())));
      }
      return;
    }
    factory.readableRegions(-1);
    if (!Canary.isIntact(canary)) {
      purgeBecauseOfCanary(List.of());
      return;
    }
    try {
      setPages(Access.NONE);
      state.compareAndSet(CLOSING, NONE);
    } catch (RuntimeException | Error e) {
      log.error("A locked region could not be made unreadable; trying again", e);
      if (state.compareAndSet(CLOSING, READ)) {
        factory.readableRegions(1);
        watch(RETRY_NANOS);
      }
    }
  }

  private void release() {
    if (returned) {
      return;
    }
    if (!wiped) {
      wiped = true;
      if (!filled.isEmpty()) {
        attempt(
            "wipe",
            () -> {
              setPages(Access.READ_WRITE);
              filled.forEach(this::zero);
            });
        filled.forEach(factory::secretPurged);
        filled.clear();
      }
    }
    if ((state.get() & PINS) != 0) {
      // The operating system took a reader off its processor in the middle of its copy.
      factory.scheduler().schedule(this::requestDrain, RECHECK_NANOS, TimeUnit.NANOSECONDS);
      return;
    }
    returned = true;
    idleCheck.dispose();
    if (!hidden) {
      attempt("unlock", () -> memory.unlock(address, length));
    }
    boolean unmapped = attempt("unmap", () -> memory.unmap(mapping, mappingLength));
    factory.regionReturned(this, unmapped);
    factory.roomHasCome();
  }

  private static boolean attempt(String step, Runnable call) {
    try {
      call.run();
      return true;
    } catch (RuntimeException | Error e) {
      log.error("Releasing a locked region failed at {}", step, e);
      return false;
    }
  }

  private static int mode(int state) {
    return state & ~PINS;
  }
}
