package io.asherah.reactive.internal.crypto;

import java.security.DrbgParameters;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * Random bytes that an event loop may draw.
 *
 * <p>{@code new SecureRandom()} reads a file on every call, and the platform's DRBG is one lock for
 * all. Here several instances of the JDK's Hash-DRBG (NIST SP 800-90A, 256 bits) each fill a block
 * of 4 KiB, from which draws are cut and wiped. An instance belongs to one thread while it draws;
 * other threads take another one, and nobody parks. Only seeding reads the system's entropy, on a
 * scheduler that may block, and so does the renewal of an instance after every 4 MiB.
 *
 * <p>Safe for use by many threads.
 */
public final class RandomSource {
  private static final int BLOCK_BYTES = 4_096;
  private static final int BLOCKS_PER_SEED = 1_024;
  private static final int LEAST_STRIPES = 16;
  private static final byte[] PERSONALIZATION = {'a', 's', 'h', 'e', 'r', 'a', 'h'};

  private final Scheduler seeding;
  private final AtomicReferenceArray<@Nullable Stripe> stripes;
  private volatile boolean seeded;

  /** Seeds on the given scheduler, whose threads may block. */
  public RandomSource(Scheduler seeding) {
    this.seeding = seeding;
    int processors = Runtime.getRuntime().availableProcessors();
    this.stripes =
        new AtomicReferenceArray<>(
            Math.max(LEAST_STRIPES, Integer.highestOneBit(processors * 4 - 1)));
  }

  /**
   * Completes when bytes can be drawn, on the seeding scheduler unless they could be before. Every
   * way to a first key passes here, so an operation that has a key need not ask.
   */
  public Mono<Void> ready() {
    return Mono.defer(
        () -> seeded ? Mono.empty() : Mono.<Void>fromRunnable(this::seedOnce).subscribeOn(seeding));
  }

  // Of several first loads one seeds while the others wait; only the seeding scheduler comes here.
  private synchronized void seedOnce() {
    if (!seeded) {
      for (int i = 0; i < stripes.length(); i++) {
        stripes.set(i, new Stripe(i, newDrbg()));
      }
      seeded = true;
    }
  }

  /**
   * Fills the array with random bytes.
   *
   * @throws IllegalStateException before {@link #ready} has completed
   */
  public void nextBytes(byte[] target) {
    if (!seeded) {
      throw new IllegalStateException("random bytes were drawn before they were seeded");
    }
    Stripe stripe = take();
    try {
      stripe.fill(target);
    } finally {
      stripes.set(stripe.index, stripe);
    }
  }

  private Stripe take() {
    int index = (int) Thread.currentThread().getId();
    while (true) {
      Stripe stripe = stripes.getAndSet(index & (stripes.length() - 1), null);
      if (stripe != null) {
        return stripe;
      }
      // A stripe is held for microseconds, by a thread that runs. As there are several for each
      // processor, the next one or the one after it is free.
      index++;
    }
  }

  private static SecureRandom newDrbg() {
    try {
      SecureRandom drbg =
          SecureRandom.getInstance(
              "DRBG",
              DrbgParameters.instantiation(
                  256, DrbgParameters.Capability.RESEED_ONLY, PERSONALIZATION));
      // The first draw is what reads the entropy.
      drbg.nextBytes(new byte[1]);
      return drbg;
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("this JDK has no DRBG of 256 bits", e);
    }
  }

  private final class Stripe {
    private final int index;
    private final byte[] block = new byte[BLOCK_BYTES];
    private SecureRandom drbg;
    private int next = BLOCK_BYTES;
    private int blocks;
    private volatile @Nullable SecureRandom renewed;

    Stripe(int index, SecureRandom drbg) {
      this.index = index;
      this.drbg = drbg;
    }

    void fill(byte[] target) {
      int done = 0;
      while (done < target.length) {
        if (next == BLOCK_BYTES) {
          refill();
        }
        int part = Math.min(target.length - done, BLOCK_BYTES - next);
        System.arraycopy(block, next, target, done, part);
        Arrays.fill(block, next, next + part, (byte) 0);
        next += part;
        done += part;
      }
    }

    private void refill() {
      SecureRandom fresh = renewed;
      if (fresh != null) {
        drbg = fresh;
        renewed = null;
        blocks = 0;
      }
      drbg.nextBytes(block);
      next = 0;
      blocks++;
      if (blocks % BLOCKS_PER_SEED == 0) {
        try {
          seeding.schedule(() -> renewed = newDrbg());
        } catch (RejectedExecutionException e) {
          // Somebody disposed the scheduler. The generator is good for 2^48 blocks all the same.
        }
      }
    }
  }
}
