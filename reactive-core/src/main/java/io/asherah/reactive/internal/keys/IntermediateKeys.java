package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyEvent.Type;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetadataMissingException;
import io.asherah.reactive.internal.crypto.Aes256Gcm;
import io.asherah.reactive.internal.keys.SharedLoads.Id;
import io.asherah.reactive.internal.keys.SharedLoads.Kind;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.spi.MetricsRecorder;
import io.asherah.reactive.spi.MetricsRecorder.Cache;
import io.asherah.reactive.spi.MetricsRecorder.Lookup;
import java.time.Instant;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.BiFunction;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/** The intermediate keys of all partitions, under which data row keys are sealed. */
final class IntermediateKeys {
  /**
   * How often a key that is closed under an operation is looked up again before it is not cached.
   */
  private static final int CACHED_ATTEMPTS = 3;

  // See SharedLoads.Kind for the order.
  private static final Kind<CachedKey> LATEST = new Kind<>(1);
  private static final Kind<CachedKey> RENEWED = new Kind<>(1);
  private static final Kind<CachedKey> READABLE = new Kind<>(1);
  private static final Kind<CachedKey> KEY = new Kind<>(0.95);
  private static final Kind<FoundKey> LATEST_RECORD = new Kind<>(0.9);
  private static final Kind<FoundKey> RENEWED_RECORD = new Kind<>(0.9);
  private static final Kind<FoundKey> RECORD = new Kind<>(0.9);

  private final SystemKeys systemKeys;
  private final BackEnds backEnds;
  private final KeyMemory memory;
  private final Aes256Gcm aead;
  private final KeyRules rules;
  private final SharedLoads loads;
  private final KeyEvents events;
  private final MetricsRecorder recorder;
  private final KeyCache cache;
  private final boolean isCaching;
  private final long maxUses;
  private final Shredded shredded;

  IntermediateKeys(
      SystemKeys systemKeys,
      BackEnds backEnds,
      KeyMemory memory,
      Aes256Gcm aead,
      KeyRules rules,
      SharedLoads loads,
      KeyEvents events,
      MetricsRecorder recorder,
      KeyCache cache,
      boolean isCaching,
      long maxUses,
      Shredded shredded) {
    this.systemKeys = systemKeys;
    this.backEnds = backEnds;
    this.memory = memory;
    this.aead = aead;
    this.rules = rules;
    this.loads = loads;
    this.events = events;
    this.recorder = recorder;
    this.cache = cache;
    this.isCaching = isCaching;
    this.maxUses = maxUses;
    this.shredded = shredded;
  }

  long cached() {
    return cache.size();
  }

  /** Wipes the keys of a partition, and keeps loads under way from being cached. */
  void forget(Partition partition) {
    loads.forget(partition.ringName());
    cache.forget(partition.ringName());
  }

  void close() {
    cache.close();
  }

  /** A key as its record has it, with the system key that opens it. */
  private record FoundKey(SealedKey sealed, CachedKey parent) {
    KeyMeta meta() {
      return sealed.meta();
    }
  }

  // Writing.

  /** Applies a function to the key that new data of the partition is sealed under. */
  <R> Mono<R> withKeyForWriting(Partition partition, BiFunction<KeyMeta, byte[], R> use) {
    if (!isCaching) {
      return Mono.defer(() -> writeOnce(partition, use));
    }
    return Mono.defer(
        () -> {
          long tick = rules.tick();
          CachedKey key = cache.latest(partition.ringName(), tick);
          if (key == null || !admit(partition, key, tick)) {
            recorder.keyLookedUp(Cache.LATEST, key == null ? Lookup.MISS : Lookup.STALE);
            return loadAndWrite(partition, use, 1);
          }
          recorder.keyLookedUp(Cache.LATEST, Lookup.HIT);
          return key.withBytes(bytes -> use.apply(key.meta(), bytes))
              .onErrorResume(SecretClosedException.class, e -> loadAndWrite(partition, use, 1));
        });
  }

  private <R> Mono<R> loadAndWrite(
      Partition partition, BiFunction<KeyMeta, byte[], R> use, int attempt) {
    if (attempt > CACHED_ATTEMPTS) {
      return writeOnce(partition, use);
    }
    return unlessClosed(keyForWriting(partition))
        .flatMap(
            found -> {
              CachedKey key = found.orElse(null);
              if (key == null) {
                return loadAndWrite(partition, use, attempt + 1);
              }
              // A read that was answered very late says nothing about this moment.
              if (admit(partition, key, rules.tick())) {
                return key.withBytes(bytes -> use.apply(key.meta(), bytes))
                    .onErrorResume(
                        SecretClosedException.class,
                        e -> loadAndWrite(partition, use, attempt + 1));
              }
              // Others used it up while this operation waited: it has its turn with a later one.
              return loadAndWrite(partition, use, key.isUsedUp() ? attempt : attempt + 1);
            });
  }

