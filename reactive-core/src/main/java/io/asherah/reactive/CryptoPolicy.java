package io.asherah.reactive;

import java.time.Duration;

/**
 * How long keys live and how many are kept in memory. Immutable and safe for use by many threads.
 */
public final class CryptoPolicy {
  /**
   * To what the creation time of a new key is rounded down, so that several processes that make a
   * key at the same time agree on one. The same in every implementation of Asherah.
   */
  public static final Duration CREATED_PRECISION = Duration.ofMinutes(1);

  private final Duration keyExpiry;
  private final Duration revokeCheckPeriod;
  private final int maxCachedIntermediateKeys;
  private final Duration partitionIdleTime;

  private CryptoPolicy(Builder builder) {
    keyExpiry = builder.keyExpiry;
    revokeCheckPeriod = builder.revokeCheckPeriod;
    maxCachedIntermediateKeys = builder.maxCachedIntermediateKeys;
    partitionIdleTime = builder.partitionIdleTime;
  }

  /**
   * The policy with every option at its default.
   *
   * @return keys expire after 90 days and are checked for revocation every 60 minutes
   */
  public static CryptoPolicy defaults() {
    return builder().build();
  }

  /**
   * Starts a policy.
   *
   * @return a builder with every option at its default
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * After what age a key is no longer used for new data.
   *
   * @return the age, counted from its creation time on the wall clock
   */
  public Duration keyExpiry() {
    return keyExpiry;
  }

  /**
   * How long a key is used for new data without looking whether it was revoked.
   *
   * @return the period, counted on a monotonic clock
   */
  public Duration revokeCheckPeriod() {
    return revokeCheckPeriod;
  }

  /**
   * How many intermediate keys are kept in memory.
   *
   * @return the bound
   */
  public int maxCachedIntermediateKeys() {
    return maxCachedIntermediateKeys;
  }

  /**
   * After what time without use the keys of a partition are wiped from memory.
   *
   * @return the idle time
   */
  public Duration partitionIdleTime() {
    return partitionIdleTime;
  }

  @Override
  public String toString() {
    return "CryptoPolicy[keyExpiry=%s, revokeCheckPeriod=%s, maxCachedIntermediateKeys=%d, partitionIdleTime=%s]"
        .formatted(keyExpiry, revokeCheckPeriod, maxCachedIntermediateKeys, partitionIdleTime);
  }

  /** Configures a {@link CryptoPolicy}. Not safe for use by several threads. */
  public static final class Builder {
    private static final Duration LONGEST = Duration.ofDays(36_500);

    private Duration keyExpiry = Duration.ofDays(90);
    private Duration revokeCheckPeriod = Duration.ofMinutes(60);
    private int maxCachedIntermediateKeys = 1_000;
    private Duration partitionIdleTime = Duration.ofHours(2);

    private Builder() {}

    /**
     * After what age a key is replaced. Data sealed under older keys can still be opened.
     *
     * @param keyExpiry at least {@link CryptoPolicy#CREATED_PRECISION}, since a key may be that old
     *     when it is made; at most 100 years; default 90 days
     * @return this builder
     */
    public Builder keyExpiry(Duration keyExpiry) {
      this.keyExpiry = inRange("keyExpiry", keyExpiry, CREATED_PRECISION);
      return this;
    }

    /**
     * How long a key may be used for new data without looking whether it was revoked.
     *
     * @param revokeCheckPeriod at least one millisecond, at most 100 years; default 60 minutes
     * @return this builder
     */
    public Builder revokeCheckPeriod(Duration revokeCheckPeriod) {
      this.revokeCheckPeriod =
          inRange("revokeCheckPeriod", revokeCheckPeriod, Duration.ofMillis(1));
      return this;
    }

    /**
     * How many intermediate keys are kept in memory, all partitions together. The least useful are
     * wiped beyond it. Each takes one locked page (4,096 bytes on most machines).
     *
     * @param maxCachedIntermediateKeys at least 1; default 1,000
     * @return this builder
     */
    public Builder maxCachedIntermediateKeys(int maxCachedIntermediateKeys) {
      if (maxCachedIntermediateKeys < 1) {
        throw new IllegalArgumentException(
            "maxCachedIntermediateKeys must be at least 1, was " + maxCachedIntermediateKeys);
      }
      this.maxCachedIntermediateKeys = maxCachedIntermediateKeys;
      return this;
    }

    /**
     * After what time without use the keys of a partition are wiped from memory.
     *
     * @param partitionIdleTime at least one millisecond, at most 100 years; default 2 hours
     * @return this builder
     */
    public Builder partitionIdleTime(Duration partitionIdleTime) {
      this.partitionIdleTime =
          inRange("partitionIdleTime", partitionIdleTime, Duration.ofMillis(1));
      return this;
    }

    /**
     * Makes the policy.
     *
     * @return a new policy
     */
    public CryptoPolicy build() {
      return new CryptoPolicy(this);
    }

    private static Duration inRange(String name, Duration value, Duration least) {
      if (value.compareTo(least) < 0 || value.compareTo(LONGEST) > 0) {
        throw new IllegalArgumentException(
            "%s must be between %s and %s, was %s".formatted(name, least, LONGEST, value));
      }
      return value;
    }
  }
}
