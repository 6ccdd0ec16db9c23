package io.asherah.reactive.benchmarks;

/** Whose the secret is that a thread reads. */
public enum Sharing {
  /** All threads read one secret. */
  SHARED,
  /** Each thread reads a secret of its own. */
  OWN;

  int secrets(int threads) {
    return this == SHARED ? 1 : threads;
  }

  int indexOf(int thread) {
    return this == SHARED ? 0 : thread;
  }
}
