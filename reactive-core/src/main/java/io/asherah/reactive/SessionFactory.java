package io.asherah.reactive;

import io.asherah.reactive.internal.crypto.Aes256Gcm;
import io.asherah.reactive.internal.keys.KeyHierarchy;
import io.asherah.reactive.internal.keys.OperationGate;
import io.asherah.reactive.internal.keys.Partition;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.Metastore;
import java.security.Provider;
import java.time.Clock;
import java.time.Duration;
import java.util.Objects;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * Makes sessions for the partitions of one service, and owns the keys they use. A program makes one
 * and closes it when it ends.
 *
 * <p><b>Security guarantees.</b> Plaintext system and intermediate keys are kept in locked memory
 * only, see {@link SecretFactory}; data row keys live on the heap for one operation and are wiped.
 * <b>Restrictions.</b> The cipher of the Java platform keeps expanded copies of the last key it was
 * given, which is one of a single record; see the security model in the documentation.
 *
 * <p>Instances are safe for use by many threads.
 */
public final class SessionFactory {
  private final String product;
  private final String service;
  private final String keySuffix;
  private final Clock clock;
  private final Aes256Gcm aead;
  private final OperationGate gate = new OperationGate();
  private final SecretFactory secrets;
  private final boolean ownsSecrets;
  private final KeyHierarchy keys;
  private final Duration closeTimeout;

  private SessionFactory(Builder builder, Metastore metastore, KeyManagementService kms) {
    this.product = builder.product;
    this.service = builder.service;
    this.keySuffix = Objects.requireNonNull(metastore.keySuffix(), "keySuffix");
    this.clock = builder.clock;
    this.closeTimeout = builder.closeTimeout;
    SecretFactory given = builder.secretFactory;
    this.ownsSecrets = given == null;
    this.secrets =
        given != null
            ? given
            : SecretFactory.builder()
                .ticker(builder.ticker)
                .continuationScheduler(builder.continuationScheduler)
                .build();
    this.aead = new Aes256Gcm(builder.cryptoProvider, secrets.scheduler());
    this.keys =
        new KeyHierarchy(
            metastore,
            kms,
            secrets,
            aead,
            builder.cryptoPolicy,
            clock,
            builder.ticker,
            builder.continuationScheduler,
            builder.loadTimeout,
            gate);
  }

  /**
   * Starts a factory. Product and service are parts of the ids of all keys, the service first:
   * {@code builder("shop", "orders")} makes the system key {@code _SK_orders_shop} and, for the
   * partition {@code alice}, the intermediate key {@code _IK_alice_orders_shop}. Another program
   * that is to open the records must use the same two, each in its place.
   *
   * @param product the name of the product
   * @param service the name of the service
   * @return the next step, which asks for the metastore
   * @throws IllegalArgumentException if one is empty
   */
  public static MetastoreStep builder(String product, String service) {
    String checkedProduct = Partition.requireValid("product", product);
    String checkedService = Partition.requireValid("service", service);
    return metastore -> {
      Objects.requireNonNull(metastore, "metastore");
      return kms -> {
        Objects.requireNonNull(kms, "keyManagementService");
        return new Builder(checkedProduct, checkedService, metastore, kms);
      };
    };
  }

  /**
   * A session for one partition. Costs nothing and need not be kept or closed.
   *
   * @param partition the id of a tenant or user, taken literally: white space and case count
   * @return a session, also where this factory is closed
   * @throws IllegalArgumentException if the id is empty or cannot be written as UTF-8
   */
  public Session session(String partition) {
    String checked = Partition.requireValid("partition", partition);
    return new Session(
        keys, aead, clock, gate, new Partition(checked, service, product, keySuffix));
  }

  /**
   * What this factory holds at this moment, also after it was closed.
   *
   * @return a snapshot
   */
  public SessionFactoryStats stats() {
    return new SessionFactoryStats(
        keys.cachedSystemKeys(), keys.cachedIntermediateKeys(), secrets.stats());
  }

  /**
   * Closes this factory: new operations signal {@link FactoryClosedException}; those in flight are
   * waited for, at most for the close timeout, and signal it too after that; then all keys are
   * wiped. A {@link SecretFactory} that was given to the builder stays open. Happens once;
   * subscribing again is harmless and only waits. Cancelling while operations are waited for leaves
   * the keys in memory until the next subscription.
   *
   * @return completion when all keys are wiped and their memory is returned to the system
   */
  public Mono<Void> close() {
    return gate.close()
        .timeout(closeTimeout, Mono.empty())
        .then(keys.close())
        .then(ownsSecrets ? secrets.close() : Mono.empty());
  }

  @Override
  public String toString() {
    return "SessionFactory[product=%s, service=%s]".formatted(product, service);
  }

