package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.FactoryClosedException;
import io.asherah.reactive.KeyClosedException;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.MetadataMissingException;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.OverloadedException;
import io.asherah.reactive.internal.crypto.Aes256Gcm;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryException;
import io.asherah.reactive.securememory.SecureMemoryOverloadedException;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.Metastore;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.BiFunction;
import java.util.function.BooleanSupplier;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.util.retry.Retry;

/**
 * Finds, makes and caches the keys of one session factory.
 *
 * <p><b>For writing</b> a key is used if it and the system key that wraps it are neither revoked
 * nor expired and were both read less than the revoke check period ago. Otherwise its record is
 * read again, and only where no valid one exists a new key is made. A failed read is an error,
 * never a reason to make a key. <b>For reading</b> whatever key the record names is used, whatever
 * its age.
 *
 * <p>Age is measured on a monotonic ticker from the moment the read was sent; the wall clock
 * decides about expiry and creation times only.
 *
 * <p>Plaintext keys are on the heap inside single synchronous steps only: an intermediate key is
 * made, sealed and wiped in one step, stored, and then opened from its record like any other.
 */
public final class KeyHierarchy {
  private static final String SYSTEM_RING = "system";
  private static final long MAX_SYSTEM_KEYS = 100;

  /**
   * How often a key that is closed under an operation is looked up again before it is not cached.
   */
  private static final int CACHED_ATTEMPTS = 3;

  /**
   * Many keys that are loaded at the same moment wait for their turn in locked memory, for about
   * five seconds at most. What is tried again starts from the sealed key: the plaintext does not
   * wait.
   */
  private static final Retry WAIT_FOR_ROOM =
      Retry.backoff(100, Duration.ofMillis(1))
          .maxBackoff(Duration.ofMillis(50))
          .filter(OverloadedException.class::isInstance)
          .onRetryExhaustedThrow((attempts, last) -> last.failure());

  // Which parts of the time-out loads have, from those that wait for others to those they wait for.
  private static final double KEY_PATIENCE = 2;
  private static final double RECORD_PATIENCE = 1;
  private static final double LATEST_SYSTEM_KEY_PATIENCE = 0.9;
  private static final double SYSTEM_KEY_PATIENCE = 0.8;

  private static final long FARTHEST_SECOND = 1_000_000_000_000_000L;

  private final Metastore metastore;
  private final KeyManagementService kms;
  private final SecretFactory secrets;
  private final Aes256Gcm aead;
  private final Clock clock;
  private final LongSupplier ticker;
  private final Scheduler continuation;
  private final OperationGate gate;
  private final KeyCache systemKeys;
  private final KeyCache intermediateKeys;
  private final SharedLoads loads;
  private final long revokeCheckNanos;
  private final long expiryMillis;

  /** Starts with empty caches. */
  public KeyHierarchy(
      Metastore metastore,
      KeyManagementService kms,
      SecretFactory secrets,
      Aes256Gcm aead,
      CryptoPolicy policy,
      Clock clock,
      LongSupplier ticker,
      Scheduler continuation,
      Duration loadTimeout,
      OperationGate gate) {
    this.metastore = metastore;
    this.kms = kms;
    this.secrets = secrets;
    this.aead = aead;
    this.clock = clock;
    this.ticker = ticker;
    this.continuation = continuation;
    this.gate = gate;
    this.systemKeys = cache(MAX_SYSTEM_KEYS, policy);
    this.intermediateKeys = cache(policy.maxCachedIntermediateKeys(), policy);
    this.loads = new SharedLoads(secrets.scheduler(), continuation, loadTimeout);
    this.revokeCheckNanos = policy.revokeCheckPeriod().toNanos();
    this.expiryMillis = policy.keyExpiry().toMillis();
  }

  private KeyCache cache(long maxKeys, CryptoPolicy policy) {
    Scheduler maintenance = secrets.scheduler();
    return new KeyCache(maxKeys, policy.partitionIdleTime(), ticker, maintenance::schedule);
  }

  // What sessions ask for.

  /** Applies a function to the key that new data of the partition is sealed under. */
  public <R> Mono<R> withKeyForWriting(Partition partition, BiFunction<KeyMeta, byte[], R> use) {
    return Mono.defer(
            () -> {
              CachedKey key = usableIntermediateKey(partition);
              return key == null
                  ? loadAndWrite(partition, use, 1)
                  : key.withBytes(bytes -> use.apply(key.meta(), bytes))
                      .onErrorResume(
                          SecretClosedException.class, e -> loadAndWrite(partition, use, 1));
            })
        .onErrorMap(this::asSignalled);
  }

