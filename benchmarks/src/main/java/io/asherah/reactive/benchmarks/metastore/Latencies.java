package io.asherah.reactive.benchmarks.metastore;

import java.util.Arrays;

/** How long operations took, one after the other. */
final class Latencies {
  private long[] nanos = new long[1_024];
  private int count;

  void add(long duration) {
    if (count == nanos.length) {
      nanos = Arrays.copyOf(nanos, 2 * count);
    }
    nanos[count++] = duration;
  }

  long[] toArray() {
    return Arrays.copyOf(nanos, count);
  }
}
