package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;

class GranuleMapTest {

  private record Taken(int start, int count) {}

  /** The same, as slow and as simple as it can be. */
  private static final class Model {
    private final boolean[] taken;

    Model(int granules) {
      taken = new boolean[granules];
    }

    int take(int count) {
      for (int start = 0; start + count <= taken.length; start++) {
        if (isFree(start, count)) {
          fill(start, count, true);
          return start;
        }
      }
      return -1;
    }

    private boolean isFree(int start, int count) {
      for (int i = start; i < start + count; i++) {
        if (taken[i]) {
          return false;
        }
      }
      return true;
    }

    void fill(int start, int count, boolean value) {
      for (int i = start; i < start + count; i++) {
        taken[i] = value;
      }
    }

    boolean isEmpty() {
      return isFree(0, taken.length);
    }
  }

  @RepeatedTest(50)
  void randomTakesAndReleases_areThoseOfANaiveModel() {
    long seed = new Random().nextLong();
    Random random = new Random(seed);
    int granules = 1 + random.nextInt(600);
    int widest = 1 + random.nextInt(random.nextBoolean() ? 4 : granules + 2);
    // Phases of growth and of decline, so that the map is full at times and empty at others.
    int takesOfTen = 5;
    GranuleMap map = new GranuleMap(granules);
    Model model = new Model(granules);
    List<Taken> live = new ArrayList<>();

    for (int step = 0; step < 5_000; step++) {
      if (step % 500 == 0) {
        takesOfTen = 1 + random.nextInt(9);
      }
      if (random.nextInt(10) < takesOfTen) {
        int count = 1 + random.nextInt(widest);
        int start = map.take(count);
        assertThat(start)
            .as("seed %d, step %d: take %d of %d", seed, step, count, granules)
            .isEqualTo(model.take(count));
        if (start >= 0) {
          live.add(new Taken(start, count));
        }
      } else if (!live.isEmpty()) {
        Taken taken = live.remove(random.nextInt(live.size()));
        map.release(taken.start(), taken.count());
        model.fill(taken.start(), taken.count(), false);
      }
      assertThat(map.isEmpty()).as("seed %d, step %d", seed, step).isEqualTo(model.isEmpty());
    }
  }

  @Test
  void firstGapThatIsWideEnough_isTaken() {
    GranuleMap map = new GranuleMap(10);
    for (int i = 0; i < 10; i++) {
      assertThat(map.take(1)).isEqualTo(i);
    }
    map.release(1, 1);
    map.release(4, 2);
    map.release(7, 3);

    assertThat(map.take(2)).isEqualTo(4);
    assertThat(map.take(2)).isEqualTo(7);
    assertThat(map.take(1)).isEqualTo(1);
    assertThat(map.take(1)).isEqualTo(9);
    assertThat(map.take(1)).isEqualTo(-1);
  }

  @Test
  void wholeMap_fitsExactly_andNothingBesides() {
    GranuleMap map = new GranuleMap(511);

    assertThat(map.take(512)).isEqualTo(-1);
    assertThat(map.take(511)).isZero();
    assertThat(map.take(1)).isEqualTo(-1);
    map.release(0, 511);
    assertThat(map.isEmpty()).isTrue();
    assertThat(map.take(511)).isZero();
  }

  @Test
  void fragmentedMap_refusesWhatFitsInSumOnly() {
    GranuleMap map = new GranuleMap(100);
    for (int i = 0; i < 100; i++) {
      map.take(1);
    }
    for (int i = 0; i < 100; i += 2) {
      map.release(i, 1);
    }

    assertThat(map.take(2)).isEqualTo(-1);
    assertThat(map.take(1)).isZero();
    map.release(51, 1);
    assertThat(map.take(3)).isEqualTo(50);
  }

  @Test
  void refusal_hidesNoNarrowerGap_andNoGapThatOpensLater() {
    GranuleMap map = new GranuleMap(8);
    map.take(6);

    assertThat(map.take(4)).isEqualTo(-1);
    assertThat(map.take(3)).isEqualTo(-1);
    assertThat(map.take(2)).isEqualTo(6);
    map.release(6, 2);
    assertThat(map.take(3)).isEqualTo(-1);
    map.release(0, 6);
    assertThat(map.take(8)).isZero();
  }

  @Test
  void granulesFor_roundsUp() {
    assertThat(GranuleMap.granulesFor(1)).isEqualTo(1);
    assertThat(GranuleMap.granulesFor(32)).isEqualTo(1);
    assertThat(GranuleMap.granulesFor(33)).isEqualTo(2);
    assertThat(GranuleMap.granulesFor(4_096)).isEqualTo(128);
    assertThat(GranuleMap.granulesFor(Integer.MAX_VALUE)).isEqualTo(1 << 26);
  }
}