  private <R> Mono<R> loadAndWrite(
      Partition partition, BiFunction<KeyMeta, byte[], R> use, int attempt) {
    if (attempt > CACHED_ATTEMPTS) {
      return recordForWriting(partition).flatMap(found -> useOnce(found, use));
    }
    return intermediateKeyForWriting(partition)
        .flatMap(
            key ->
                // A read that was answered very late says nothing about this moment.
                areUsable(key, key.parent())
                    ? key.withBytes(bytes -> use.apply(key.meta(), bytes))
                    : loadAndWrite(partition, use, attempt + 1))
        .onErrorResume(SecretClosedException.class, e -> loadAndWrite(partition, use, attempt + 1));
  }

  /**
   * Applies a function to the key of that name, which a record of the partition was sealed under.
   */
  public <R> Mono<R> withKeyForReading(
      Partition partition, KeyMeta meta, BiFunction<KeyMeta, byte[], R> use) {
    return Mono.defer(
            () -> {
              CachedKey key = intermediateKeys.get(partition.ringName(), meta);
              return key == null
                  ? loadAndRead(partition, meta, use, 1)
                  : key.withBytes(bytes -> use.apply(meta, bytes))
                      .onErrorResume(
                          SecretClosedException.class, e -> loadAndRead(partition, meta, use, 1));
            })
        .onErrorMap(this::asSignalled);
  }

  private <R> Mono<R> loadAndRead(
      Partition partition, KeyMeta meta, BiFunction<KeyMeta, byte[], R> use, int attempt) {
    if (attempt > CACHED_ATTEMPTS) {
      return recordForReading(partition, meta).flatMap(found -> useOnce(found, use));
    }
    return intermediateKeyForReading(partition, meta)
        .flatMap(key -> key.withBytes(bytes -> use.apply(meta, bytes)))
        .onErrorResume(
            SecretClosedException.class, e -> loadAndRead(partition, meta, use, attempt + 1));
  }

  /**
   * Opens a key and uses it in the same step, without caching it. With more partitions at work than
   * the cache holds, a key may be evicted again and again between its load and its use.
   */
  private <R> Mono<R> useOnce(FoundKey found, BiFunction<KeyMeta, byte[], R> use) {
    return found
        .parent()
        .withBytes(
            parentKey -> {
              byte[] key = open(found, parentKey);
              try {
                return use.apply(found.meta(), key);
              } finally {
                Arrays.fill(key, (byte) 0);
              }
            });
  }

  /** Wipes the cached keys of a partition, and keeps loads under way from being cached. */
  public Mono<Void> forget(Partition partition) {
    return Mono.<Void>fromRunnable(
            () -> {
              loads.forget(partition.ringName());
              intermediateKeys.forget(partition.ringName());
            })
        .subscribeOn(secrets.scheduler())
        .onErrorMap(this::asSignalled);
  }

  /** Wipes all cached keys; nothing is cached from now on. */
  public Mono<Void> close() {
    return Mono.<Void>fromRunnable(
            () -> {
              loads.close();
              intermediateKeys.close();
              systemKeys.close();
            })
        .subscribeOn(secrets.scheduler());
  }

  /** How many intermediate keys are cached. */
  public long cachedIntermediateKeys() {
    return intermediateKeys.size();
  }

  /** How many system keys are cached. */
  public long cachedSystemKeys() {
    return systemKeys.size();
  }

  // Intermediate keys.

  /**
   * A key as its record has it, still sealed, with the key that opens it.
   *
   * @param readAt when the read of the record was sent, on the ticker
   */
  private record FoundKey(
      KeyMeta meta, byte[] encryptedKey, boolean revoked, long readAt, CachedKey parent) {}

  private @Nullable CachedKey usableIntermediateKey(Partition partition) {
    CachedKey key = intermediateKeys.latest(partition.ringName());
    return key != null && areUsable(key, key.parent()) ? key : null;
  }

  private boolean areUsable(CachedKey key, @Nullable CachedKey parent) {
    return parent != null && isUsable(key) && isUsable(parent);
  }

