package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.MemoryLimitException;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecureMemoryException;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import reactor.util.Logger;
import reactor.util.Loggers;

/*
 * Concurrency
 *
 * Two words decide who may touch the pages. `state` holds the mode of the region and the number of
 * readers that are copying from it at this moment (pins). `generation` says whether the secret a
 * reader came for is still the one that lies here.
 *
 *   NONE --open--> READ --idle, no pins--> CLOSING --mprotect--> NONE
 *   any  --free--> CLOSING (for ever)
 *
 * Readers run on any thread and never wait: they may pin in READ only, by a compare-and-set that
 * also checks the mode, so that
 *   (1) pages are made unreadable only in CLOSING entered from READ with no pins, hence never under
 *       a reader, and a reader that comes later sees CLOSING or NONE and goes the cold way;
 *   (2) pages are unmapped only in CLOSING with no pins left, hence never under a reader.
 *
 * Freeing waits for nobody before it wipes: it bumps `generation` first, and a reader compares it
 * before and after its copy. Writer: bump, full fence, zeros. Reader: copy, load-load fence,
 * compare. A reader that copied a single zero therefore sees the new generation (as in a seqlock)
 * and throws its copy away; nothing that was wiped is ever taken for a key.
 *
 * Every change of mode except the two pin operations happens in drain(), of which at most one runs
 * at a time (`work` counts requests, the one who raises it from zero schedules the drain). Requests
 * are flags and a queue, so opening, closing and freeing are never refused for want of space.
 */

/**
 * Memory of one secret: guard page, locked data pages, guard page. Unreadable while idle, opened
 * for an access window by the first read.
 */
final class LockedRegion {
  private static final Logger log = Loggers.getLogger(LockedRegion.class);

  /** The generation of the one secret that ever lies here. */
  static final int FIRST_GENERATION = 0;

  private static final long RECHECK_NANOS = TimeUnit.MILLISECONDS.toNanos(1);

  private static final int PIN = 1;
  private static final int PINS = 0x0FFF_FFFF;
  private static final int NONE = 0;
  private static final int READ = 1 << 28;
  private static final int CLOSING = 2 << 28;

  private final LockedSecretFactory factory;
  private final NativeMemory memory;
  private final long mapping;
  private final long mappingLength;
  private final long address;
  private final long length;
  private final ByteBuffer data;

  private final AtomicInteger state = new AtomicInteger(NONE);
  private final AtomicInteger generation = new AtomicInteger();
  private volatile long lastUse;

  private final AtomicInteger work = new AtomicInteger();
  private final Queue<Handover<byte[]>> coldReads = new ConcurrentLinkedQueue<>();
  private volatile boolean closeRequested;
  private volatile boolean freeRequested;
  private boolean wiped;
  private boolean wasOpen;
  private boolean released;

  private LockedRegion(
      LockedSecretFactory factory,
      long mapping,
      long mappingLength,
      long address,
      long length,
      int size) {
    this.factory = factory;
    this.memory = factory.memory();
    this.mapping = mapping;
    this.mappingLength = mappingLength;
    this.address = address;
    this.length = length;
    this.data = memory.view(address, size);
    this.lastUse = factory.now();
  }

  /**
   * Reserves and locks memory and copies the bytes into it. Runs on the scheduler. Where a step
   * fails, those before it are undone.
   */
  static LockedRegion allocate(LockedSecretFactory factory, byte[] bytes) {
    NativeMemory memory = factory.memory();
    int page = memory.pageSize();
    long length = ((long) bytes.length + page - 1) / page * page;
    long mappingLength = length + 2L * page;
    long mapping = memory.map(mappingLength);
    long address = mapping + page;
    boolean locked = false;
    LockedRegion region;
    try {
      memory.protect(address, length, Access.READ_WRITE);
      locked = memory.lock(address, length);
      if (!locked) {
        throw new MemoryLimitException(memory.lockLimit(), factory.lockedBytes(), length);
      }
      memory.excludeFromCoreDumps(address, length);
      memory.excludeFromForks(address, length);
      region = new LockedRegion(factory, mapping, mappingLength, address, length, bytes.length);
      region.data.put(0, bytes);
      // A new key is used at once: it starts in its first access window.
      memory.protect(address, length, factory.isStrict() ? Access.NONE : Access.READ);
      region.state.set(factory.isStrict() ? NONE : READ);
    } catch (RuntimeException | Error e) {
      if (locked) {
        undo(
            e,
            () -> {
              memory.protect(address, length, Access.READ_WRITE);
              wipe(memory.view(address, bytes.length));
            });
        undo(e, () -> memory.unlock(address, length));
      }
      undo(e, () -> memory.unmap(mapping, mappingLength));
      throw e;
    }
    // From here on close() may free it at any moment.
    factory.regionLocked(region, length);
    return region;
  }

  private static void undo(Throwable reason, Runnable step) {
    try {
      step.run();
    } catch (RuntimeException e) {
      reason.addSuppressed(e);
    }
  }

  /** The number that a secret must find unchanged around each read. */
  int generation() {
    return generation.get();
  }

  /**
   * Copies the bytes of the given generation if the region is open.
   *
   * @return false where the region is closed and the copy must be asked for with {@link #coldRead}
   * @throws SecretClosedException where the secret was freed, also while it was being copied
   */
  boolean read(int expectedGeneration, byte[] copy) {
    if (generation.get() != expectedGeneration) {
      throw closed();
    }
    if (!pin()) {
      return false;
    }
    try {
      lastUse = factory.now();
      data.get(0, copy);
    } finally {
      state.addAndGet(-PIN);
    }
    VarHandle.loadLoadFence();
    if (generation.get() != expectedGeneration) {
      Arrays.fill(copy, (byte) 0);
      throw closed();
    }
    return true;
  }

