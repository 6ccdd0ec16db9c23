package io.asherah.reactive.internal.keys;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyEvent.Type;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetadataMissingException;
import io.asherah.reactive.internal.crypto.Aes256Gcm;
import io.asherah.reactive.internal.keys.SharedLoads.Id;
import io.asherah.reactive.internal.keys.SharedLoads.Kind;
import io.asherah.reactive.securememory.Secret;
import java.time.Instant;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * The system keys of a factory, which wrap its intermediate keys. Where they are not cached, what
 * is found here has the sealed key, and asks the key management service whenever its bytes are
 * needed.
 */
final class SystemKeys {
  private static final String RING = "system";

  // Intermediate keys wait for these, so they are less patient. See SharedLoads.Kind for the order.
  private static final Kind<CachedKey> LATEST = new Kind<>(0.85);
  private static final Kind<CachedKey> RENEWED = new Kind<>(0.85);
  private static final Kind<CachedKey> READABLE = new Kind<>(0.8);
  private static final Kind<CachedKey> WRITABLE = new Kind<>(0.8);
  private static final Kind<CachedKey> RENEWABLE = new Kind<>(0.8);
  private static final Kind<CachedKey> KEY = new Kind<>(0.75);
  private static final Kind<SealedKey> RECORD = new Kind<>(0.7);

  private final String ownId;
  private final BackEnds backEnds;
  private final KeyMemory memory;
  private final Aes256Gcm aead;
  private final KeyRules rules;
  private final SharedLoads loads;
  private final KeyEvents events;
  private final KeyCache cache;
  private final boolean isCaching;

  SystemKeys(
      String ownId,
      BackEnds backEnds,
      KeyMemory memory,
      Aes256Gcm aead,
      KeyRules rules,
      SharedLoads loads,
      KeyEvents events,
      KeyCache cache,
      boolean isCaching) {
    this.ownId = ownId;
    this.backEnds = backEnds;
    this.memory = memory;
    this.aead = aead;
    this.rules = rules;
    this.loads = loads;
    this.events = events;
    this.cache = cache;
    this.isCaching = isCaching;
  }

  long cached() {
    return cache.size();
  }

  void close() {
    cache.close();
  }

  /** Keeps system keys cached for as long as intermediate keys are used. */
  void used(long tick) {
    cache.used(RING, tick);
  }

  // A key that a record names.

  /** The key of that name, whatever its age. */
  Mono<CachedKey> forReading(KeyMeta meta) {
    return Mono.defer(
            () -> {
              CachedKey cached = cache.get(RING, meta);
              return cached != null
                  ? Mono.just(cached)
                  : loads.join(
                      new Id<>(READABLE, RING, meta),
                      () -> cache.get(RING, meta),
                      forgotten -> record(meta).flatMap(this::open));
            })
        .switchIfEmpty(
            Mono.error(
                () ->
                    new MetadataMissingException(
                        "the metastore has no system key %s created at %s"
                            .formatted(meta.id(), meta.created()),
                        meta)));
  }

  /**
   * The key of that name, or empty where it does not exist or may not be used for new data. A
   * cached key whose record is read again needs no key management service.
   */
  Mono<CachedKey> forWriting(KeyMeta meta, boolean renewing) {
    return Mono.defer(
            () -> {
              CachedKey cached = needsNoRead(meta, renewing);
              if (cached == null) {
                return loads.join(
                    new Id<>(renewing ? RENEWABLE : WRITABLE, RING, meta),
                    () -> needsNoRead(meta, renewing),
                    forgotten -> readAndOpenIfValid(meta, renewing));
              }
              refreshAhead(cached, rules.tick());
              return Mono.just(cached);
            })
        .filter(key -> isValid(key, renewing));
  }

  private @Nullable CachedKey needsNoRead(KeyMeta meta, boolean renewing) {
    CachedKey cached = cache.get(RING, meta);
    return cached != null && (rules.isFresh(cached, rules.tick()) || !isValid(cached, renewing))
        ? cached
        : null;
  }

  private Mono<CachedKey> readAndOpenIfValid(KeyMeta meta, boolean renewing) {
    return record(meta)
        .flatMap(
            key -> {
              CachedKey cached = cached(key);
              if (cached != null) {
                return Mono.just(cached);
              }
              return isValid(key, renewing) ? open(key) : Mono.empty();
            });
  }

  /** Looks a cached key up again in the background, if it is time to and nobody does. */
  void refreshAhead(CachedKey key, long tick) {
    if (key.refresh().claim(tick, rules::backoffNanos)) {
      loads.startInBackground(
          new Id<>(RECORD, RING, key.meta()),
          () -> null,
          forgotten ->
              read(key.meta())
                  // Intermediate keys may hold on to a key that was evicted here.
                  .doOnNext(found -> note(key, found))
                  .doOnError(e -> events.tell(Type.REFRESH_FAILED, key.meta(), e)));
    }
  }

  private Mono<SealedKey> record(KeyMeta meta) {
    return loads.join(new Id<>(RECORD, RING, meta), () -> null, forgotten -> read(meta));
  }

  private Mono<SealedKey> read(KeyMeta meta) {
    return backEnds.load(meta).doOnNext(this::note);
  }

  /** Lets the cached key know what its record says. */
  private void note(SealedKey found) {
    CachedKey cached = cache.get(RING, found.meta());
    if (cached != null) {
      note(cached, found);
    }
  }

  private void note(CachedKey key, SealedKey found) {
    if (key.checked(found, null)) {
      events.tell(Type.REVOKED, key.meta());
    }
  }