  private Mono<CachedKey> intermediateKeyForWriting(Partition partition) {
    String ring = partition.ringName();
    return loads.join(
        new SharedLoads.Id<>(CachedKey.class, ring, null, KEY_PATIENCE),
        () -> usableIntermediateKey(partition),
        forgotten ->
            recordForWriting(partition)
                .flatMap(found -> cacheIntermediateKey(ring, found, forgotten))
                .publishOn(secrets.scheduler())
                .doOnNext(
                    key -> {
                      if (!forgotten.getAsBoolean()) {
                        intermediateKeys.pointLatest(ring, key);
                      }
                    }));
  }

  private Mono<CachedKey> intermediateKeyForReading(Partition partition, KeyMeta meta) {
    String ring = partition.ringName();
    return loads.join(
        new SharedLoads.Id<>(CachedKey.class, ring, meta, KEY_PATIENCE),
        () -> intermediateKeys.get(ring, meta),
        forgotten ->
            recordForReading(partition, meta).flatMap(found -> protect(ring, found, forgotten)));
  }

  private Mono<CachedKey> cacheIntermediateKey(
      String ring, FoundKey found, BooleanSupplier forgotten) {
    return loads
        .join(
            new SharedLoads.Id<>(CachedKey.class, ring, found.meta(), KEY_PATIENCE),
            () -> intermediateKeys.get(ring, found.meta()),
            // This load may have started after the ring was forgotten, on behalf of one before it.
            meanwhile ->
                protect(ring, found, () -> forgotten.getAsBoolean() || meanwhile.getAsBoolean()))
        .doOnNext(key -> key.checked(found.revoked(), found.readAt(), found.parent()));
  }

  // The record is a load of its own, so that it is shared too by those who use the key only once.

  private Mono<FoundKey> recordForReading(Partition partition, KeyMeta meta) {
    return loads.join(
        new SharedLoads.Id<>(FoundKey.class, partition.ringName(), meta, RECORD_PATIENCE),
        () -> null,
        forgotten -> findIntermediateKey(meta));
  }

  private Mono<FoundKey> recordForWriting(Partition partition) {
    return loads.join(
        new SharedLoads.Id<>(FoundKey.class, partition.ringName(), null, RECORD_PATIENCE),
        () -> null,
        forgotten -> findOrMakeIntermediateKey(partition));
  }

  private Mono<FoundKey> findIntermediateKey(KeyMeta meta) {
    return aead.ready()
        .then(
            Mono.defer(
                () -> {
                  long readAt = ticker.getAsLong();
                  return load(meta)
                      .switchIfEmpty(
                          Mono.error(
                              () ->
                                  new MetadataMissingException(
                                      "the metastore has no intermediate key created at %s for this"
                                              .formatted(meta.created())
                                          + " partition; it was deleted, or the record comes from"
                                          + " another metastore",
                                      meta)))
                      .flatMap(
                          record ->
                              systemKeyForReading(parentOf(meta, record))
                                  .map(parent -> found(meta, record, readAt, parent)));
                }));
  }

  private Mono<FoundKey> findOrMakeIntermediateKey(Partition partition) {
    return aead.ready()
        .then(usableRecord(partition.intermediateKeyId()))
        .switchIfEmpty(Mono.defer(() -> makeIntermediateKey(partition, roundedNow(), true)));
  }

  /** Emits the latest key if it and its system key may be used for writing. */
  private Mono<FoundKey> usableRecord(String id) {
    return Mono.defer(
        () -> {
          long readAt = ticker.getAsLong();
          return loadLatest(id)
              .filter(this::isValid)
              .flatMap(
                  record -> {
                    KeyMeta meta = new KeyMeta(id, record.created());
                    return systemKeyForWriting(parentOf(meta, record))
                        .map(parent -> found(meta, record, readAt, parent));
                  });
        });
  }

  private Mono<FoundKey> makeIntermediateKey(
      Partition partition, Instant created, boolean mayRetry) {
    String id = partition.intermediateKeyId();
    return latestSystemKey(partition)
        .flatMap(
            parent ->
                parent
                    .withBytes(aead::sealNewKey)
                    .map(key -> new EnvelopeKeyRecord(created, key, parent.meta(), false))
                    .flatMap(
                        record -> {
                          long storedAt = ticker.getAsLong();
                          return store(id, record)
                              .flatMap(
                                  stored ->
                                      stored
                                          ? Mono.just(
                                              found(
                                                  new KeyMeta(id, created),
                                                  record,
                                                  storedAt,
                                                  parent))
                                          : winningIntermediateKey(partition, mayRetry));
                        }));
  }

