package io.asherah.reactive.internal.keys;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

/** Answers that come in another order than their questions were asked. */
class KeyCacheTest {
  private static final String RING = "ring";

  private final List<KeyMeta> evicted = new ArrayList<>();
  private final List<KeyMeta> closed = Collections.synchronizedList(new ArrayList<>());
  private final KeyCache cache =
      new KeyCache(3, Duration.ofDays(1), () -> 0, Runnable::run, evicted::add, tick -> {});

  private static KeyMeta meta(int created) {
    return new KeyMeta("key", Instant.ofEpochSecond(created));
  }

  private static SealedKey record(int created, boolean isRevoked, long readAt) {
    return record(created, isRevoked, readAt, (byte) created);
  }

  private static SealedKey record(int created, boolean isRevoked, long readAt, byte content) {
    return new SealedKey(
        meta(created),
        new EnvelopeKeyRecord(
            Instant.ofEpochSecond(created), new byte[] {content}, null, isRevoked),
        readAt);
  }

  private CachedKey key(SealedKey record) {
    return key(record, new AtomicBoolean());
  }

  private CachedKey key(SealedKey record, AtomicBoolean isGone) {
    return new CachedKey(
        record,
        new KeyMaterial() {
          @Override
          public <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function) {
            return Mono.empty();
          }

          @Override
          public boolean isClosed() {
            return isGone.get();
          }

          @Override
          public void close() {
            closed.add(record.meta());
          }
        },
        null,
        100);
  }

  private CachedKey added(int created, long readAt) {
    return cache.add(RING, key(record(created, false, readAt)), () -> false);
  }

  @Test
  void answerThatWasAskedForEarlier_changesNothing() {
    CachedKey key = key(record(1, false, 10));
    assertThat(key.checked(record(1, true, 20), null)).isTrue();
    assertThat(key.checked(record(1, false, 19), null)).isFalse();
    assertThat(key.isRevoked()).isTrue();
    assertThat(key.checkedAt()).isEqualTo(20);
    // Of two that were asked for at once, the one that revokes counts.
    key.checked(record(1, false, 20), null);
    assertThat(key.isRevoked()).isTrue();
    assertThat(key.checked(record(1, true, 20), null)).isFalse();
    key.checked(record(1, false, 21), null);
    assertThat(key.isRevoked()).isFalse();
  }

  @Test
  void recordOfAnotherKeyOfThatName_changesNothing() {
    CachedKey key = key(record(1, false, 10));
    assertThat(key.checked(record(1, true, 20, (byte) 9), null)).isFalse();
    assertThat(key.isRevoked()).isFalse();
    assertThat(key.checkedAt()).isEqualTo(10);
  }

  @Test
  void latest_isNotMovedBackByAnOlderAnswer() {
    CachedKey old = added(1, 10);
    CachedKey fresh = added(2, 20);
    cache.pointLatest(RING, fresh);
    cache.pointLatest(RING, old);
    assertThat(cache.latest(RING)).isSameAs(fresh);

    // The newer one was deleted, says a read that was sent later.
    old.checked(record(1, false, 30), null);
    cache.pointLatest(RING, old);
    assertThat(cache.latest(RING)).isSameAs(old);
  }

  @Test
  void latest_isMovedToASuccessor_alsoIfTheOldOneWasReadOnceMore() {
    CachedKey old = added(1, 13);
    cache.pointLatest(RING, old);
    CachedKey successor = added(2, 12);
    cache.pointLatest(RING, successor);
    assertThat(cache.latest(RING)).isSameAs(successor);
  }

  @Test
  void keyThatWasReadForAnOldRecord_isNotTheLatest() {
    CachedKey fresh = added(2, 10);
    cache.pointLatestIfNewest(RING, fresh);
    cache.pointLatestIfNewest(RING, added(1, 20));
    assertThat(cache.latest(RING)).isSameAs(fresh);
  }

  @Test
  void ringThatIsTooLarge_losesTheKeyThatWasReadLongestAgo_andNotTheLatest() {
    cache.pointLatest(RING, added(1, 10));
    added(2, 20);
    added(3, 30);
    CachedKey fourth = added(4, 15);

    assertThat(cache.get(RING, meta(4))).isSameAs(fourth);
    assertThat(cache.get(RING, meta(2))).isNull();
    assertThat(cache.latest(RING)).isNotNull();
    assertThat(closed).containsExactly(meta(2));
    assertThat(evicted).containsExactly(meta(2));
    assertThat(cache.size()).isEqualTo(3);
  }

  @Test
  void anotherKeyOfThatName_takesThePlaceOfTheOldOne() {
    CachedKey old = added(1, 10);
    cache.pointLatest(RING, old);
    CachedKey same = cache.add(RING, key(record(1, true, 20)), () -> false);
    assertThat(same).isSameAs(old);
    assertThat(old.isRevoked()).isTrue();
    closed.clear();

    CachedKey other = cache.add(RING, key(record(1, false, 30, (byte) 9)), () -> false);

    assertThat(other).isNotSameAs(old);
    assertThat(cache.get(RING, meta(1))).isSameAs(other);
    assertThat(cache.latest(RING)).isNull();
    assertThat(closed).containsExactly(meta(1));
  }

  @Test
  void keyWhoseBytesAreGone_isMissing_andReplacedByTheSameOne() {
    AtomicBoolean isGone = new AtomicBoolean();
    CachedKey lost = cache.add(RING, key(record(1, false, 10), isGone), () -> false);
    cache.pointLatest(RING, lost);
    isGone.set(true);
    assertThat(cache.get(RING, lost.meta())).isNull();
    assertThat(cache.latest(RING)).isNull();

    CachedKey again = added(1, 20);
    cache.pointLatestIfNewest(RING, again);

    assertThat(again).isNotSameAs(lost);
    assertThat(cache.get(RING, lost.meta())).isSameAs(again);
    assertThat(cache.latest(RING)).isSameAs(again);
    assertThat(cache.size()).isOne();
  }

  @Test
  void keyThatComesAfterForgetOrClose_isClosed() {
    cache.add(RING, key(record(1, false, 10)), () -> true);
    assertThat(cache.get(RING, meta(1))).isNull();
    cache.close();
    added(2, 10);
    assertThat(cache.get(RING, meta(2))).isNull();
    assertThat(closed).containsExactly(meta(1), meta(2));
  }

  @Test
  void keysAddedOnTwoThreads_areNeverMoreThanOneBeyondTheBound() throws Exception {
    int bound = 100;
    int adds = 100_000;
    AtomicLong present = new AtomicLong();
    AtomicLong most = new AtomicLong();
    ExecutorService threads = Executors.newFixedThreadPool(2);
    try {
      // Exact, where the size of the map would be a sum of counters that others move meanwhile.
      KeyCache shared =
          new KeyCache(
              bound,
              Duration.ofDays(1),
              () -> 0,
              threads,
              meta -> present.decrementAndGet(),
              tick -> {});
      List<Future<?>> adding = new ArrayList<>();
      for (int thread = 0; thread < 2; thread++) {
        String prefix = "ring" + thread + '-';
        adding.add(
            threads.submit(
                () -> {
                  for (int i = 0; i < adds; i++) {
                    shared.add(
                        prefix + i,
                        key(record(1, false, 0)),
                        () -> {
                          most.accumulateAndGet(present.incrementAndGet(), Math::max);
                          return false;
                        });
                  }
                }));
      }
      for (Future<?> each : adding) {
        each.get(1, TimeUnit.MINUTES);
      }
      assertThat(most.get()).isEqualTo(bound + 1);
      assertThat(shared.size()).isEqualTo(bound);
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void refresh_isClaimedOnce_andAgainAfterTheBackoff_andAnewAfterAnAnswer() {
    CachedKey key = key(record(1, false, 0));
    CachedKey.Backoff backoff = attempts -> 10L << attempts;
    assertThat(key.refresh().claim(99, backoff)).isFalse();
    assertThat(key.refresh().claim(100, backoff)).isTrue();
    assertThat(key.refresh().claim(100, backoff)).isFalse();
    assertThat(key.refresh().claim(109, backoff)).isFalse();
    assertThat(key.refresh().claim(110, backoff)).isTrue();
    assertThat(key.refresh().claim(129, backoff)).isFalse();
    key.checked(record(1, false, 129), null);
    assertThat(key.refresh().isDue(228)).isFalse();
    assertThat(key.refresh().isDue(229)).isTrue();
  }
}