  private @Nullable CachedKey cached(SealedKey key) {
    CachedKey cached = cache.get(RING, key.meta());
    return cached != null && cached.isOf(key) ? cached : null;
  }

  /** Asks the key management service, unless the key was cached in the meantime. */
  private Mono<CachedKey> open(SealedKey key) {
    if (!isCaching) {
      return Mono.just(uncached(key));
    }
    return loads
        .join(
            new Id<>(KEY, RING, key.meta()),
            () -> cached(key),
            forgotten ->
                backEnds
                    .unwrap(key.encryptedKey())
                    .flatMap(memory::protect)
                    .flatMap(secret -> add(key, secret, forgotten)))
        .doOnNext(opened -> note(opened, key));
  }

  private Mono<CachedKey> add(SealedKey key, Secret secret, BooleanSupplier forgotten) {
    return Mono.fromSupplier(
            () -> {
              CachedKey added = cache.add(RING, cachedKey(key, KeyMaterial.of(secret)), forgotten);
              if (key.meta().id().equals(ownId)) {
                cache.pointLatestIfNewest(RING, added);
              }
              return added;
            })
        .subscribeOn(memory.scheduler())
        // Loads are cancelled when the cache closes, and this may be the only one who has the
        // secret.
        .doOnCancel(secret::close);
  }

  private CachedKey cachedKey(SealedKey key, KeyMaterial material) {
    return new CachedKey(key, material, null, rules.refreshAfterNanos());
  }

  private CachedKey uncached(SealedKey key) {
    return cachedKey(
        key,
        new KeyMaterial() {
          @Override
          public <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function) {
            return Mono.usingWhen(
                backEnds.unwrap(key.encryptedKey()).flatMap(memory::protect),
                secret -> secret.withBytes(function),
                secret -> Mono.fromRunnable(secret::close));
          }

          @Override
          public boolean isClosed() {
            return false;
          }

          @Override
          public void close() {
            // There is nothing to close between uses.
          }
        });
  }

  // The key that new intermediate keys are wrapped by.

  /**
   * The latest key of this service that may be used for new data; made where there is none.
   *
   * @param renewing whether an expired key is to be replaced now, also where rotation is queued
   */
  Mono<CachedKey> latest(boolean renewing) {
    return Mono.defer(
        () -> {
          CachedKey cached = usable(renewing);
          return cached != null
              ? Mono.just(cached)
              : loads.join(
                  new Id<>(renewing ? RENEWED : LATEST, RING, null),
                  () -> usable(renewing),
                  forgotten ->
                      findOrMake(renewing, forgotten)
                          .publishOn(memory.scheduler())
                          .doOnNext(key -> cache.pointLatest(RING, key)));
        });
  }

  private @Nullable CachedKey usable(boolean renewing) {
    CachedKey key = cache.latest(RING);
    return key != null && rules.isFresh(key, rules.tick()) && isValid(key, renewing) ? key : null;
  }

  private boolean isValid(CachedKey key, boolean renewing) {
    return rules.isValid(key.isRevoked(), key.meta().created(), renewing);
  }

  private boolean isValid(SealedKey key, boolean renewing) {
    return rules.isValid(key.isRevoked(), key.meta().created(), renewing);
  }

  private Mono<CachedKey> findOrMake(boolean renewing, BooleanSupplier forgotten) {
    return new LatestKey<CachedKey>(rules, "a system key") {
      @Override
      Mono<SealedKey> read() {
        return backEnds.loadLatest(ownId).doOnNext(SystemKeys.this::note);
      }

      @Override
      Mono<SealedKey> read(Instant created) {
        return SystemKeys.this.read(new KeyMeta(ownId, created));
      }

      @Override
      Mono<CachedKey> ifUsable(SealedKey key) {
        return Mono.just(key)
            .filter(found -> isValid(found, renewing))
            .flatMap(SystemKeys.this::open)
            // A read that was sent later may have found it revoked in the meantime.
            .filter(opened -> isValid(opened, renewing));
      }

      @Override
      Mono<CachedKey> make(Instant created, Type event) {
        return SystemKeys.this.make(new KeyMeta(ownId, created), event, forgotten);
      }

      @Override
      Instant free(Instant created) {
        return created;
      }
    }.findOrMake();
  }

  /** Completes empty where there is a key of that name. */
  private Mono<CachedKey> make(KeyMeta meta, Type event, BooleanSupplier forgotten) {
    return memory
        .protectAnew(aead.ready().then(Mono.fromSupplier(aead::newKey)))
        .flatMap(
            secret ->
                backEnds
                    .wrap(secret)
                    .map(wrapped -> new EnvelopeKeyRecord(meta.created(), wrapped, null, false))
                    .flatMap(record -> store(meta, record, secret, event, forgotten))
                    .doOnError(e -> secret.close())
                    .doOnCancel(secret::close));
  }

  private Mono<CachedKey> store(
      KeyMeta meta,
      EnvelopeKeyRecord record,
      Secret secret,
      Type event,
      BooleanSupplier forgotten) {
    return Mono.defer(
        () -> {
          long storedAt = rules.tick();
          return backEnds
              .store(meta.id(), record)
              .flatMap(
                  stored -> {
                    if (!stored) {
                      secret.close();
                      return Mono.empty();
                    }
                    events.tell(event, meta);
                    SealedKey key = new SealedKey(meta, record, storedAt);
                    if (isCaching) {
                      return add(key, secret, forgotten);
                    }
                    secret.close();
                    return Mono.just(uncached(key));
                  });
        });
  }
}