  private Mono<FoundKey> winningIntermediateKey(Partition partition, boolean mayRetry) {
    return usableRecord(partition.intermediateKeyId())
        .switchIfEmpty(
            Mono.defer(
                () ->
                    // The key that took our place may not be used: it was revoked in the minute it
                    // was made. Any whole second is a legal creation time, and sorts later.
                    mayRetry
                        ? makeIntermediateKey(partition, now(), false)
                        : Mono.error(noPlaceFor("an intermediate key"))));
  }

  private static FoundKey found(
      KeyMeta meta, EnvelopeKeyRecord record, long readAt, CachedKey parent) {
    return new FoundKey(meta, record.encryptedKey(), record.isRevoked(), readAt, parent);
  }

  private static KeyMeta parentOf(KeyMeta meta, EnvelopeKeyRecord record) {
    return record
        .parentKeyMeta()
        .orElseThrow(
            () ->
                new MetadataMissingException(
                    "the record of the intermediate key created at %s does not name its system key"
                        .formatted(meta.created()),
                    meta));
  }

  /** Opens the key into locked memory and gives it to the cache. */
  private Mono<CachedKey> protect(String ring, FoundKey found, BooleanSupplier forgotten) {
    return found
        .parent()
        .withBytes(parentKey -> open(found, parentKey))
        .flatMap(this::secretOf)
        .retryWhen(WAIT_FOR_ROOM)
        .publishOn(secrets.scheduler())
        .map(
            secret ->
                intermediateKeys.add(
                    ring,
                    new CachedKey(
                        found.meta(), secret, found.revoked(), found.readAt(), found.parent()),
                    forgotten));
  }

  private byte[] open(FoundKey found, byte[] parentKey) {
    return aead.openKey(
        parentKey, found.encryptedKey(), "intermediate key created at " + found.meta().created());
  }

  // System keys.

  private Mono<CachedKey> systemKeyForReading(KeyMeta meta) {
    return Mono.defer(
            () -> {
              CachedKey cached = systemKeys.get(SYSTEM_RING, meta);
              return cached == null ? loadSystemKey(meta) : Mono.just(cached);
            })
        .switchIfEmpty(
            Mono.error(
                () ->
                    new MetadataMissingException(
                        "the metastore has no system key %s created at %s"
                            .formatted(meta.id(), meta.created()),
                        meta)));
  }

  /** Completes empty where the key does not exist or may not be used for writing. */
  private Mono<CachedKey> systemKeyForWriting(KeyMeta meta) {
    return Mono.defer(
            () -> {
              CachedKey cached = systemKeys.get(SYSTEM_RING, meta);
              return cached != null && (isFresh(cached) || !isValid(cached))
                  ? Mono.just(cached)
                  : loadSystemKey(meta);
            })
        .filter(this::isValid);
  }

  /** Reads the record, also of a cached key that is not fresh: then only to learn its state. */
  private Mono<CachedKey> loadSystemKey(KeyMeta meta) {
    return loads.join(
        new SharedLoads.Id<>(CachedKey.class, SYSTEM_RING, meta, SYSTEM_KEY_PATIENCE),
        () -> {
          CachedKey cached = systemKeys.get(SYSTEM_RING, meta);
          return cached != null && isFresh(cached) ? cached : null;
        },
        forgotten ->
            Mono.defer(
                () -> {
                  long readAt = ticker.getAsLong();
                  return load(meta)
                      .flatMap(record -> unwrapUnlessCached(meta, record, readAt, forgotten));
                }));
  }

  private Mono<CachedKey> unwrapUnlessCached(
      KeyMeta meta, EnvelopeKeyRecord record, long readAt, BooleanSupplier forgotten) {
    CachedKey cached = systemKeys.get(SYSTEM_RING, meta);
    if (cached != null) {
      cached.checked(record.isRevoked(), readAt, null);
      return Mono.just(cached);
    }
    return unwrap(record)
        .flatMap(this::secretOf)
        .flatMap(secret -> addSystemKey(meta, secret, record.isRevoked(), readAt, forgotten));
  }

  private Mono<CachedKey> addSystemKey(
      KeyMeta meta, Secret secret, boolean revoked, long readAt, BooleanSupplier forgotten) {
    return Mono.fromSupplier(
            () ->
                systemKeys.add(
                    SYSTEM_RING, new CachedKey(meta, secret, revoked, readAt, null), forgotten))
        .subscribeOn(secrets.scheduler());
  }

