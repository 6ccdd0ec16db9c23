package io.asherah.reactive.benchmarks.metastore;

import java.util.Locale;

/** What one operation is. Nothing is cached on either side. */
enum Workload {
  /** The intermediate key of a partition is loaded by its id and its time. */
  LOAD,
  /** The newest intermediate key of a partition is loaded. */
  LOAD_LATEST,
  /** A record of a partition is opened, for which both of its keys are loaded and unwrapped. */
  DECRYPT,
  /** A payload is sealed for a partition that has its keys, which are loaded and unwrapped. */
  ENCRYPT;

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
