package io.asherah.reactive;

import io.asherah.reactive.internal.crypto.Aes256Gcm;
import io.asherah.reactive.internal.keys.GuardedRecorder;
import io.asherah.reactive.internal.keys.KeyHierarchy;
import io.asherah.reactive.internal.keys.LoadSettings;
import io.asherah.reactive.internal.keys.OperationGate;
import io.asherah.reactive.internal.keys.Partition;
import io.asherah.reactive.internal.keys.Timing;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.spi.MetricsRecorder;
import java.security.Provider;
import java.time.Clock;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Publisher;
import reactor.core.Exceptions;
import reactor.core.publisher.Flux;
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
  private static final int WARM_UP_CONCURRENCY = 256;

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
  private final Scheduler timer;
  private final OperationMetrics metrics;

  private SessionFactory(Builder builder, Metastore metastore, KeyManagementService kms) {
    this.product = builder.product;
    this.service = builder.service;
    this.keySuffix = Objects.requireNonNull(metastore.keySuffix(), "keySuffix");
    this.clock = builder.clock;
    this.closeTimeout = builder.closeTimeout;
    this.timer = builder.timerScheduler;
    this.metrics = new OperationMetrics(builder.metricsRecorder, builder.ticker);
    SecretFactory given = builder.secretFactory;
    this.ownsSecrets = given == null;
    this.secrets =
        given != null
            ? given
            : SecretFactory.builder()
                .memoryBudget(builder.cryptoPolicy.mostKeyBytes())
                .ticker(builder.ticker)
                .continuationScheduler(builder.continuationScheduler)
                .build();
    this.aead = new Aes256Gcm(builder.cryptoProvider, secrets.scheduler());
    this.keys =
        new KeyHierarchy(
            Partition.systemKeyId(service, product, keySuffix),
            metastore,
            kms,
            secrets,
            aead,
            builder.cryptoPolicy,
            new Timing(
                clock, builder.ticker, builder.timerScheduler, builder.continuationScheduler),
            new LoadSettings(
                builder.loadTimeout,
                builder.callTimeout,
                builder.callAttempts,
                builder.callBackoff,
                builder.maxConcurrentCalls,
                builder.loadContextKeys),
            builder.metricsRecorder,
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
    return new Session(keys, aead, clock, gate, metrics, partitionOf(partition));
  }

  private Partition partitionOf(String partition) {
    return new Partition(
        Partition.requireValid("partition", partition), service, product, keySuffix);
  }

  /**
   * Loads the keys that new data of some partitions is sealed under, and makes those that do not
   * exist yet, as their first {@link Session#encrypt} would do. No more partitions than the cache
   * holds should be named, or the first are evicted for the last.
   *
   * <p>Each subscription looks at every partition once; those whose keys are cached cost nothing.
   * Loads go on in parallel, within {@link Builder#maxConcurrentCalls}. A partition that fails does
   * not keep the others from being loaded: the first error is signalled at the end, and has the
   * others as suppressed ones; an id that is none is an {@link IllegalArgumentException} signal.
   * Cancelling stops the partitions that were not begun.
   *
   * @param partitions ids of tenants or users
   * @return completion when all were loaded, on the continuation scheduler or, where all were
   *     cached, on the subscribing thread
   */
  public Mono<Void> warmUp(Publisher<String> partitions) {
    Objects.requireNonNull(partitions, "partitions");
    return Flux.from(partitions)
        .flatMapDelayError(
            partition ->
                Mono.using(
                    gate::enter,
                    entered -> keys.warmUp(partitionOf(partition)),
                    OperationGate::leave),
            WARM_UP_CONCURRENCY,
            WARM_UP_CONCURRENCY)
        .onErrorMap(Exceptions::isMultiple, SessionFactory::firstOf)
        .then();
  }

  private static Throwable firstOf(Throwable many) {
    List<Throwable> errors = Exceptions.unwrapMultiple(many);
    Throwable first = errors.get(0);
    errors.stream().skip(1).filter(other -> other != first).forEach(first::addSuppressed);
    return first;
  }

  /**
   * Loads keys ahead, see {@link #warmUp(Publisher)}.
   *
   * @param partitions ids of tenants or users
   * @return completion when all were loaded
   */
  public Mono<Void> warmUp(Iterable<String> partitions) {
    Objects.requireNonNull(partitions, "partitions");
    return warmUp(Flux.fromIterable(partitions));
  }

  /**
   * The intermediate keys of a partition that the metastore has: every version, without suffix and
   * with any. These are what {@link #shred} would delete.
   *
   * <p>Signals {@link AppEncryptionException} where the metastore is no {@link KeyInventory}.
   *
   * @param partition the id of a tenant or user
   * @return what is known of each key, or empty where there is none
   * @throws IllegalArgumentException if the id is empty or cannot be written as UTF-8
   */
  public Flux<KeyInfo> keysOf(String partition) {
    Partition checked = partitionOf(partition);
    return Flux.using(gate::enter, entered -> keys.keysOf(checked), OperationGate::leave);
  }

  /**
   * Deletes the intermediate keys of a partition for ever, every version, without suffix and with
   * any, and wipes them from the memory of this process: what was sealed under them cannot be
   * opened again by anybody who has not kept a copy of them. Then waits until no new key can be
   * given the name of a deleted one, at most for {@link CryptoPolicy#createdPrecision} in most
   * cases, and deletes what another process made under such a name in the meantime. List with
   * {@link #keysOf} first.
   *
   * <p><b>Restrictions.</b> Other processes open records with a cached key until they wipe it,
   * which is after {@link CryptoPolicy#partitionIdleTime} without use. Backups and replicas of the
   * metastore may keep the keys. Since an id does not tell a suffix from the end of a product's
   * name, the keys of the same partition of a product called {@code shop_eu} are deleted together
   * with those of {@code shop}. What is sealed while the Mono is under way may be lost as well. So
   * may be what another process seals with the cached key, until it looks it up again: for up to
   * {@link CryptoPolicy#revokeCheckPeriod}. Stop writing to the partition first.
   *
   * <p>Each subscription shreds once. Signals {@link AppEncryptionException} where the metastore is
   * no {@link KeyInventory}, and {@link MetastoreException} where it fails; then some keys may be
   * deleted and some not, and shredding again is safe. Cancelling stops where it is, and is safe as
   * well.
   *
   * @param partition the id of a tenant or user
   * @return what was deleted, on the continuation scheduler; a report of nothing where there was
   *     nothing
   * @throws IllegalArgumentException if the id is empty or cannot be written as UTF-8
   */
  public Mono<ShredReport> shred(String partition) {
    Partition checked = partitionOf(partition);
    return Mono.using(
        gate::enter,
        entered ->
            keys.shred(checked)
                .map(
                    shredded ->
                        new ShredReport(
                            partition,
                            shredded.deleted(),
                            shredded.started(),
                            shredded.finished())),
        OperationGate::leave);
  }

  /**
   * What happens to the keys of this factory from a subscription on. Subscribers get the same
   * events, on the continuation scheduler; one that falls more than 256 behind loses the oldest.
   * Completes when the factory is closed. Nothing is lost to operations if nobody subscribes.
   *
   * @return events that never fail
   */
  public Flux<KeyEvent> keyEvents() {
    return keys.events();
  }

  /**
   * What this factory holds at this moment, also after it was closed.
   *
   * @return a snapshot
   */
  public SessionFactoryStats stats() {
    return new SessionFactoryStats(
        keys.cachedSystemKeys(),
        keys.cachedIntermediateKeys(),
        keys.loads(),
        keys.callsUnderWay(),
        keys.callsWaiting(),
        secrets.stats());
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
        .timeout(closeTimeout, Mono.empty(), timer)
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
    /** Where Micrometer keeps the current observation in a Reactor context. */
    private static final String OBSERVATION = "micrometer.observation";

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
    private Duration callTimeout = Duration.ofSeconds(5);
    private int callAttempts = 3;
    private Duration callBackoff = Duration.ofMillis(100);
    private int maxConcurrentCalls = 20;
    private Scheduler timerScheduler = Schedulers.parallel();
    private MetricsRecorder metricsRecorder = MetricsRecorder.NONE;
    private Set<Object> loadContextKeys = Set.of(OBSERVATION);
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
     * The monotonic clock, in nanoseconds: it measures the revoke check period, idle time, the
     * access window, and what a metrics recorder is told.
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
     * @param secretFactory default one of its own, closed together with the factory, whose memory
     *     budget is what the keys of the {@link #cryptoPolicy} take
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
     * management service together. After it, a retryable error is signalled, no further call is
     * made for that load, and the next operation loads anew.
     *
     * @param loadTimeout positive, at most one day; default 30 seconds
     * @return this builder
     */
    public Builder loadTimeout(Duration loadTimeout) {
      this.loadTimeout = positive("loadTimeout", loadTimeout);
      return this;
    }

    /**
     * How long one attempt of one call to metastore or key management service may take. After it
     * the call is cancelled and counts as failed, with a retryable error.
     *
     * @param callTimeout positive, at most one day; default 5 seconds
     * @return this builder
     */
    public Builder callTimeout(Duration callTimeout) {
      this.callTimeout = positive("callTimeout", callTimeout);
      return this;
    }

    /**
     * How often a call to metastore or key management service is made in all, while it fails with
     * an error whose {@link AppEncryptionException#isRetryable()} is true.
     *
     * @param callAttempts from 1, which means never again, to 100; default 3
     * @return this builder
     */
    public Builder callAttempts(int callAttempts) {
      this.callAttempts = inRange("callAttempts", callAttempts, 100);
      return this;
    }

    /**
     * The pause before the second attempt of a call. It doubles with every further one, up to ten
     * times this, and is varied by up to half.
     *
     * @param callBackoff positive, at most one day; default 100 milliseconds
     * @return this builder
     */
    public Builder callBackoff(Duration callBackoff) {
      this.callBackoff = positive("callBackoff", callBackoff);
      return this;
    }

    /**
     * How many calls to the metastore may be under way at once, and how many to the key management
     * service. Further ones wait for their turn, within {@link #loadTimeout}.
     *
     * @param maxConcurrentCalls from 1 to 10,000; default 20
     * @return this builder
     */
    public Builder maxConcurrentCalls(int maxConcurrentCalls) {
      this.maxConcurrentCalls = inRange("maxConcurrentCalls", maxConcurrentCalls, 10_000);
      return this;
    }

    /**
     * The scheduler that times time-outs and back-offs; its tasks are short.
     *
     * @param scheduler one that knows about time; default {@link Schedulers#parallel()}; never
     *     disposed by this library
     * @return this builder
     */
    public Builder timerScheduler(Scheduler scheduler) {
      this.timerScheduler = Objects.requireNonNull(scheduler, "scheduler");
      return this;
    }

    /**
     * What counts and times operations, calls and key events.
     *
     * @param metricsRecorder default {@link MetricsRecorder#NONE}, for which no clock is read
     * @return this builder
     */
    public Builder metricsRecorder(MetricsRecorder metricsRecorder) {
      this.metricsRecorder =
          GuardedRecorder.of(Objects.requireNonNull(metricsRecorder, "metricsRecorder"));
      return this;
    }

    /**
     * Which entries of a caller's Reactor context the metastore and the key management service see.
     * A load is shared: it sees those of the operation that started it. Never name one that carries
     * a transaction: a key that is stored in it would vanish with its roll-back while it is still
     * used. Operations themselves always see their own context.
     *
     * @param keys keys of context entries; default {@code "micrometer.observation"} alone
     * @return this builder
     */
    public Builder loadContextKeys(Collection<?> keys) {
      this.loadContextKeys = Set.copyOf(keys);
      return this;
    }

    private static int inRange(String name, int value, int most) {
      if (value < 1 || value > most) {
        throw new IllegalArgumentException(
            "%s must be between 1 and %d, was %d".formatted(name, most, value));
      }
      return value;
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