  private <R> Mono<R> writeOnce(Partition partition, BiFunction<KeyMeta, byte[], R> use) {
    return loads.limited(
        recordForWriting(partition, rules.isQueued())
            .flatMap(
                found ->
                    useOnce(
                        found,
                        (meta, key) -> {
                          requireUsable(partition, found);
                          return use.apply(meta, key);
                        })));
  }

  /**
   * A record that took longer to arrive than its key may be used says nothing about this moment.
   */
  private void requireUsable(Partition partition, FoundKey found) {
    long tick = rules.tick();
    CachedKey cached = cachedOf(partition.ringName(), found.sealed());
    boolean isKnownToBeOver = cached != null && (cached.isRevoked() || cached.isUsedUp());
    if (isKnownToBeOver
        || found.parent().isRevoked()
        || !rules.isFresh(found.parent(), tick)
        || !rules.isFresh(found.sealed(), tick)) {
      throw new AppEncryptionException(
          "no key could be found that may be used for new data now: metastore or key management"
              + " service answer more slowly than revokeCheckPeriod, or the key was revoked or used"
              + " up meanwhile",
          null,
          true);
    }
  }

  /**
   * Lets an operation seal under a key if key and system key allow it, and has what is due done in
   * the background: once, and not by the operation.
   */
  private boolean admit(Partition partition, CachedKey key, long tick) {
    CachedKey parent = key.parent();
    long millis = rules.millis();
    if (parent == null || !areUsable(key, parent, tick, millis) || !key.tryUse(maxUses)) {
      return false;
    }
    if (key.refresh().isDue(tick)) {
      refreshAhead(partition, key, tick);
    }
    if (parent.refresh().isDue(tick)) {
      systemKeys.refreshAhead(parent, tick);
    }
    if (rules.isQueued()
        && (rules.isExpired(key.meta().created(), millis)
            || rules.isExpired(parent.meta().created(), millis))) {
      rotateInBackground(partition, key, tick);
    }
    return true;
  }

  private @Nullable CachedKey cachedOf(String ring, SealedKey record) {
    CachedKey cached = cache.get(ring, record.meta());
    return cached != null && cached.isOf(record) ? cached : null;
  }

  private @Nullable CachedKey usable(String ring) {
    long tick = rules.tick();
    CachedKey key = cache.latest(ring, tick);
    if (key == null) {
      return null;
    }
    CachedKey parent = key.parent();
    return parent != null && areUsable(key, parent, tick, rules.millis()) ? key : null;
  }

  private boolean areUsable(CachedKey key, CachedKey parent, long tick, long millis) {
    return rules.isUsable(key, tick, millis) && rules.isUsable(parent, tick, millis);
  }

  private void refreshAhead(Partition partition, CachedKey key, long tick) {
    if (key.refresh().claim(tick, rules::backoffNanos)) {
      loads.startInBackground(
          new Id<>(LATEST, partition.ringName(), null),
          () -> {
            CachedKey current = usable(partition.ringName());
            return current != null && current.checkedAt() - tick >= 0 ? current : null;
          },
          forgotten ->
              loadLatest(partition, false, forgotten)
                  .doOnError(e -> events.tell(Type.REFRESH_FAILED, key.meta(), e)));
    }
  }

  private void rotateInBackground(Partition partition, CachedKey key, long tick) {
    if (key.rotation().claim(tick, rules::backoffNanos)) {
      if (key.rotation().attempts() == 1) {
        events.tell(Type.ROTATION_QUEUED, key.meta());
      }
      loads.startInBackground(
          new Id<>(RENEWED, partition.ringName(), null),
          () -> null,
          forgotten ->
              loadLatest(partition, true, forgotten)
                  .doOnError(e -> events.tell(Type.REFRESH_FAILED, key.meta(), e)));
    }
  }

  /** Loads the key for writing, or makes it, and caches it. */
  Mono<CachedKey> keyForWriting(Partition partition) {
    String ring = partition.ringName();
    return loads.join(
        new Id<>(LATEST, ring, null),
        () -> usable(ring),
        forgotten -> loadLatest(partition, false, forgotten));
  }