  private Mono<CachedKey> latestSystemKey(Partition partition) {
    return Mono.defer(
        () -> {
          CachedKey cached = usableSystemKey();
          return cached != null
              ? Mono.just(cached)
              : loads.join(
                  new SharedLoads.Id<>(
                      CachedKey.class, SYSTEM_RING, null, LATEST_SYSTEM_KEY_PATIENCE),
                  this::usableSystemKey,
                  forgotten ->
                      findOrMakeSystemKey(partition.systemKeyId(), forgotten)
                          .publishOn(secrets.scheduler())
                          .doOnNext(key -> systemKeys.pointLatest(SYSTEM_RING, key)));
        });
  }

  private @Nullable CachedKey usableSystemKey() {
    CachedKey key = systemKeys.latest(SYSTEM_RING);
    return key != null && isUsable(key) ? key : null;
  }

  private Mono<CachedKey> findOrMakeSystemKey(String id, BooleanSupplier forgotten) {
    return latestUsableSystemKey(id)
        .switchIfEmpty(Mono.defer(() -> makeSystemKey(id, roundedNow(), true, forgotten)));
  }

  private Mono<CachedKey> latestUsableSystemKey(String id) {
    return Mono.defer(
        () -> {
          long readAt = ticker.getAsLong();
          return loadLatest(id)
              .filter(this::isValid)
              .flatMap(record -> systemKeyOf(id, record, readAt));
        });
  }

  private Mono<CachedKey> systemKeyOf(String id, EnvelopeKeyRecord record, long readAt) {
    KeyMeta meta = new KeyMeta(id, record.created());
    return loads
        .join(
            new SharedLoads.Id<>(CachedKey.class, SYSTEM_RING, meta, SYSTEM_KEY_PATIENCE),
            () -> systemKeys.get(SYSTEM_RING, meta),
            forgotten -> unwrapUnlessCached(meta, record, readAt, forgotten))
        .doOnNext(key -> key.checked(record.isRevoked(), readAt, null))
        // A read that was sent later may have found it revoked in the meantime.
        .filter(this::isValid);
  }

  private Mono<CachedKey> makeSystemKey(
      String id, Instant created, boolean mayRetry, BooleanSupplier forgotten) {
    return Mono.fromSupplier(aead::newKey)
        .flatMap(this::secretOf)
        .retryWhen(WAIT_FOR_ROOM)
        .flatMap(
            secret ->
                wrap(secret)
                    .map(wrapped -> new EnvelopeKeyRecord(created, wrapped, null, false))
                    .flatMap(
                        record -> {
                          long storedAt = ticker.getAsLong();
                          return store(id, record)
                              .flatMap(
                                  stored -> {
                                    if (stored) {
                                      return addSystemKey(
                                          new KeyMeta(id, created),
                                          secret,
                                          false,
                                          storedAt,
                                          forgotten);
                                    }
                                    secret.close();
                                    return winningSystemKey(id, mayRetry, forgotten);
                                  });
                        })
                    .doOnError(e -> secret.close())
                    .doOnCancel(secret::close));
  }

  private Mono<CachedKey> winningSystemKey(String id, boolean mayRetry, BooleanSupplier forgotten) {
    return latestUsableSystemKey(id)
        .switchIfEmpty(
            Mono.defer(
                () ->
                    mayRetry
                        ? makeSystemKey(id, now(), false, forgotten)
                        : Mono.error(noPlaceFor("a system key"))));
  }

  private static AppEncryptionException noPlaceFor(String key) {
    return new AppEncryptionException(
        "the metastore refused %s as a duplicate, and its latest one may not be used for new data;"
                .formatted(key)
            + " try again in a second",
        null,
        true);
  }

  // Validity.

  private boolean isUsable(CachedKey key) {
    return isFresh(key) && isValid(key);
  }

  private boolean isFresh(CachedKey key) {
    return ticker.getAsLong() - key.checkedAt() < revokeCheckNanos;
  }

  private boolean isValid(CachedKey key) {
    return !key.isRevoked() && !isExpired(key.meta().created());
  }

  private boolean isValid(EnvelopeKeyRecord record) {
    return !record.isRevoked() && !isExpired(record.created());
  }

  private boolean isExpired(Instant created) {
    long seconds = Math.max(-FARTHEST_SECOND, Math.min(FARTHEST_SECOND, created.getEpochSecond()));
    return clock.millis() > seconds * 1_000 + expiryMillis;
  }

  private Instant now() {
    return Instant.ofEpochSecond(clock.instant().getEpochSecond());
  }

