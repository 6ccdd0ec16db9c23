package io.asherah.reactive.kms.aws;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class DataKeyTest {
  private static byte[] ones() {
    byte[] ones = new byte[32];
    Arrays.fill(ones, (byte) 1);
    return ones;
  }

  private static DataKey filled(byte[] plaintext) {
    DataKey key = new DataKey();
    assertThat(key.retain()).isTrue();
    key.fill(plaintext);
    key.release();
    return key;
  }

  @Test
  void closed_isWiped() {
    byte[] plaintext = ones();
    DataKey key = filled(plaintext);
    assertThat(plaintext).containsOnly(1);

    key.close();

    assertThat(plaintext).containsOnly(0);
  }

  @Test
  void closedWhileRetained_isWipedByTheLastRelease() {
    byte[] plaintext = ones();
    DataKey key = filled(plaintext);
    assertThat(key.retain()).isTrue();
    assertThat(key.retain()).isTrue();

    key.close();
    assertThat(plaintext).containsOnly(1);
    // Somebody has it still, so somebody else may.
    assertThat(key.retain()).isTrue();
    key.release();
    key.release();
    assertThat(plaintext).containsOnly(1);
    assertThat(key.plaintext()).isSameAs(plaintext);
    key.release();

    assertThat(plaintext).containsOnly(0);
  }

  @Test
  void wiped_isNotWipedAgain() {
    byte[] plaintext = ones();
    DataKey key = filled(plaintext);
    key.close();
    Arrays.fill(plaintext, (byte) 2);

    assertThat(key.retain()).isFalse();
    assertThat(key.<Integer>use(bytes -> 7)).isNull();

    assertThat(plaintext).containsOnly(2);
  }

  @Test
  void filledAfterClose_byACallThatRetainedBefore_isWiped() {
    byte[] plaintext = ones();
    DataKey key = new DataKey();
    assertThat(key.retain()).isTrue();
    key.close();

    key.fill(plaintext);
    assertThat(plaintext).containsOnly(1);
    key.release();

    assertThat(plaintext).containsOnly(0);
  }

  @Test
  void closedWhileInUse_isWipedAfterwards_alsoWhereTheUserFails() {
    byte[] plaintext = ones();
    DataKey key = filled(plaintext);
    try {
      key.use(
          bytes -> {
            key.close();
            assertThat(bytes).containsOnly(1);
            throw new IllegalStateException("intended");
          });
    } catch (IllegalStateException expected) {
      assertThat(expected).hasMessage("intended");
    }
    assertThat(plaintext).containsOnly(0);
  }

  @Test
  void neverFilled_isClosed() {
    DataKey key = new DataKey();
    key.close();
    assertThat(key.retain()).isFalse();
  }

  /** Users on several threads, of which each sees all of the key or is refused. */
  @Test
  void manyThreads_neverSeeAWipedKey_andItIsWipedInTheEnd() throws Exception {
    int threads = 4;
    ExecutorService executor = Executors.newFixedThreadPool(threads);
    try {
      for (int round = 0; round < 3_000; round++) {
        byte[] plaintext = ones();
        DataKey key = filled(plaintext);
        CyclicBarrier start = new CyclicBarrier(threads);
        List<Future<Boolean>> ends = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
          boolean isOwner = thread == round % threads;
          ends.add(
              executor.submit(
                  () -> {
                    start.await();
                    if (isOwner) {
                      key.close();
                      return true;
                    }
                    Boolean seen = key.use(DataKeyTest::areOnes);
                    if (key.retain()) {
                      seen = areOnes(key.plaintext());
                      key.release();
                    }
                    return seen == null || seen;
                  }));
        }
        for (Future<Boolean> end : ends) {
          assertThat(end.get(Await.TIMEOUT.toSeconds(), TimeUnit.SECONDS)).isTrue();
        }
        assertThat(plaintext).containsOnly(0);
      }
    } finally {
      executor.shutdownNow();
    }
  }

  private static Boolean areOnes(byte[] bytes) {
    for (byte one : Objects.requireNonNull(bytes)) {
      if (one != 1) {
        return false;
      }
    }
    return true;
  }
}
