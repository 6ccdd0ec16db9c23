package io.asherah.reactive.internal.keys;

import static org.openjdk.jcstress.annotations.Expect.ACCEPTABLE;
import static org.openjdk.jcstress.annotations.Expect.FORBIDDEN;

import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LLL_Result;
import org.openjdk.jcstress.infra.results.LL_Result;
import org.openjdk.jcstress.infra.results.L_Result;

/**
 * The key cache, with keys in real regions. The last result is what became of the keys in the end:
 * one that has left the cache is closed, one that is in it is open.
 */
public class KeyCacheStressTest {

  private KeyCacheStressTest() {}

  @JCStressTest
  @Outcome(id = "key 1, gone closed", expect = ACCEPTABLE, desc = "used before it was evicted")
  @Outcome(
      id = "closed, gone closed",
      expect = ACCEPTABLE,
      desc = "found, and closed before its use")
  @Outcome(id = "none, gone closed", expect = ACCEPTABLE, desc = "looked up after it was evicted")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "unmapped memory was read")
  @Outcome(id = "key [^1], .*", expect = FORBIDDEN, desc = "the bytes of another key were used")
  @Outcome(id = ".*, gone open", expect = FORBIDDEN, desc = "a key that has left was not closed")
  @Outcome(
      id = ".*, cached .*",
      expect = FORBIDDEN,
      desc = "the key is still there after it was evicted")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class UseVersusEvict {
    private final KeyCache cache = StressKeys.cache(1);
    private final CachedKey key = StressKeys.key(1);
    private final CachedKey other = StressKeys.key(2);

    public UseVersusEvict() {
      cache.add("a", key, StressKeys::notForgotten);
    }

    @Actor
    public void use(LL_Result r) {
      r.r1 = StressKeys.read(cache.get("a", key.meta()));
    }

    @Actor
    public void evict() {
      cache.add("b", other, StressKeys::notForgotten);
    }

    @Arbiter
    public void end(LL_Result r) {
      r.r2 = StressKeys.fate(cache, "a", key);
      cache.close();
    }
  }

  @JCStressTest
  @Outcome(id = "key 1, gone closed", expect = ACCEPTABLE, desc = "used before it was forgotten")
  @Outcome(
      id = "closed, gone closed",
      expect = ACCEPTABLE,
      desc = "found, and closed before its use")
  @Outcome(id = "none, gone closed", expect = ACCEPTABLE, desc = "looked up after it was forgotten")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "unmapped memory was read")
  @Outcome(id = "key [^1], .*", expect = FORBIDDEN, desc = "the bytes of another key were used")
  @Outcome(id = ".*, gone open", expect = FORBIDDEN, desc = "a key that has left was not closed")
  @Outcome(
      id = ".*, cached .*",
      expect = FORBIDDEN,
      desc = "the key is still there after it was forgotten")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class UseVersusForget {
    private final KeyCache cache = StressKeys.cache(1);
    private final CachedKey key = StressKeys.key(1);

    public UseVersusForget() {
      cache.add("a", key, StressKeys::notForgotten);
    }

    @Actor
    public void use(LL_Result r) {
      r.r1 = StressKeys.read(cache.get("a", key.meta()));
    }

    @Actor
    public void forget() {
      cache.forget("a");
    }

    @Arbiter
    public void end(LL_Result r) {
      r.r2 = StressKeys.fate(cache, "a", key);
      cache.close();
    }
  }

  @JCStressTest
  @Outcome(
      id = "key 1, gone closed",
      expect = ACCEPTABLE,
      desc = "used before the cache was closed")
  @Outcome(
      id = "closed, gone closed",
      expect = ACCEPTABLE,
      desc = "found, and closed before its use")
  @Outcome(
      id = "none, gone closed",
      expect = ACCEPTABLE,
      desc = "looked up after the cache was closed")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "unmapped memory was read")
  @Outcome(id = "key [^1], .*", expect = FORBIDDEN, desc = "the bytes of another key were used")
  @Outcome(id = ".*, gone open", expect = FORBIDDEN, desc = "a key that has left was not closed")
  @Outcome(
      id = ".*, cached .*",
      expect = FORBIDDEN,
      desc = "the key is still there after the cache was closed")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class UseVersusClose {
    private final KeyCache cache = StressKeys.cache(1);
    private final CachedKey key = StressKeys.key(1);

    public UseVersusClose() {
      cache.add("a", key, StressKeys::notForgotten);
    }

    @Actor
    public void use(LL_Result r) {
      r.r1 = StressKeys.read(cache.get("a", key.meta()));
    }

    @Actor
    public void close() {
      cache.close();
    }

    @Arbiter
    public void end(LL_Result r) {
      r.r2 = StressKeys.fate(cache, "a", key);
      cache.close();
    }
  }

  @JCStressTest
  @Outcome(id = "1 key 1, 2 key 2", expect = ACCEPTABLE, desc = "sealed under the key before")
  @Outcome(id = "2 key 2, 2 key 2", expect = ACCEPTABLE, desc = "sealed under the new key")
  @Outcome(id = "none, .*", expect = FORBIDDEN, desc = "there was no key during the rotation")
  @Outcome(id = "1 key 2, .*", expect = FORBIDDEN, desc = "the new key under the name of the old")
  @Outcome(id = "2 key 1, .*", expect = FORBIDDEN, desc = "the old key under the name of the new")
  @Outcome(id = ". closed, .*", expect = FORBIDDEN, desc = "a key in use was closed by a rotation")
  @Outcome(id = ".*, 1 .*", expect = FORBIDDEN, desc = "the rotation was lost")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class EncryptVersusRotate {
    private final KeyCache cache = StressKeys.cache(10);
    private final CachedKey next = StressKeys.key(2);

    public EncryptVersusRotate() {
      CachedKey first = cache.add("a", StressKeys.key(1), StressKeys::notForgotten);
      cache.pointLatest("a", first);
    }

    private String encrypt() {
      CachedKey latest = cache.latest("a");
      return latest == null
          ? "none"
          : latest.meta().created().getEpochSecond() + " " + StressKeys.read(latest);
    }

    @Actor
    public void encrypt(LL_Result r) {
      r.r1 = encrypt();
    }

    @Actor
    public void rotate() {
      cache.pointLatest("a", cache.add("a", next, StressKeys::notForgotten));
    }

    @Arbiter
    public void end(LL_Result r) {
      r.r2 = encrypt();
      cache.close();
    }
  }

  /**
   * As in KeyHierarchy: the flag of the load is set before the ring is removed. Adding and removing
   * exclude each other, so a load either comes before the removal, which then closes its key, or
   * sees the flag.
   */
  @JCStressTest
  @Outcome(id = "key 1, gone closed", expect = ACCEPTABLE, desc = "used, then forgotten")
  @Outcome(id = "closed, gone closed", expect = ACCEPTABLE, desc = "forgotten before its use")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "unmapped memory was read")
  @Outcome(id = "key [^1], .*", expect = FORBIDDEN, desc = "the bytes of another key were used")
  @Outcome(id = ".*, cached open", expect = FORBIDDEN, desc = "a forgotten key came back")
  @Outcome(id = ".*, cached closed", expect = FORBIDDEN, desc = "a closed key is in the way")
  @Outcome(id = ".*, gone open", expect = FORBIDDEN, desc = "a key leaked into locked memory")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class LoadVersusForget {
    private final KeyCache cache = StressKeys.cache(10);
    private final CachedKey key = StressKeys.key(1);
    private volatile boolean forgotten;

    @Actor
    public void load(LL_Result r) {
      CachedKey added = cache.add("a", key, () -> forgotten);
      if (!forgotten) {
        cache.pointLatest("a", added);
      }
      r.r1 = StressKeys.read(added);
    }

    @Actor
    public void forget() {
      forgotten = true;
      cache.forget("a");
    }

    @Arbiter
    public void end(LL_Result r) {
      r.r2 = cache.latest("a") == null ? StressKeys.fate(cache, "a", key) : "pointed to";
      cache.close();
    }
  }

  /** The one who forgets loads the same key again, while the first load is still under way. */
  @JCStressTest
  @Outcome(
      id = "key 1, gone closed, cached open",
      expect = ACCEPTABLE,
      desc = "loaded and used, forgotten, loaded again")
  @Outcome(
      id = "closed, gone closed, cached open",
      expect = ACCEPTABLE,
      desc = "loaded, forgotten before its use, loaded again")
  @Outcome(
      id = "key 2, gone closed, cached open",
      expect = ACCEPTABLE,
      desc = "forgotten, and given the key of the load that came later")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "unmapped memory was read")
  @Outcome(id = ".*, cached .*, .*", expect = FORBIDDEN, desc = "a forgotten key came back")
  @Outcome(id = ".*, gone open, .*", expect = FORBIDDEN, desc = "a key leaked into locked memory")
  @Outcome(id = ".*, .*, gone .*", expect = FORBIDDEN, desc = "a load that may stay was undone")
  @Outcome(id = ".*, .*, cached closed", expect = FORBIDDEN, desc = "a closed key is in the way")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class LoadVersusForgetAndLoadAgain {
    private final KeyCache cache = StressKeys.cache(10);
    private final CachedKey key = StressKeys.key(1);
    private final CachedKey again = StressKeys.key(key.meta(), 2);
    private volatile boolean forgotten;

    @Actor
    public void load(LLL_Result r) {
      CachedKey added = cache.add("a", key, () -> forgotten);
      if (!forgotten) {
        cache.pointLatest("a", added);
      }
      r.r1 = StressKeys.read(added);
    }

    @Actor
    public void forgetAndLoadAgain() {
      forgotten = true;
      cache.forget("a");
      cache.add("a", again, StressKeys::notForgotten);
    }

    @Arbiter
    public void end(LLL_Result r) {
      r.r2 = StressKeys.fate(cache, "a", key);
      r.r3 = StressKeys.fate(cache, "a", again);
      cache.close();
    }
  }

  /** With the real loads, which note themselves and are told of the forgetting on their own. */
  @JCStressTest
  @Outcome(id = "key 1, gone closed", expect = ACCEPTABLE, desc = "used, then forgotten")
  @Outcome(id = "closed, gone closed", expect = ACCEPTABLE, desc = "forgotten before its use")
  @Outcome(
      id = "key 1, cached open",
      expect = ACCEPTABLE,
      desc = "a load that was registered too late to be told, hence one after the forgetting")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "unmapped memory was read")
  @Outcome(id = "key [^1], .*", expect = FORBIDDEN, desc = "the bytes of another key were used")
  @Outcome(id = "closed, cached .*", expect = FORBIDDEN, desc = "a closed key is in the way")
  @Outcome(id = ".*, gone open", expect = FORBIDDEN, desc = "a key leaked into locked memory")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class SharedLoadVersusForget {
    private final SharedLoads loads = StressKeys.loads();
    private final KeyCache cache = StressKeys.cache(10);
    private final CachedKey key = StressKeys.key(1);

    @Actor
    public void load(LL_Result r) {
      r.r1 = StressKeys.read(StressKeys.load(loads, cache, "a", key).block());
    }

    @Actor
    public void forget() {
      loads.forget("a");
      cache.forget("a");
    }

    @Arbiter
    public void end(LL_Result r) {
      r.r2 = StressKeys.fate(cache, "a", key);
      cache.close();
    }
  }

  @JCStressTest
  @Outcome(id = "key 1, gone closed", expect = ACCEPTABLE, desc = "used before the cache closed")
  @Outcome(id = "closed, gone closed", expect = ACCEPTABLE, desc = "closed before its use")
  @Outcome(id = ".*, cached open", expect = FORBIDDEN, desc = "a key lives on in a closed cache")
  @Outcome(id = "wiped, .*", expect = FORBIDDEN, desc = "zeros were taken for a key")
  @Outcome(id = "mixed, .*", expect = FORBIDDEN, desc = "a half wiped copy was taken for a key")
  @Outcome(id = "unreadable, .*", expect = FORBIDDEN, desc = "unmapped memory was read")
  @Outcome(id = "key [^1], .*", expect = FORBIDDEN, desc = "the bytes of another key were used")
  @Outcome(id = ".*, cached closed", expect = FORBIDDEN, desc = "a closed key is in the way")
  @Outcome(id = ".*, gone open", expect = FORBIDDEN, desc = "a key leaked into locked memory")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class LoadVersusClose {
    private final KeyCache cache = StressKeys.cache(10);
    private final CachedKey key = StressKeys.key(1);

    @Actor
    public void load(LL_Result r) {
      r.r1 = StressKeys.read(cache.add("a", key, StressKeys::notForgotten));
    }

    @Actor
    public void close() {
      cache.close();
    }

    @Arbiter
    public void end(LL_Result r) {
      r.r2 = StressKeys.fate(cache, "a", key);
      cache.close();
    }
  }

  @JCStressTest
  @Outcome(
      id = "key 1, key 1, cached open and gone closed",
      expect = ACCEPTABLE,
      desc = "both use the key that the first load added")
  @Outcome(
      id = "key 2, key 2, gone closed and cached open",
      expect = ACCEPTABLE,
      desc = "both use the key that the second load added")
  @Outcome(id = "key 1, key 2, .*", expect = FORBIDDEN, desc = "each uses a key of its own")
  @Outcome(id = "(.*, )?closed, .*", expect = FORBIDDEN, desc = "the one that stays was closed")
  @Outcome(id = ".*, .*gone open.*", expect = FORBIDDEN, desc = "a key leaked into locked memory")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class LoadVersusLoadOfTheSameKey {
    private final KeyCache cache = StressKeys.cache(10);
    private final CachedKey first = StressKeys.key(1);
    private final CachedKey second = StressKeys.key(first.meta(), 2);

    @Actor
    public void load1(LLL_Result r) {
      r.r1 = StressKeys.read(cache.add("a", first, StressKeys::notForgotten));
    }

    @Actor
    public void load2(LLL_Result r) {
      r.r2 = StressKeys.read(cache.add("a", second, StressKeys::notForgotten));
    }

    @Arbiter
    public void end(LLL_Result r) {
      r.r3 = StressKeys.fate(cache, "a", first) + " and " + StressKeys.fate(cache, "a", second);
      cache.close();
    }
  }

  @JCStressTest
  @Outcome(id = "cached open and gone closed", expect = ACCEPTABLE, desc = "the first one stays")
  @Outcome(id = "gone closed and cached open", expect = ACCEPTABLE, desc = "the second one stays")
  @Outcome(id = "cached .* and cached .*", expect = FORBIDDEN, desc = "more than the bound allows")
  @Outcome(id = ".*gone open.*", expect = FORBIDDEN, desc = "a key leaked into locked memory")
  @Outcome(id = ".*cached closed.*", expect = FORBIDDEN, desc = "a closed key is in the way")
  @Outcome(id = "gone .* and gone .*", expect = FORBIDDEN, desc = "nothing is cached")
  @Outcome(expect = FORBIDDEN, desc = "an outcome that nobody thought of")
  @State
  public static class LoadVersusLoadOfAnotherPartition {
    private final KeyCache cache = StressKeys.cache(1);
    private final CachedKey first = StressKeys.key(1);
    private final CachedKey second = StressKeys.key(2);

    @Actor
    public void load1() {
      cache.add("a", first, StressKeys::notForgotten);
    }

    @Actor
    public void load2() {
      cache.add("b", second, StressKeys::notForgotten);
    }

    @Arbiter
    public void end(L_Result r) {
      r.r1 = StressKeys.fate(cache, "a", first) + " and " + StressKeys.fate(cache, "b", second);
      cache.close();
    }
  }

  @JCStressTest
  @Outcome(
      id = "true",
      expect = ACCEPTABLE,
      desc = "the read that was sent later has the last word")
  @Outcome(id = "false", expect = FORBIDDEN, desc = "a late answer has undone a revocation")
  @State
  public static class CheckVersusLaterCheck {
    private final CachedKey key = StressKeys.key(1);

    @Actor
    public void check() {
      key.checked(StressKeys.record(key.meta(), false, 2), null);
    }

    @Actor
    public void laterCheck() {
      key.checked(StressKeys.record(key.meta(), true, 3), null);
    }

    @Arbiter
    public void end(L_Result r) {
      r.r1 = key.isRevoked() && key.checkedAt() == 3;
      key.close();
    }
  }
}
