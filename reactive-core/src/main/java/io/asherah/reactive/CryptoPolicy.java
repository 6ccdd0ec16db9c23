package io.asherah.reactive;

import io.asherah.reactive.internal.crypto.Aes256Gcm;
import java.time.Duration;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;

/**
 * How long keys live, when they are replaced, and how many are kept in memory. Immutable and safe
 * for use by many threads.
 */
public final class CryptoPolicy {
  private final Duration keyExpiry;
  private final Duration revokeCheckPeriod;
  private final Duration createdPrecision;
  private final KeyRotation keyRotation;
  private final long maxUsesPerKey;
  private final boolean cacheSystemKeys;
  private final boolean cacheIntermediateKeys;
  private final int maxCachedIntermediateKeys;
  private final Duration partitionIdleTime;

  private CryptoPolicy(Builder builder) {
    keyExpiry = builder.keyExpiry;
    revokeCheckPeriod = builder.revokeCheckPeriod;
    createdPrecision = builder.createdPrecision;
    keyRotation = builder.keyRotation;
    maxUsesPerKey = builder.maxUsesPerKey;
    cacheSystemKeys = builder.cacheSystemKeys;
    cacheIntermediateKeys = builder.cacheIntermediateKeys;
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
   * To what the creation time of a new key is rounded down.
   *
   * @return whole seconds
   */
  public Duration createdPrecision() {
    return createdPrecision;
  }

  /**
   * When an expired key is replaced.
   *
   * @return in the operation that needs it, or in the background
   */
  public KeyRotation keyRotation() {
    return keyRotation;
  }

  /**
   * How many records are sealed under one intermediate key.
   *
   * @return the bound
   */
  public long maxUsesPerKey() {
    return maxUsesPerKey;
  }

  /**
   * Whether system keys stay in memory after the load that needed them.
   *
   * @return true if they are cached
   */
  public boolean cacheSystemKeys() {
    return cacheSystemKeys;
  }

  /**
   * Whether intermediate keys stay in memory after the operation that needed them.
   *
   * @return true if they are cached
   */
  public boolean cacheIntermediateKeys() {
    return cacheIntermediateKeys;
  }

  /**
   * How many intermediate keys are kept in memory.
   *
   * @return the bound
   */
  public int maxCachedIntermediateKeys() {
    return maxCachedIntermediateKeys;
  }

  /** How much locked memory the cached keys take, apart from the few system keys. */
  long mostKeyBytes() {
    return cacheIntermediateKeys ? (long) maxCachedIntermediateKeys * Aes256Gcm.KEY_LENGTH : 0;
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
    return ("CryptoPolicy[keyExpiry=%s, revokeCheckPeriod=%s, createdPrecision=%s, keyRotation=%s,"
            + " maxUsesPerKey=%d, cacheSystemKeys=%s, cacheIntermediateKeys=%s,"
            + " maxCachedIntermediateKeys=%d, partitionIdleTime=%s]")
        .formatted(
            keyExpiry,
            revokeCheckPeriod,
            createdPrecision,
            keyRotation,
            maxUsesPerKey,
            cacheSystemKeys,
            cacheIntermediateKeys,
            maxCachedIntermediateKeys,
            partitionIdleTime);
  }

  /** Configures a {@link CryptoPolicy}. Not safe for use by several threads. */
  public static final class Builder {
    private static final Duration LONGEST = Duration.ofDays(36_500);
    private static final long MOST_USES = 1L << 31;
    private static final Set<String> EVICTION_POLICIES = Set.of("lru", "lfu", "slru", "tinylfu");

    private Duration keyExpiry = Duration.ofDays(90);
    private Duration revokeCheckPeriod = Duration.ofMinutes(60);
    private Duration createdPrecision = Duration.ofMinutes(1);
    private KeyRotation keyRotation = KeyRotation.INLINE;
    private long maxUsesPerKey = MOST_USES;
    private boolean isMaxUsesPerKeySet;
    private boolean cacheSystemKeys = true;
    private boolean cacheIntermediateKeys = true;
    private int maxCachedIntermediateKeys = 1_000;
    private Duration partitionIdleTime = Duration.ofHours(2);

    private Builder() {}

    /**
     * After what age a key is replaced. Data sealed under older keys can still be opened.
     *
     * @param keyExpiry at least one second and at least {@link #createdPrecision}, since a key may
     *     be that old when it is made; at most 100 years; default 90 days
     * @return this builder
     */
    public Builder keyExpiry(Duration keyExpiry) {
      this.keyExpiry = inRange("keyExpiry", keyExpiry, Duration.ofSeconds(1), LONGEST);
      return this;
    }

    /**
     * How long a key may be used for new data without looking whether it was revoked. A key that is
     * in use is looked up again ahead of that, in the background, from 80 to 90 % of the period on.
     *
     * @param revokeCheckPeriod at least one millisecond, at most 100 years; default 60 minutes
     * @return this builder
     */
    public Builder revokeCheckPeriod(Duration revokeCheckPeriod) {
      this.revokeCheckPeriod =
          inRange("revokeCheckPeriod", revokeCheckPeriod, Duration.ofMillis(1), LONGEST);
      return this;
    }

    /**
     * To what the creation time of a new key is rounded down, so that several processes that make a
     * key at the same time agree on one. All programs that share a metastore should use the same;
     * the other implementations of Asherah use one minute.
     *
     * @param createdPrecision whole seconds, from one second to one day; default one minute
     * @return this builder
     */
    public Builder createdPrecision(Duration createdPrecision) {
      inRange("createdPrecision", createdPrecision, Duration.ofSeconds(1), Duration.ofDays(1));
      if (createdPrecision.getNano() != 0) {
        throw new IllegalArgumentException(
            "createdPrecision must be whole seconds, was " + createdPrecision);
      }
      this.createdPrecision = createdPrecision;
      return this;
    }

    /**
     * When an expired key is replaced.
     *
     * @param keyRotation default {@link KeyRotation#INLINE}
     * @return this builder
     */
    public Builder keyRotation(KeyRotation keyRotation) {
      this.keyRotation = Objects.requireNonNull(keyRotation, "keyRotation");
      return this;
    }

    /**
     * After how many records an intermediate key is replaced, whatever its age and {@link
     * #keyRotation}. Each record takes a random nonce of 96 bits under that key, and NIST SP
     * 800-38D, section 8.3, allows 2^32 of them, by all processes together. Uses are counted in
     * this process, for as long as the key stays in its cache. Threads that use the key at the same
     * moment may each go one beyond the bound; beyond 2^20 uses are compared with it once in a
     * thousand, so it may be exceeded by some thousands.
     *
     * <p>Each key needs a creation time of its own, in whole seconds, and no more than {@link
     * #createdPrecision} ahead: at about 60 keys a minute for one partition operations fail with a
     * retryable error. So choose no less than what a partition seals in some seconds.
     *
     * @param maxUsesPerKey from 1 to 2^31; default 2^31
     * @return this builder
     */
    public Builder maxUsesPerKey(long maxUsesPerKey) {
      if (maxUsesPerKey < 1 || maxUsesPerKey > MOST_USES) {
        throw new IllegalArgumentException(
            "maxUsesPerKey must be between 1 and %d, was %d".formatted(MOST_USES, maxUsesPerKey));
      }
      this.maxUsesPerKey = maxUsesPerKey;
      this.isMaxUsesPerKeySet = true;
      return this;
    }

    /**
     * Whether system keys stay in memory. Without, every load of an intermediate key asks the key
     * management service, and system keys are in memory only while one is opened with them.
     *
     * @param cacheSystemKeys default true
     * @return this builder
     */
    public Builder cacheSystemKeys(boolean cacheSystemKeys) {
      this.cacheSystemKeys = cacheSystemKeys;
      return this;
    }

    /**
     * Whether intermediate keys stay in memory. Without, every operation reads the metastore, and
     * an intermediate key is in memory only while one record is sealed or opened.
     *
     * @param cacheIntermediateKeys default true
     * @return this builder
     */
    public Builder cacheIntermediateKeys(boolean cacheIntermediateKeys) {
      this.cacheIntermediateKeys = cacheIntermediateKeys;
      return this;
    }

    /**
     * Keeps no key in memory beyond the operation that needs it: neither system nor intermediate
     * keys are cached, so every operation reads the metastore twice and asks the key management
     * service once.
     *
     * @return this builder
     */
    public Builder cacheNothing() {
      return cacheSystemKeys(false).cacheIntermediateKeys(false);
    }

    /**
     * How many intermediate keys are kept in memory, all partitions together. The least useful are
     * wiped beyond it, by the thread that adds one: there is never more than one too many. Each
     * takes 32 bytes of locked memory.
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
     * Takes the name of an eviction policy from the settings of another implementation of Asherah.
     * There is one here, W-TinyLFU, which keeps what was used often and lately; each of these names
     * stands for it. The name {@code simple}, which means a cache without bound elsewhere, is
     * refused.
     *
     * @param name {@code lru}, {@code lfu}, {@code slru} or {@code tinylfu}, in any case; empty for
     *     the default
     * @return this builder
     * @throws IllegalArgumentException if it is another name
     */
    public Builder evictionPolicy(String name) {
      String known = name.toLowerCase(Locale.ROOT);
      if (known.equals("simple")) {
        throw new IllegalArgumentException(
            "the eviction policy \"simple\" keeps every key for ever, and locked memory is limited;"
                + " set maxCachedIntermediateKeys to the number of keys to keep, and leave the"
                + " eviction policy out");
      }
      if (!known.isEmpty() && !EVICTION_POLICIES.contains(known)) {
        throw new IllegalArgumentException(
            "there is no eviction policy \"%s\"; lru, lfu, slru and tinylfu are known, and all mean"
                    .formatted(name)
                + " the one there is");
      }
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
          inRange("partitionIdleTime", partitionIdleTime, Duration.ofMillis(1), LONGEST);
      return this;
    }

    /**
     * Makes the policy.
     *
     * @return a new policy
     * @throws IllegalArgumentException if options contradict each other: the expiry is shorter than
     *     the precision of creation times, so that keys could be expired when they are made; or
     *     uses are to be counted of intermediate keys that are not cached
     */
    public CryptoPolicy build() {
      if (keyExpiry.compareTo(createdPrecision) < 0) {
        throw new IllegalArgumentException(
            ("keyExpiry (%s) must not be shorter than createdPrecision (%s): a new key may be that"
                    + " old when it is made, and would be born expired")
                .formatted(keyExpiry, createdPrecision));
      }
      if (keyRotation == KeyRotation.QUEUED && !cacheIntermediateKeys) {
        throw new IllegalArgumentException(
            "keyRotation QUEUED needs cacheIntermediateKeys: without, every operation looks for the"
                + " latest key anyway");
      }
      if (isMaxUsesPerKeySet && !cacheIntermediateKeys) {
        throw new IllegalArgumentException(
            "maxUsesPerKey needs cacheIntermediateKeys: the uses of a key are counted while it is"
                + " cached");
      }
      return new CryptoPolicy(this);
    }

    private static Duration inRange(String name, Duration value, Duration least, Duration most) {
      if (value.compareTo(least) < 0 || value.compareTo(most) > 0) {
        throw new IllegalArgumentException(
            "%s must be between %s and %s, was %s".formatted(name, least, most, value));
      }
      return value;
    }
  }
}
