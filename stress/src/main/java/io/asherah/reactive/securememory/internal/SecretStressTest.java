package io.asherah.reactive.securememory.internal;

import static org.openjdk.jcstress.annotations.Expect.ACCEPTABLE;
import static org.openjdk.jcstress.annotations.Expect.FORBIDDEN;

import io.asherah.reactive.securememory.Secret;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
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
        StressSecrets.secret(StressSecrets.STRICT, StressSecrets.region(StressSecrets.STRICT, 1));

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
    private final LockedRegion region = StressSecrets.region(StressSecrets.IDLE, 1);
    private final Secret secret = StressSecrets.secret(StressSecrets.IDLE, region);
    private final Runnable checkIdle;

    /** Takes the check that the region asks its timer for. */
    public ReadVersusEndOfAccessWindow() {
      region.watch();
      checkIdle = IdleChecks.lastCaused();
    }

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
    private final LockedRegion region = StressSecrets.region(StressSecrets.IDLE, 1);
    private final Secret secret = StressSecrets.secret(StressSecrets.IDLE, region);
    private final Runnable checkIdle;

    /** Takes the check that the region asks its timer for. */
    public CloseVersusEndOfAccessWindow() {
      region.watch();
      checkIdle = IdleChecks.lastCaused();
    }

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
}
