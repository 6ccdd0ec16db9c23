package io.asherah.reactive.securememory.internal;

import static org.openjdk.jcstress.annotations.Expect.ACCEPTABLE;
import static org.openjdk.jcstress.annotations.Expect.FORBIDDEN;

import io.asherah.reactive.securememory.Secret;
import java.util.concurrent.atomic.AtomicInteger;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.I_Result;
import org.openjdk.jcstress.infra.results.LLL_Result;
import org.openjdk.jcstress.infra.results.LL_Result;
import org.openjdk.jcstress.infra.results.L_Result;

/** Readers of a secret against all that changes its region. */
public class SecretStressTest {

  private SecretStressTest() {}

  @JCStressTest
  @Outcome(id = "key 1, closed", expect = ACCEPTABLE, desc = "read before it was closed")
  @Outcome(id = "closed, closed", expect = ACCEPTABLE, desc = "closed before or during the read")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "unmapped memory was read")
  @Outcome(id = "key [^1], .*", expect = FORBIDDEN, desc = "the memory had a new owner")
  @Outcome(id = ".*, key 1", expect = FORBIDDEN, desc = "a closed secret could still be read")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class WarmReadVersusClose {
    private final Secret secret = StressSecrets.secret(1);

    @Actor
    public void read(LL_Result r) {
      r.r1 = StressSecrets.read(secret);
    }

    @Actor
    public void close() {
      secret.close();
    }

    @Arbiter
    public void readAgain(LL_Result r) {
      r.r2 = StressSecrets.read(secret);
    }
  }

  @JCStressTest
  @Outcome(id = "key 1, closed", expect = ACCEPTABLE, desc = "read before it was closed")
  @Outcome(id = "closed, closed", expect = ACCEPTABLE, desc = "closed before or during the read")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "a closed region was read")
  @Outcome(id = "key [^1], .*", expect = FORBIDDEN, desc = "the memory had a new owner")
  @Outcome(id = ".*, key 1", expect = FORBIDDEN, desc = "a closed secret could still be read")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class ColdReadVersusClose {
    private final Secret secret =
        StressSecrets.secret(StressSecrets.STRICT, StressSecrets.slot(StressSecrets.STRICT, 1));

    @Actor
    public void read(LL_Result r) {
      r.r1 = StressSecrets.read(secret);
    }

    @Actor
    public void close() {
      secret.close();
    }

    @Arbiter
    public void readAgain(LL_Result r) {
      r.r2 = StressSecrets.read(secret);
    }
  }

  @JCStressTest
  @Outcome(id = "key 1, key 1, closed", expect = ACCEPTABLE, desc = "read before or after the end")
  @Outcome(id = "(.*, )?unreadable, .*", expect = FORBIDDEN, desc = "a closed region was read")
  @Outcome(id = "(.*, )?mixed, .*", expect = FORBIDDEN, desc = "a region was closed under a reader")
  @Outcome(id = "(.*, )?wiped, .*", expect = FORBIDDEN, desc = "a region that lives was wiped")
  @Outcome(id = "(.*, )?closed, .*", expect = FORBIDDEN, desc = "a secret that lives was closed")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class ReadVersusEndOfAccessWindow {
    private final Secret secret =
        StressSecrets.secret(StressSecrets.IDLE, StressSecrets.slot(StressSecrets.IDLE, 1));

    /** What the region asked its timer for when it was filled. */
    private final Runnable checkIdle = IdleChecks.lastCaused();

    @Actor
    public void read(LLL_Result r) {
      r.r1 = StressSecrets.read(secret);
    }

    @Actor
    public void endOfWindow() {
      checkIdle.run();
    }

    @Arbiter
    public void readAgainAndClose(LLL_Result r) {
      r.r2 = StressSecrets.read(secret);
      secret.close();
      r.r3 = StressSecrets.read(secret);
    }
  }

  @JCStressTest
  @Outcome(id = "closed", expect = ACCEPTABLE, desc = "closed for good")
  @Outcome(id = "key 1", expect = FORBIDDEN, desc = "a closed secret could still be read")
  @Outcome(id = "unreadable|wiped|mixed", expect = FORBIDDEN, desc = "a freed region was read")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class CloseVersusEndOfAccessWindow {
    private final Secret secret =
        StressSecrets.secret(StressSecrets.IDLE, StressSecrets.slot(StressSecrets.IDLE, 1));

    /** What the region asked its timer for when it was filled. */
    private final Runnable checkIdle = IdleChecks.lastCaused();

    @Actor
    public void close() {
      secret.close();
    }

    @Actor
    public void endOfWindow() {
      checkIdle.run();
    }

    @Arbiter
    public void readAgain(L_Result r) {
      r.r1 = StressSecrets.read(secret);
    }
  }

  @JCStressTest
  @Outcome(id = "1", expect = ACCEPTABLE, desc = "one of them ended it, the other found it ended")
  @Outcome(expect = FORBIDDEN, desc = "a slot was given back twice, or never")
  @State
  public static class CloseVersusClose {
    private final Slot slot = StressSecrets.slot(StressSecrets.WARM, 1);
    private final AtomicInteger ended = new AtomicInteger();

    @Actor
    public void close() {
      closeOnce();
    }

    @Actor
    public void closeToo() {
      closeOnce();
    }

    private void closeOnce() {
      if (StressSecrets.WARM.end(slot)) {
        ended.incrementAndGet();
      }
    }

    @Arbiter
    public void count(I_Result r) {
      r.r1 = ended.get();
    }
  }

  /** Another secret keeps the region, so that the next one gets the slot of the one before. */
  private static final class Shared {
    private static final int LENGTH = GranuleMap.GRANULE;

    private final Arena arena = new Arena(StressSecrets.WARM, SlotMemory.REGION, false);
    private final Secret neighbour = secret(9);

    Secret secret(int value) {
      return StressSecrets.secret(
          StressSecrets.WARM, StressSecrets.slot(StressSecrets.WARM, arena, LENGTH, value));
    }
  }

  @JCStressTest
  @Outcome(id = "key 1, key 2, key 9", expect = ACCEPTABLE, desc = "read before it was freed")
  @Outcome(id = "closed, key 2, key 9", expect = ACCEPTABLE, desc = "freed before or meanwhile")
  @Outcome(id = "key 2, .*", expect = FORBIDDEN, desc = "the secret of the next owner was read")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "parts of two secrets were read")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class ReadVersusReuseOfItsSlot {
    private final Shared shared = new Shared();
    private final Secret first = shared.secret(1);
    private Secret second = first;

    @Actor
    public void read(LLL_Result r) {
      r.r1 = StressSecrets.read(first);
    }

    @Actor
    public void freeAndUseAgain() {
      first.close();
      second = shared.secret(2);
    }

    @Arbiter
    public void readTheOthers(LLL_Result r) {
      r.r2 = StressSecrets.read(second);
      r.r3 = StressSecrets.read(shared.neighbour);
      second.close();
      shared.neighbour.close();
    }
  }

  @JCStressTest
  @Outcome(id = "key 9, closed", expect = ACCEPTABLE, desc = "its neighbour was not disturbed")
  @Outcome(id = "closed, .*", expect = FORBIDDEN, desc = "a secret that lives was closed")
  @Outcome(id = "(wiped|mixed|unreadable), .*", expect = FORBIDDEN, desc = "it was disturbed")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class ReadVersusFreeOfItsNeighbour {
    private final Shared shared = new Shared();
    private final Secret freed = shared.secret(1);

    @Actor
    public void read(LL_Result r) {
      r.r1 = StressSecrets.read(shared.neighbour);
    }

    @Actor
    public void free() {
      freed.close();
    }

    @Arbiter
    public void close(LL_Result r) {
      shared.neighbour.close();
      r.r2 = StressSecrets.read(shared.neighbour);
    }
  }

  @JCStressTest
  @Outcome(id = "key 1, closed", expect = ACCEPTABLE, desc = "read before all was wiped")
  @Outcome(id = "closed, closed", expect = ACCEPTABLE, desc = "wiped before or meanwhile")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "unmapped memory was read")
  @Outcome(id = ".*, key 1", expect = FORBIDDEN, desc = "a purged region could still be read")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class ReadVersusPurge {
    private final Slot slot = StressSecrets.slot(StressSecrets.WARM, 1);
    private final Secret secret = StressSecrets.secret(StressSecrets.WARM, slot);

    @Actor
    public void read(LL_Result r) {
      r.r1 = StressSecrets.read(secret);
    }

    @Actor
    public void purge() {
      slot.region.purge();
    }

    @Arbiter
    public void readAgain(LL_Result r) {
      r.r2 = StressSecrets.read(secret);
    }
  }
}
