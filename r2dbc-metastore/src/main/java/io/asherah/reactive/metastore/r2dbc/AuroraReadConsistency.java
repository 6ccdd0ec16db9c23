package io.asherah.reactive.metastore.r2dbc;

/**
 * How soon a reader of an Amazon Aurora cluster that forwards writes sees what was written through
 * it, in the words of Aurora.
 */
public enum AuroraReadConsistency {
  /** A read may miss what was just written. */
  EVENTUAL,
  /** A read sees what the same connection wrote. */
  SESSION,
  /** A read sees whatever was committed in the primary region when it began. */
  GLOBAL
}
