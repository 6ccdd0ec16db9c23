package io.asherah.reactive.kms.aws;

import io.asherah.reactive.InvalidRecordException;
import io.asherah.reactive.KeyCipher;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import io.asherah.reactive.kms.aws.KeyEnvelope.Kek;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.MetricsRecorder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.services.kms.KmsAsyncClient;
import software.amazon.awssdk.services.kms.KmsAsyncClientBuilder;

/**
 * Wraps system keys with AWS KMS, in one region or several, in the envelope that the other
 * implementations of Asherah write and read.
 *
 * <pre>{@code
 * AwsKeyManagementService kms =
 *     AwsKeyManagementService.builder()
 *         .region("us-west-2", "arn:aws:kms:us-west-2:111122223333:key/…")
 *         .region("eu-west-1", "arn:aws:kms:eu-west-1:111122223333:key/…")
 *         .build();
 * }</pre>
 *
 * <p><b>Wrapping</b> asks the regions for a data key, the preferred one first and then in the order
 * in which they were named, until one has made it. The data key seals the system key, and all other
 * regions wrap the data key, at the same time. A region that fails is left out with a warning,
 * unless fewer than {@link Builder#minimumRegions} are left: that region alone cannot open the
 * system key then.
 *
 * <p><b>Unwrapping</b> asks the regions in the same order, until one gives the data key that opens
 * the system key. KMS is told which master key must have wrapped it: the one that the record names,
 * if that is the key of the region or one of {@link Builder#previousKeyArns}. A record that names
 * another is refused without a call, since whoever can write to the metastore could plant a system
 * key wrapped under a key of his own.
 *
 * <p>One subscription makes one attempt in each region that it needs, each bounded by {@link
 * Builder#regionTimeout}. A failure is a {@link KmsException}; where several regions failed it is
 * retryable if one of them is. Clients are called on {@link Schedulers#boundedElastic()}, since the
 * SDK waits for credentials on the thread that calls it, and answers come there, or on a thread of
 * the secret's factory.
 *
 * <p>The plaintext of a data key is an array on the Java heap, which is wiped once, when every call
 * that uses it has ended. Whoever cancels stops waiting; calls that were begun go on to their end.
 * Copies that the SDK and its HTTP client make on the way cannot be wiped, see {@code docs/aws.md}.
 *
 * <p>Safe for use by many threads. {@link #close} closes the clients that were built here.
 */
public final class AwsKeyManagementService implements KeyManagementService {
  private static final Logger log = LoggerFactory.getLogger(AwsKeyManagementService.class);

  /** Those that wrap. */
  private final List<KmsRegion> regions;

  /** The same, and those of previous keys that are elsewhere. */
  private final List<KmsRegion> openers;

  private final Set<String> previousKeyArns;
  private final boolean acceptsAnyKeyArn;
  private final int minimumRegions;
  private final MetricsRecorder recorder;
  private final AtomicBoolean isRecorderReported = new AtomicBoolean();
  private final KeyCipher cipher = KeyCipher.create();

  private AwsKeyManagementService(Builder builder, List<String> order) {
    this.regions = order.stream().map(builder::newRegion).toList();
    this.openers =
        Stream.concat(
                regions.stream(),
                builder.previousKeyArns.stream()
                    .flatMap(keyArn -> Builder.regionOf(keyArn).stream())
                    .filter(region -> !order.contains(region))
                    .distinct()
                    .map(builder::newRegion))
            .toList();
    this.previousKeyArns = Set.copyOf(builder.previousKeyArns);
    this.acceptsAnyKeyArn = builder.acceptsAnyKeyArn;
    this.minimumRegions = builder.minimumRegions;
    this.recorder = builder.recorder;
  }

  /**
   * Uses one region, with the credentials that the SDK finds.
   *
   * @param region the region, for instance {@code us-west-2}
   * @param keyArn the master key, best by its ARN
   * @return a service, which has called nobody yet
   * @throws IllegalArgumentException if the region is none, or the ARN is of another region
   */
  public static AwsKeyManagementService create(String region, String keyArn) {
    return builder().region(region, keyArn).build();
  }

