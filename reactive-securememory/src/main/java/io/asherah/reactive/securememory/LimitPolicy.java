package io.asherah.reactive.securememory;

/**
 * What a {@link SecretFactory} does when it finds that the system will not let it lock as much
 * memory as {@link SecretFactory.Builder#memoryBudget} says.
 */
public enum LimitPolicy {
  /** No secret is created: every creation signals {@link MemoryLimitException}. */
  FAIL,

  /**
   * The same message is logged once as a warning. Secrets are created as long as there is room;
   * none is ever kept in memory that is not locked.
   */
  WARN
}
