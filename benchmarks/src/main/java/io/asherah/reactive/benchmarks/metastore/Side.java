package io.asherah.reactive.benchmarks.metastore;

import java.time.Duration;

/** One of the two that are compared, with its pool. */
interface Side extends AutoCloseable {
  /**
   * Does one operation after the other for a time.
   *
   * @param concurrency how many are under way at any time
   */
  Measurement run(Workload workload, int concurrency, Duration time);

  /** How often the metastore was asked so far. */
  long loads();

  @Override
  void close();
}