  /**
   * For several regions, and for what {@link #create} does not do.
   *
   * @return a builder, which needs a {@link Builder#region}
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Builds the clients and gets credentials for them, in all regions at the same time, so that the
   * first operation need not wait for that. It calls no key management service.
   *
   * @return completes on {@link Schedulers#boundedElastic()}; signals {@link KmsException} where
   *     fewer than {@link Builder#minimumRegions} could be made ready, and logs a warning for each
   *     other that could not. Whoever cancels stops waiting
   */
  public Mono<Void> warmUp() {
    return cipher
        .ready()
        .thenMany(
            Flux.fromIterable(regions)
                .flatMapSequential(
                    region -> region.warmUp().map(answer -> new Asked<>(region, answer)),
                    regions.size()))
        .collectList()
        // Answers that come while they are asked for are collected by the subscriber's thread.
        .publishOn(Schedulers.boundedElastic())
        .onErrorMap(
            RejectedExecutionException.class,
            e -> KmsErrors.overloaded(this.toString(), "warmUp()", e))
        .flatMap(
            asked ->
                enough(asked, "too few regions are ready")
                    .doOnNext(ready -> warnOfOthers(asked, "is not ready"))
                    .then());
  }

  @Override
  public Mono<byte[]> encryptKey(Secret systemKey) {
    Objects.requireNonNull(systemKey, "systemKey");
    return Mono.defer(
        () -> {
          Map<KmsRegion, Mono<KmsClient.Ready>> prepared =
              regions.stream().collect(Collectors.toMap(Function.identity(), KmsRegion::prepare));
          return cipher.ready().then(wrap(systemKey, prepared, 0, RegionFailures.none()));
        });
  }

  /** Has a region make the data key, or the next one where it cannot. */
  private Mono<byte[]> wrap(
      Secret systemKey,
      Map<KmsRegion, Mono<KmsClient.Ready>> prepared,
      int index,
      RegionFailures failures) {
    if (index == regions.size()) {
      return Mono.error(() -> failures.toException("no region could make a data key"));
    }
    KmsRegion region = regions.get(index);
    return Mono.using(
            DataKey::new,
            dataKey ->
                region
                    .generateDataKey(
                        Objects.requireNonNull(prepared.get(region)),
                        dataKey,
                        index == regions.size() - 1)
                    .flatMap(
                        generated ->
                            generated.isFailure()
                                ? Mono.just(generated)
                                : wrap(systemKey, prepared, dataKey, region, generated, failures)
                                    .map(Answer::of)),
            DataKey::close)
        .flatMap(
            answer -> {
              if (!answer.isFailure()) {
                return Mono.just(answer.value());
              }
              if (answer.isCancelled()) {
                return Mono.empty();
              }
              failed(region, answer.failure(), "could not make a data key");
              return wrap(systemKey, prepared, index + 1, failures.and(region, answer.failure()));
            });
  }

  /** Has the other regions wrap the data key, and seals the system key under it. */
  private Mono<byte[]> wrap(
      Secret systemKey,
      Map<KmsRegion, Mono<KmsClient.Ready>> prepared,
      DataKey dataKey,
      KmsRegion maker,
      Answer<byte[]> made,
      RegionFailures failures) {
    return Flux.fromIterable(regions)
        .flatMapSequential(
            region -> {
              if (region == maker) {
                return Mono.just(new Asked<>(region, made));
              }
              KmsException late = failures.timeoutOf(region).orElse(null);
              return late != null
                  ? Mono.just(new Asked<>(region, Answer.<byte[]>failed(late), true))
                  : region
                      .encrypt(Objects.requireNonNull(prepared.get(region)), dataKey)
                      .map(answer -> new Asked<>(region, answer));
            },
            regions.size())
        .collectList()
        .flatMap(
            asked ->
                enough(asked, "too few regions have wrapped the data key")
                    .flatMap(
                        wrapped -> {
                          warnOfOthers(asked, "will not be able to open the new system key");
                          return seal(systemKey, dataKey, wrapped);
                        }));
  }

  private Mono<byte[]> seal(Secret systemKey, DataKey dataKey, List<Asked<byte[]>> wrapped) {
    List<Kek> keks =
        wrapped.stream()
            .map(asked -> new Kek(asked.region.name, asked.region.keyArn, asked.answer.value()))
            .toList();
    // Empty where the subscriber has cancelled, and is not there to miss it.
    Mono<byte[]> sealed =
        systemKey.withBytes(key -> dataKey.use(wrapping -> cipher.seal(wrapping, key)));
    return sealed.map(encryptedKey -> new KeyEnvelope(encryptedKey, keks).toJson());
  }