  /** Has the region opened and one copy put into the handover. */
  void coldRead(Handover<byte[]> reader) {
    coldReads.add(reader);
    requestDrain();
  }

  /**
   * Ends a live generation: no read of it succeeds from now on, and the memory is returned soon.
   *
   * @return false where it had ended before
   */
  boolean free(int liveGeneration) {
    if (!generation.compareAndSet(liveGeneration, liveGeneration + 1)) {
      return false;
    }
    VarHandle.fullFence();
    freeRequested = true;
    requestDrain();
    return true;
  }

  private boolean pin() {
    int current = state.get();
    while ((current & ~PINS) == READ) {
      if (state.compareAndSet(current, current + PIN)) {
        return true;
      }
      current = state.get();
    }
    return false;
  }

  private void requestDrain() {
    if (work.getAndIncrement() == 0) {
      factory.scheduler().schedule(this::drain);
    }
  }

  private void drain() {
    int missed = work.get();
    while (missed != 0) {
      try {
        handleRequests();
      } catch (RuntimeException | Error e) {
        log.error("Unexpected failure in a locked region", e);
        failColdReads(e);
      }
      missed = work.addAndGet(-missed);
    }
  }

  private void handleRequests() {
    if (freeRequested) {
      failColdReads(closed());
      release();
      return;
    }
    serveColdReads();
    if (closeRequested) {
      closeRequested = false;
      closeIfIdle();
    }
  }

  private void serveColdReads() {
    if (coldReads.isEmpty()) {
      return;
    }
    try {
      open();
    } catch (SecureMemoryException e) {
      failColdReads(e);
      return;
    }
    try {
      for (Handover<byte[]> reader = coldReads.poll(); reader != null; reader = coldReads.poll()) {
        if (!reader.isAbandoned()) {
          byte[] copy = new byte[data.capacity()];
          data.get(0, copy);
          if (generation.get() == FIRST_GENERATION) {
            reader.put(copy);
          } else {
            Arrays.fill(copy, (byte) 0);
            reader.fail(closed());
          }
        }
      }
      lastUse = factory.now();
    } finally {
      if (factory.isStrict()) {
        closeIfIdle();
      }
    }
  }

  /** Only readers who wait now: one who is told may try again before this returns. */
  private void failColdReads(Throwable reason) {
    List<Handover<byte[]>> waiting = new ArrayList<>();
    for (Handover<byte[]> reader = coldReads.poll(); reader != null; reader = coldReads.poll()) {
      waiting.add(reader);
    }
    waiting.forEach(reader -> reader.fail(reason));
  }

  private void open() {
    if (state.get() == NONE) {
      lastUse = factory.now();
      memory.protect(address, length, Access.READ);
      state.set(READ);
      factory.regionOpened();
      watch();
    }
  }

  /** Has an open region closed again once it was idle for the access window. */
  void watch() {
    if (!factory.isStrict()) {
      factory.later(this::checkIdle, factory.accessWindowNanos());
    }
  }

  private void checkIdle() {
    if (freeRequested) {
      return;
    }
    long remaining = remainingNanos();
    if (remaining > 0) {
      factory.later(this::checkIdle, remaining);
    } else {
      closeRequested = true;
      requestDrain();
    }
  }

  private long remainingNanos() {
    return factory.accessWindowNanos() - (factory.now() - lastUse);
  }

  private void closeIfIdle() {
    if (state.get() == NONE) {
      return;
    }
    long remaining = remainingNanos();
    if (remaining > 0 || !state.compareAndSet(READ, CLOSING)) {
      factory.later(this::checkIdle, Math.max(RECHECK_NANOS, remaining));
      return;
    }
    try {
      memory.protect(address, length, Access.NONE);
      state.set(NONE);
      factory.regionClosed();
    } catch (SecureMemoryException e) {
      log.error("A locked region could not be made unreadable; trying again", e);
      state.set(READ);
      factory.later(this::checkIdle, TimeUnit.SECONDS.toNanos(1));
    }
  }

  private void release() {
    if (released) {
      return;
    }
    if (!wiped) {
      wiped = true;
      wasOpen = (state.getAndUpdate(s -> CLOSING | (s & PINS)) & ~PINS) == READ;
      attempt(
          "wipe",
          () -> {
            memory.protect(address, length, Access.READ_WRITE);
            wipe(data);
          });
    }
    if ((state.get() & PINS) != 0) {
      // The operating system took a reader off its processor in the middle of its copy.
      factory.scheduler().schedule(this::requestDrain, RECHECK_NANOS, TimeUnit.NANOSECONDS);
      return;
    }
    released = true;
    attempt("munlock", () -> memory.unlock(address, length));
    boolean unmapped = attempt("munmap", () -> memory.unmap(mapping, mappingLength));
    factory.regionReleased(this, wasOpen, unmapped ? length : 0);
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

  private static void wipe(ByteBuffer data) {
    for (int i = 0; i < data.capacity(); i++) {
      data.put(i, (byte) 0);
    }
  }

  private static SecretClosedException closed() {
    return new SecretClosedException("the secret is closed");
  }
}