  /** Loads keys ahead of an operation. */
  Mono<Void> warmUp(Partition partition) {
    return Mono.defer(
        () -> {
          if (!isCaching) {
            return recordForWriting(partition, rules.isQueued()).then();
          }
          return usable(partition.ringName()) == null
              ? keyForWriting(partition).then()
              : Mono.empty();
        });
  }

  private Mono<CachedKey> loadLatest(
      Partition partition, boolean renewing, BooleanSupplier forgotten) {
    String ring = partition.ringName();
    return recordForWriting(partition, renewing)
        .flatMap(found -> cached(ring, found, forgotten))
        .publishOn(memory.scheduler())
        .doOnNext(
            key -> {
              if (!forgotten.getAsBoolean()) {
                cache.pointLatest(ring, key);
              }
            });
  }

  private Mono<CachedKey> cached(String ring, FoundKey found, BooleanSupplier forgotten) {
    return loads
        .join(
            new Id<>(KEY, ring, found.meta()),
            () -> cachedOf(ring, found.sealed()),
            // This load may have started after the ring was forgotten, on behalf of one before it.
            meanwhile ->
                protect(ring, found, () -> forgotten.getAsBoolean() || meanwhile.getAsBoolean()))
        .handle(
            (key, next) -> {
              if (!key.isOf(found.sealed())) {
                // Somebody else loads another key of that name: there was another record before.
                next.error(new SecretClosedException("another key has the same name"));
                return;
              }
              if (key.checked(found.sealed(), found.parent())) {
                events.tell(Type.REVOKED, key.meta());
              }
              next.next(key);
            });
  }

  // The record is a load of its own, so that it is shared too by those who use the key only once.

  private Mono<FoundKey> recordForWriting(Partition partition, boolean renewing) {
    return loads.join(
        new Id<>(renewing ? RENEWED_RECORD : LATEST_RECORD, partition.ringName(), null),
        () -> null,
        forgotten -> findOrMake(partition, renewing));
  }

  private Mono<FoundKey> findOrMake(Partition partition, boolean renewing) {
    LatestKey<FoundKey> latest =
        new LatestKey<>(rules, "an intermediate key") {
          @Override
          Mono<SealedKey> read() {
            return backEnds
                .loadLatest(partition.intermediateKeyId())
                .doOnNext(key -> note(partition, key));
          }

          @Override
          Mono<SealedKey> read(Instant created) {
            return backEnds
                .load(new KeyMeta(partition.intermediateKeyId(), created))
                .doOnNext(key -> note(partition, key));
          }

          @Override
          Mono<FoundKey> ifUsable(SealedKey key) {
            CachedKey cached = cachedOf(partition.ringName(), key);
            // One that does not name its system key cannot be opened, so it is as good as none.
            return rules.isValid(key.isRevoked(), key.meta().created(), renewing)
                    && key.record().parentKeyMeta().isPresent()
                    && (cached == null || !cached.isUsedUp())
                ? systemKeys
                    .forWriting(key.parentMeta(), renewing)
                    .map(parent -> new FoundKey(key, parent))
                : Mono.empty();
          }

          @Override
          Mono<FoundKey> make(Instant created, Type event) {
            KeyMeta meta = new KeyMeta(partition.intermediateKeyId(), created);
            return systemKeys
                .latest(renewing)
                .flatMap(parent -> IntermediateKeys.this.make(meta, parent, event));
          }

          @Override
          Instant free(Instant created) {
            return shredded.firstFree(
                partition.ringName(), new KeyMeta(partition.intermediateKeyId(), created));
          }
        };
    return aead.ready().then(latest.findOrMake());
  }

  /** Keeps a cached key that was revoked from being used while its successor is made. */
  private void note(Partition partition, SealedKey key) {
    CachedKey cached = cachedOf(partition.ringName(), key);
    if (cached != null && key.isRevoked() && cached.foundRevoked(key.readAt())) {
      events.tell(Type.REVOKED, key.meta());
    }
  }

  /**
   * Makes a key, seals and wipes it in one step, and stores it; it is opened like any other.
   * Completes empty where there is a key of that name.
   */
  private Mono<FoundKey> make(KeyMeta meta, CachedKey parent, Type event) {
    return parent
        .withBytes(aead::sealNewKey)
        .map(key -> new EnvelopeKeyRecord(meta.created(), key, parent.meta(), false))
        .flatMap(
            record -> {
              long storedAt = rules.tick();
              return backEnds
                  .store(meta.id(), record)
                  .filter(stored -> stored)
                  .doOnNext(stored -> events.tell(event, meta))
                  .map(stored -> new FoundKey(new SealedKey(meta, record, storedAt), parent));
            });
  }