  @Override
  public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
    Objects.requireNonNull(encryptedKey, "encryptedKey");
    return Mono.defer(
        () -> {
          KeyEnvelope envelope = KeyEnvelope.fromJson(encryptedKey);
          List<Way> ways = ways(envelope);
          if (ways.isEmpty()) {
            return Mono.error(noWay(envelope));
          }
          return cipher
              .ready()
              .then(open(envelope, ways, 0, RegionFailures.none()))
              .doOnDiscard(CryptoKey.class, CryptoKey::close);
        });
  }

  private Mono<CryptoKey> open(
      KeyEnvelope envelope, List<Way> ways, int index, RegionFailures failures) {
    if (index == ways.size()) {
      return Mono.error(() -> failures.toException("no region could open the system key"));
    }
    Way way = ways.get(index);
    return Mono.using(
            DataKey::new,
            dataKey ->
                way.region
                    .decrypt(dataKey, way.kek.encryptedKek(), way.keyId, index == ways.size() - 1)
                    .map(answer -> answer.flatMap(any -> open(envelope, way, dataKey))),
            DataKey::close)
        .flatMap(
            answer -> {
              if (!answer.isFailure()) {
                return Mono.just(answer.value());
              }
              if (answer.isCancelled()) {
                return Mono.empty();
              }
              failed(way.region, answer.failure(), "could not open a system key");
              return open(envelope, ways, index + 1, failures.and(way.region, answer.failure()));
            });
  }

  private Answer<CryptoKey> open(KeyEnvelope envelope, Way way, DataKey dataKey) {
    try {
      CryptoKey key = dataKey.use(wrapping -> cipher.open(wrapping, envelope.encryptedKey()));
      return key == null ? Answer.cancelled() : Answer.of(key);
    } catch (InvalidRecordException e) {
      throw new KmsException(
          Kind.INVALID_CIPHERTEXT,
          "the data key that %s unwrapped does not open the system key: %s"
              .formatted(way.region.name, e.getMessage()),
          null);
    }
  }

  /**
   * What can be asked to open an envelope, in the order of the regions. Each region once for each
   * key: nobody writes more, but a record that was planted could have many calls made.
   */
  private List<Way> ways(KeyEnvelope envelope) {
    Map<List<String>, Way> ways = new LinkedHashMap<>();
    for (KmsRegion region : openers) {
      for (Kek kek : envelope.keks()) {
        if (kek.region().equalsIgnoreCase(region.name) && isAccepted(region, kek)) {
          String keyId = acceptsAnyKeyArn ? null : kek.arn();
          ways.putIfAbsent(
              List.of(region.name, String.valueOf(keyId)), new Way(region, kek, keyId));
        }
      }
    }
    return List.copyOf(ways.values());
  }

  private boolean isAccepted(KmsRegion region, Kek kek) {
    // One that only opens has no key of its own.
    return acceptsAnyKeyArn
        || regions.contains(region) && kek.arn().equals(region.keyArn)
        || previousKeyArns.contains(kek.arn());
  }

  private KmsException noWay(KeyEnvelope envelope) {
    List<String> named =
        envelope.keks().stream()
            .map(kek -> "%s in %s".formatted(printable(kek.arn()), printable(kek.region())))
            .limit(Builder.MOST_NAMED)
            .toList();
    return new KmsException(
        Kind.INVALID_CIPHERTEXT,
        ("the record of the system key names master keys that are not configured: %s. If one of them"
                + " was this service's key, add it to previousKeyArns; if its region is missing, add"
                + " the region. Otherwise somebody may have planted the record")
            .formatted(named),
        null);
  }

  /** What a record says is printed only where it looks like what it should be. */
  private static String printable(String text) {
    return Builder.PRINTABLE.matcher(text).matches() ? text : "****";
  }

  // Regions.

  /**
   * The regions that have answered, or an error where they are too few. Empty where the subscriber
   * has cancelled.
   */
  private <T> Mono<List<Asked<T>>> enough(List<Asked<T>> asked, String what) {
    if (asked.stream().anyMatch(one -> one.answer.isCancelled())) {
      return Mono.empty();
    }
    List<Asked<T>> answered = asked.stream().filter(one -> !one.answer.isFailure()).toList();
    if (answered.size() >= minimumRegions) {
      return Mono.just(answered);
    }
    RegionFailures all = RegionFailures.none();
    for (Asked<T> one : asked) {
      if (one.answer.isFailure()) {
        count(one);
        all = all.and(one.region, one.answer.failure());
      }
    }
    return Mono.error(
        all.toException(
            "%s: %d of %d, and minimumRegions is %d"
                .formatted(what, answered.size(), asked.size(), minimumRegions)));
  }

  private <T> void warnOfOthers(List<Asked<T>> asked, String what) {
    for (Asked<T> one : asked) {
      if (one.answer.isFailure()) {
        count(one);
        warn(one.region, one.answer.failure(), what);
      }
    }
  }

  private void failed(KmsRegion region, KmsException failure, String what) {
    count(region, failure);
    warn(region, failure, what);
  }

  private static void warn(KmsRegion region, KmsException failure, String what) {
    log.warn("{} {}: {} ({})", region.name, what, failure.getMessage(), failure.kind());
  }

  private void count(Asked<?> asked) {
    if (!asked.isCounted) {
      count(asked.region, asked.answer.failure());
    }
  }

  private void count(KmsRegion region, KmsException failure) {
    try {
      recorder.kmsRegionFailed(name(), region.name, failure.kind());
    } catch (Throwable e) {
      if (isRecorderReported.compareAndSet(false, true)) {
        log.warn("The metrics recorder throws; that is its fault, and reported once", e);
      }
    }
  }

  /** A region and its answer, which may be a failure that was counted before. */
  private record Asked<T>(KmsRegion region, Answer<T> answer, boolean isCounted) {
    Asked(KmsRegion region, Answer<T> answer) {
      this(region, answer, false);
    }
  }

  /** A region, what it has to unwrap, and the key that must have wrapped it. */
  private record Way(KmsRegion region, Kek kek, @Nullable String keyId) {}

  /**
   * Closes the clients that were built here, and the profile's credentials; calls under way fail,
   * and so do later ones. Clients of {@link Builder#clientFactory} stay open.
   *
   * @return completes on {@link Schedulers#boundedElastic()} when they are closed, which may take
   *     seconds; a second subscription does no harm. Whoever cancels stops waiting, and they are
   *     closed nevertheless
   */
  public Mono<Void> close() {
    return Flux.fromIterable(openers)
        .flatMapDelayError(KmsRegion::close, openers.size(), openers.size())
        .then();
  }

  /** Returns {@code aws}. */
  @Override
  public String name() {
    return "aws";
  }

  /** Names the regions, in their order. */
  @Override
  public String toString() {
    return "AwsKeyManagementService" + regions.stream().map(region -> region.name).toList();
  }

  /** Collects options. Not safe for use by many threads. */
  public static final class Builder {
    private static final Pattern REGION = Pattern.compile("[a-z0-9]+(-[a-z0-9]+){1,7}");
    private static final Pattern ARN =
        Pattern.compile("arn:aws[a-z-]*:kms:([^:\\s]+):[^:\\s]+:(?:key|alias)/\\S+");
    private static final Pattern PRINTABLE = Pattern.compile("[A-Za-z0-9:/_-]{1,256}");
    private static final int MOST_NAMED = 10;
    private static final Duration MAX_TIMEOUT = Duration.ofDays(1);

    private final Map<String, String> keyArns = new LinkedHashMap<>();
    private final Set<String> previousKeyArns = new LinkedHashSet<>();
    private @Nullable String preferredRegion;
    private int minimumRegions = 1;
    private Duration regionTimeout = Duration.ofMillis(1_500);
    private boolean acceptsAnyKeyArn;
    private MetricsRecorder recorder = MetricsRecorder.NONE;
    private @Nullable Function<String, KmsAsyncClient> clientFactory;
    private @Nullable AwsCredentialsProvider credentialsProvider;
    private @Nullable String profile;
    private @Nullable BiConsumer<String, KmsAsyncClientBuilder> clientCustomizer;

    private Builder() {}

    /**
     * Adds a region and its master key. The first is the preferred one, unless {@link
     * #preferredRegion} names another; the order decides who is asked when. A map of them is added
     * with {@code map.forEach(builder::region)}, in the order of the map.
     *
     * @param region the region, for instance {@code us-west-2}
     * @param keyArn the master key, best by its ARN: of a symmetric key, for encryption. An id, an
     *     alias or the ARN of an alias is sent and written as it is; see {@link #acceptAnyKeyArn}
     * @return this builder
     * @throws IllegalArgumentException if the region is none or was added before, or the ARN is
     *     empty or of another region
     */
    public Builder region(String region, String keyArn) {
      if (!REGION.matcher(Objects.requireNonNull(region, "region")).matches()) {
        throw new IllegalArgumentException(
            "region must be the name of a region in lower case, like us-west-2, was " + region);
      }
      requireArn(Objects.requireNonNull(keyArn, "keyArn"));
      if (!regionOf(keyArn).orElse(region).equals(region)) {
        throw new IllegalArgumentException(
            "the key of %s is in another region, and KMS would not find it: %s"
                .formatted(region, keyArn));
      }
      if (keyArns.putIfAbsent(region, keyArn) != null) {
        throw new IllegalArgumentException("region %s was added before".formatted(region));
      }
      return this;
    }

    /**
     * The region that is asked first.
     *
     * @param region one that is added with {@link #region}; by default the first of them
     * @return this builder
     */
    public Builder preferredRegion(String region) {
      this.preferredRegion = Objects.requireNonNull(region, "region");
      return this;
    }

    /**
     * In how many regions a new system key must have been wrapped; where fewer have done it, that
     * is an error, and no key is made. With 1 an outage of regions never stops the service, and
     * leaves keys that only the other regions can open.
     *
     * @param minimumRegions 1 to the number of regions; default 1
     * @return this builder
     */
    public Builder minimumRegions(int minimumRegions) {
      if (minimumRegions < 1) {
        throw new IllegalArgumentException("minimumRegions must be positive");
      }
      this.minimumRegions = minimumRegions;
      return this;
    }

    /**
     * How long a call to one region may take. Before it, as long again is waited until its client
     * is built and has credentials, or ten seconds where no other region is left. Regions are asked
     * one after the other, so a session factory's {@code callTimeout} (5 seconds by default) must
     * have room for as many as are to be tried.
     *
     * @param regionTimeout positive, at most one day; default 1.5 seconds
     * @return this builder
     * @throws IllegalArgumentException if it is anything else
     */
    public Builder regionTimeout(Duration regionTimeout) {
      if (regionTimeout.isNegative()
          || regionTimeout.isZero()
          || regionTimeout.compareTo(MAX_TIMEOUT) > 0) {
        throw new IllegalArgumentException(
            "regionTimeout must be positive and at most one day, was " + regionTimeout);
      }
      this.regionTimeout = regionTimeout;
      return this;
    }

    /**
     * Master keys, other than those of the regions, under which system keys were wrapped that must
     * still be opened. An ARN of a region that has no {@link #region} adds it for opening only,
     * behind the others.
     *
     * @param previousKeyArns as the records name them; added to those that were given before
     * @return this builder
     * @throws IllegalArgumentException if one is empty, or an ARN without a region
     */
    public Builder previousKeyArns(Collection<String> previousKeyArns) {
      for (String keyArn : previousKeyArns) {
        requireArn(keyArn);
        if (!regionOf(keyArn).map(region -> REGION.matcher(region).matches()).orElse(true)) {
          throw new IllegalArgumentException("there is no region in the ARN " + keyArn);
        }
      }
      this.previousKeyArns.addAll(previousKeyArns);
      return this;
    }

    /**
     * Opens system keys whatever master key their record names, as canonical Java does: KMS is not
     * told which key must have wrapped them. For aliases that other implementations resolve when
     * they write, or that were moved to another key. <b>Whoever can write to the metastore can then
     * plant a system key that is wrapped under a key of his own</b>, if the policies let this
     * service use that key, and read what is sealed under it from then on.
     *
     * @return this builder
     */
    public Builder acceptAnyKeyArn() {
      this.acceptsAnyKeyArn = true;
      return this;
    }

    /**
     * Is told which regions fail. Usually the same recorder as that of the session factory.
     *
     * @param metricsRecorder told with {@link MetricsRecorder#kmsRegionFailed}; default {@link
     *     MetricsRecorder#NONE}
     * @return this builder
     */
    public Builder metricsRecorder(MetricsRecorder metricsRecorder) {
      this.recorder = Objects.requireNonNull(metricsRecorder, "metricsRecorder");
      return this;
    }

    /**
     * Uses clients of the application, which are never closed here. Best they make one attempt for
     * each call, since a session factory makes the call again by itself.
     *
     * @param clientFactory given the name of a region, returns its client; called once for each
     *     region, when it is used first, on {@link Schedulers#boundedElastic()}. Not together with
     *     the options for clients that are built here
     * @return this builder
     */
    public Builder clientFactory(Function<String, KmsAsyncClient> clientFactory) {
      this.clientFactory = Objects.requireNonNull(clientFactory, "clientFactory");
      return this;
    }

    /**
     * Where clients that are built here get their credentials from.
     *
     * @param credentialsProvider stays its owner's; by default the SDK looks for them
     * @return this builder
     */
    public Builder credentialsProvider(AwsCredentialsProvider credentialsProvider) {
      this.credentialsProvider = Objects.requireNonNull(credentialsProvider, "credentialsProvider");
      return this;
    }

    /**
     * The profile of the shared configuration files that has the credentials.
     *
     * @param profile the name of the profile
     * @return this builder
     * @throws IllegalArgumentException if it is blank
     */
    public Builder profile(String profile) {
      if (profile.isBlank()) {
        throw new IllegalArgumentException("profile must not be blank");
      }
      this.profile = profile;
      return this;
    }

    /**
     * Changes how clients are built: endpoint, HTTP client, proxy.
     *
     * @param clientCustomizer given the name of a region and a builder on which everything else is
     *     set: the region, the credentials, a single attempt; called once for each region, when it
     *     is used first, on {@link Schedulers#boundedElastic()}
     * @return this builder
     */
    public Builder clientCustomizer(BiConsumer<String, KmsAsyncClientBuilder> clientCustomizer) {
      this.clientCustomizer = Objects.requireNonNull(clientCustomizer, "clientCustomizer");
      return this;
    }

    /**
     * Makes the service. Reads no file and calls nobody yet.
     *
     * @return a service
     * @throws IllegalArgumentException if there is no region, the preferred one is not among them,
     *     or there are fewer than {@code minimumRegions}
     * @throws IllegalStateException if options were given that exclude each other
     */
    public AwsKeyManagementService build() {
      if (keyArns.isEmpty()) {
        throw new IllegalArgumentException("at least one region is needed: add it with region()");
      }
      if (minimumRegions > keyArns.size()) {
        throw new IllegalArgumentException(
            "minimumRegions is %d, and there are %d regions"
                .formatted(minimumRegions, keyArns.size()));
      }
      requireOneSource();
      List<String> order = new ArrayList<>(keyArns.keySet());
      if (preferredRegion != null) {
        if (!order.remove(preferredRegion)) {
          throw new IllegalArgumentException(
              "preferredRegion %s is not among the regions %s"
                  .formatted(preferredRegion, keyArns.keySet()));
        }
        order.add(0, preferredRegion);
      }
      return new AwsKeyManagementService(this, order);
    }

    private void requireOneSource() {
      if (clientFactory != null
          && (credentialsProvider != null || profile != null || clientCustomizer != null)) {
        throw new IllegalStateException(
            "clientFactory makes the clients, so credentialsProvider, profile and clientCustomizer"
                + " have no effect: use one or the others");
      }
      if (credentialsProvider != null && profile != null) {
        throw new IllegalStateException(
            "credentialsProvider and profile are two sources of credentials: use one");
      }
    }

    private KmsRegion newRegion(String region) {
      KmsClient client =
          clientFactory == null
              ? KmsClient.built(region, credentialsProvider, profile, clientCustomizer)
              : KmsClient.ofUser(region, clientFactory);
      return new KmsRegion(region, keyArns.getOrDefault(region, ""), client, regionTimeout);
    }

    /** Where a key is, if its name says so. */
    private static Optional<String> regionOf(String keyArn) {
      Matcher arn = ARN.matcher(keyArn);
      return arn.matches() ? Optional.of(arn.group(1)) : Optional.empty();
    }

    private static void requireArn(String keyArn) {
      if (keyArn.isEmpty() || keyArn.chars().anyMatch(Character::isWhitespace)) {
        throw new IllegalArgumentException(
            "the ARN of a master key must not be empty, nor have white space in it, was '%s'"
                .formatted(keyArn));
      }
      if (keyArn.startsWith("arn:") && !ARN.matcher(keyArn).matches()) {
        throw new IllegalArgumentException(
            ("the ARN of a master key must be like arn:aws:kms:us-west-2:111122223333:key/… or"
                    + " …:alias/…, was %s")
                .formatted(keyArn));
      }
    }
  }
}