  private Instant roundedNow() {
    long seconds = now().getEpochSecond();
    return Instant.ofEpochSecond(
        seconds - Math.floorMod(seconds, CryptoPolicy.CREATED_PRECISION.toSeconds()));
  }

  // Calls to the outside. Their results go on on the continuation scheduler, never on a driver's
  // event loop.

  private Mono<EnvelopeKeyRecord> load(KeyMeta meta) {
    return call(() -> metastore.load(meta.id(), meta.created()))
        .onErrorMap(e -> metastoreFailure("load a key", e))
        .publishOn(continuation);
  }

  private Mono<EnvelopeKeyRecord> loadLatest(String id) {
    return call(() -> metastore.loadLatest(id))
        .onErrorMap(e -> metastoreFailure("load the latest key", e))
        .publishOn(continuation);
  }

  private Mono<Boolean> store(String id, EnvelopeKeyRecord record) {
    return call(() -> metastore.store(id, record.created(), record))
        .switchIfEmpty(
            Mono.error(
                () ->
                    new MetastoreException(
                        "the metastore did not say whether it stored a key", null, false)))
        .onErrorMap(e -> metastoreFailure("store a key", e))
        .publishOn(continuation);
  }

  /**
   * Reactor throws what it takes for fatal to the JVM instead of signalling it, for instance that a
   * class of a driver is missing. To the load it is an error like others.
   */
  private static <T> Mono<T> call(Supplier<Mono<T>> backEnd) {
    return Mono.defer(
        () -> {
          try {
            return backEnd.get();
          } catch (Throwable e) {
            return Mono.error(e);
          }
        });
  }

  private static Throwable metastoreFailure(String what, Throwable e) {
    return e instanceof AppEncryptionException
        ? e
        : new MetastoreException("the metastore failed to " + what, e, false);
  }

  private Mono<byte[]> wrap(Secret systemKey) {
    return call(() -> kms.encryptKey(systemKey))
        .switchIfEmpty(Mono.error(() -> noKmsAnswer("wrap")))
        .onErrorMap(e -> kmsFailure("wrap", e))
        .publishOn(continuation);
  }

  /** Emits the plaintext on the thread of the service's client; the next step leaves it at once. */
  private Mono<byte[]> unwrap(EnvelopeKeyRecord record) {
    return call(() -> kms.decryptKey(record.encryptedKey()))
        .switchIfEmpty(Mono.error(() -> noKmsAnswer("unwrap")))
        .map(CryptoKey::take)
        .onErrorMap(e -> kmsFailure("unwrap", e));
  }

  private static KmsException noKmsAnswer(String what) {
    return new KmsException(
        KmsException.Kind.OTHER,
        "the key management service completed without a result when asked to %s a system key"
            .formatted(what),
        null);
  }

  private static Throwable kmsFailure(String what, Throwable e) {
    // The service reads a secret of ours, which close() may have closed.
    return e instanceof AppEncryptionException || e instanceof SecretClosedException
        ? e
        : new KmsException(
            KmsException.Kind.OTHER,
            "the key management service failed to %s a system key".formatted(what),
            e);
  }

  /** Moves a key into locked memory; the array is wiped whatever happens. */
  private Mono<Secret> secretOf(byte[] key) {
    return secrets
        .create(key)
        .onErrorMap(SecureMemoryException.class, this::memoryFailure)
        .doFinally(signal -> Arrays.fill(key, (byte) 0));
  }

  private AppEncryptionException memoryFailure(SecureMemoryException e) {
    if (gate.isClosed()) {
      return new FactoryClosedException();
    }
    String message = String.valueOf(e.getMessage());
    if (e instanceof SecureMemoryOverloadedException) {
      return new OverloadedException(message, e);
    }
    if (e instanceof SecretClosedException) {
      return new KeyClosedException(message, e);
    }
    return new AppEncryptionException(message, e, false);
  }

  /** Whatever went wrong reaches the application as one of the types it can catch. */
  private Throwable asSignalled(Throwable e) {
    if (e instanceof AppEncryptionException) {
      return e;
    }
    if (gate.isClosed()
        && (e instanceof SecretClosedException || e instanceof RejectedExecutionException)) {
      return new FactoryClosedException();
    }
    if (e instanceof SecureMemoryException failure) {
      return memoryFailure(failure);
    }
    if (e instanceof RejectedExecutionException) {
      return new OverloadedException("a scheduler refused work; it may be disposed", e);
    }
    return new AppEncryptionException(
        "an operation failed unexpectedly: " + e.getClass().getName(), e, false);
  }
}