  // Reading.

  /**
   * Applies a function to the key of that name, which a record of the partition was sealed under.
   */
  <R> Mono<R> withKeyForReading(
      Partition partition, KeyMeta meta, BiFunction<KeyMeta, byte[], R> use) {
    if (!isCaching) {
      return Mono.defer(() -> readOnce(partition, meta, use));
    }
    return Mono.defer(
        () -> {
          CachedKey key = cache.get(partition.ringName(), meta);
          if (key == null) {
            recorder.keyLookedUp(Cache.META, Lookup.MISS);
            return loadAndRead(partition, meta, use, 1);
          }
          recorder.keyLookedUp(Cache.META, Lookup.HIT);
          return key.withBytes(bytes -> use.apply(meta, bytes))
              .onErrorResume(
                  SecretClosedException.class, e -> loadAndRead(partition, meta, use, 1));
        });
  }

  private <R> Mono<R> loadAndRead(
      Partition partition, KeyMeta meta, BiFunction<KeyMeta, byte[], R> use, int attempt) {
    if (attempt > CACHED_ATTEMPTS) {
      return readOnce(partition, meta, use);
    }
    return unlessClosed(keyForReading(partition, meta))
        .flatMap(
            key ->
                key.isEmpty()
                    ? loadAndRead(partition, meta, use, attempt + 1)
                    : key.get()
                        .withBytes(bytes -> use.apply(meta, bytes))
                        .onErrorResume(
                            SecretClosedException.class,
                            e -> loadAndRead(partition, meta, use, attempt + 1)));
  }

  /** An empty result where the key, or the one that opens it, was closed under the load. */
  private static Mono<Optional<CachedKey>> unlessClosed(Mono<CachedKey> load) {
    return load.map(Optional::of).onErrorReturn(SecretClosedException.class, Optional.empty());
  }

  private <R> Mono<R> readOnce(
      Partition partition, KeyMeta meta, BiFunction<KeyMeta, byte[], R> use) {
    return loads.limited(recordForReading(partition, meta).flatMap(found -> useOnce(found, use)));
  }

  private Mono<CachedKey> keyForReading(Partition partition, KeyMeta meta) {
    String ring = partition.ringName();
    return loads.join(
        new Id<>(READABLE, ring, meta),
        () -> cache.get(ring, meta),
        forgotten ->
            recordForReading(partition, meta).flatMap(found -> cached(ring, found, forgotten)));
  }

  private Mono<FoundKey> recordForReading(Partition partition, KeyMeta meta) {
    return loads.join(
        new Id<>(RECORD, partition.ringName(), meta), () -> null, forgotten -> find(meta));
  }

  private Mono<FoundKey> find(KeyMeta meta) {
    return aead.ready()
        .then(backEnds.load(meta))
        .switchIfEmpty(Mono.error(() -> missing(meta)))
        .flatMap(
            key ->
                systemKeys.forReading(key.parentMeta()).map(parent -> new FoundKey(key, parent)));
  }

  private static MetadataMissingException missing(KeyMeta meta) {
    return new MetadataMissingException(
        "the metastore has no intermediate key created at %s for this partition; it was deleted, or"
                .formatted(meta.created())
            + " the record comes from another metastore",
        meta);
  }

  // Opening.

  /** Opens a key into locked memory and gives it to the cache. */
  private Mono<CachedKey> protect(String ring, FoundKey found, BooleanSupplier forgotten) {
    return memory
        .protectAnew(found.parent().withBytes(parentKey -> open(found.sealed(), parentKey)))
        .flatMap(
            secret ->
                Mono.fromSupplier(() -> add(ring, found, secret, forgotten))
                    .subscribeOn(memory.scheduler())
                    // Loads are cancelled when the cache closes, and this may be the only one who
                    // has the secret.
                    .doOnCancel(secret::close));
  }

  private CachedKey add(String ring, FoundKey found, Secret secret, BooleanSupplier forgotten) {
    CachedKey key =
        new CachedKey(
            found.sealed(), KeyMaterial.of(secret), found.parent(), rules.refreshAfterNanos());
    return cache.add(ring, key, forgotten);
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
              byte[] key = open(found.sealed(), parentKey);
              try {
                return use.apply(found.meta(), key);
              } finally {
                Arrays.fill(key, (byte) 0);
              }
            });
  }

  private byte[] open(SealedKey key, byte[] parentKey) {
    return aead.openKey(
        parentKey, key.encryptedKey(), "intermediate key created at " + key.meta().created());
  }
}