  /** Asks for the metastore. */
  @FunctionalInterface
  public interface MetastoreStep {

    /**
     * Where wrapped keys are kept.
     *
     * @param metastore the metastore; never closed by this library
     * @return the next step
     */
    KeyManagementServiceStep metastore(Metastore metastore);
  }

  /** Asks for the key management service. */
  @FunctionalInterface
  public interface KeyManagementServiceStep {

    /**
     * What wraps system keys. There is no default: a service must say who guards its keys.
     *
     * @param kms the key management service; never closed by this library
     * @return the last step
     */
    Builder keyManagementService(KeyManagementService kms);
  }

  /** Configures a {@link SessionFactory}. Not safe for use by several threads. */
  public static final class Builder {
    private final String product;
    private final String service;
    private final Metastore metastore;
    private final KeyManagementService kms;
    private CryptoPolicy cryptoPolicy = CryptoPolicy.defaults();
    private Clock clock = Clock.systemUTC();
    private LongSupplier ticker = System::nanoTime;
    private Scheduler continuationScheduler = Schedulers.parallel();
    private Duration closeTimeout = Duration.ofSeconds(10);
    private Duration loadTimeout = Duration.ofSeconds(30);
    private @Nullable SecretFactory secretFactory;
    private @Nullable Provider cryptoProvider;

    private Builder(String product, String service, Metastore metastore, KeyManagementService kms) {
      this.product = product;
      this.service = service;
      this.metastore = metastore;
      this.kms = kms;
    }

    /**
     * How long keys live and how many are cached.
     *
     * @param cryptoPolicy default {@link CryptoPolicy#defaults()}
     * @return this builder
     */
    public Builder cryptoPolicy(CryptoPolicy cryptoPolicy) {
      this.cryptoPolicy = Objects.requireNonNull(cryptoPolicy, "cryptoPolicy");
      return this;
    }

    /**
     * The wall clock: it dates keys and records and decides what has expired.
     *
     * @param clock default {@link Clock#systemUTC()}
     * @return this builder
     */
    public Builder clock(Clock clock) {
      this.clock = Objects.requireNonNull(clock, "clock");
      return this;
    }

    /**
     * The monotonic clock, in nanoseconds: it measures the revoke check period, idle time and the
     * access window.
     *
     * @param ticker default {@link System#nanoTime()}
     * @return this builder
     */
    public Builder ticker(LongSupplier ticker) {
      this.ticker = Objects.requireNonNull(ticker, "ticker");
      return this;
    }

    /**
     * The scheduler on which an operation goes on after it had to wait for a key.
     *
     * @param scheduler default {@link Schedulers#parallel()}; never disposed by this library
     * @return this builder
     */
    public Builder continuationScheduler(Scheduler scheduler) {
      this.continuationScheduler = Objects.requireNonNull(scheduler, "scheduler");
      return this;
    }

    /**
     * The locked memory to use, for instance one that several factories share.
     *
     * @param secretFactory default one of its own, closed together with the factory
     * @return this builder
     */
    public Builder secretFactory(SecretFactory secretFactory) {
      this.secretFactory = Objects.requireNonNull(secretFactory, "secretFactory");
      return this;
    }

    /**
     * The JCA provider of {@code AES/GCM/NoPadding}, for instance Amazon Corretto Crypto Provider.
     *
     * @param provider default the first one of the platform that has the cipher
     * @return this builder
     */
    public Builder cryptoProvider(Provider provider) {
      this.cryptoProvider = Objects.requireNonNull(provider, "provider");
      return this;
    }

    /**
     * How long {@link SessionFactory#close()} waits for operations in flight.
     *
     * @param closeTimeout positive, at most one day; default 10 seconds
     * @return this builder
     */
    public Builder closeTimeout(Duration closeTimeout) {
      this.closeTimeout = positive("closeTimeout", closeTimeout);
      return this;
    }

    /**
     * How long an operation waits for a key that is not cached, all calls to metastore and key
     * management service together. After it, a retryable error is signalled and the next operation
     * loads anew.
     *
     * @param loadTimeout positive, at most one day; default 30 seconds
     * @return this builder
     */
    public Builder loadTimeout(Duration loadTimeout) {
      this.loadTimeout = positive("loadTimeout", loadTimeout);
      return this;
    }

    private static Duration positive(String name, Duration value) {
      if (value.isNegative() || value.isZero() || value.compareTo(Duration.ofDays(1)) > 0) {
        throw new IllegalArgumentException(
            "%s must be positive and at most one day, was %s".formatted(name, value));
      }
      return value;
    }

    /**
     * Makes the factory. Nothing is connected to, loaded or locked before the first operation.
     *
     * @return a new factory
     */
    public SessionFactory build() {
      return new SessionFactory(this, metastore, kms);
    }
  }
}
