package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.spi.MetricsRecorder;
import io.asherah.reactive.spi.MetricsRecorder.KmsCall;
import io.asherah.reactive.spi.MetricsRecorder.MetastoreCall;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import reactor.core.publisher.Mono;
import reactor.core.publisher.SynchronousSink;
import reactor.core.scheduler.Scheduler;

/**
 * The calls to metastore and key management service. Results go on on the continuation scheduler,
 * never on a driver's event loop; errors are of ours.
 */
final class BackEnds {
  private final Metastore metastore;
  private final KeyManagementService kms;
  private final CallGuard metastoreGuard;
  private final CallGuard kmsGuard;
  private final MetricsRecorder recorder;
  private final LongSupplier ticker;
  private final Duration timeout;

  /** To list keys may mean to look through the whole store. */
  private final Duration inventoryTimeout;

  private final Scheduler continuation;

  BackEnds(
      Metastore metastore,
      KeyManagementService kms,
      LoadSettings settings,
      Timing timing,
      MetricsRecorder recorder) {
    this.metastore = metastore;
    this.kms = kms;
    this.metastoreGuard = new CallGuard(settings, timing);
    this.kmsGuard = new CallGuard(settings, timing);
    this.inventoryTimeout = settings.loadTimeout();
    this.recorder = recorder;
    this.ticker = timing.ticker();
    this.timeout = settings.callTimeout();
    this.continuation = timing.continuation();
  }

  // The metastore.

  Mono<SealedKey> load(KeyMeta meta) {
    return dated(
        fromMetastore(
            "load a key",
            timed(MetastoreCall.LOAD, () -> metastore.load(meta.id(), meta.created()))),
        record -> meta);
  }

  Mono<SealedKey> loadLatest(String id) {
    return dated(
        fromMetastore(
            "load the latest key",
            timed(MetastoreCall.LOAD_LATEST, () -> metastore.loadLatest(id))),
        record -> new KeyMeta(id, record.created()));
  }

  /** Dates an answer with the moment before the read was sent, whatever the number of attempts. */
  private Mono<SealedKey> dated(
      Mono<EnvelopeKeyRecord> read, Function<EnvelopeKeyRecord, KeyMeta> name) {
    return Mono.defer(
        () -> {
          long readAt = ticker.getAsLong();
          return read.map(record -> new SealedKey(name.apply(record), record, readAt));
        });
  }

  Mono<Boolean> store(String id, EnvelopeKeyRecord record) {
    return fromMetastore(
        "store a key",
        () ->
            timed(MetastoreCall.STORE, () -> metastore.store(id, record.created(), record))
                .get()
                .switchIfEmpty(Mono.error(BackEnds::notSaidWhetherStored)));
  }

  private static MetastoreException notSaidWhetherStored() {
    return new MetastoreException("the metastore did not say whether it stored a key", null, false);
  }

  Mono<List<KeyInfo>> list(KeySelector selector) {
    return inventory()
        .flatMap(
            inventory ->
                fromMetastore(
                    "list keys", inventoryTimeout, () -> inventory.list(selector).collectList()));
  }

  Mono<Long> delete(KeySelector selector) {
    return inventory()
        .flatMap(
            inventory ->
                fromMetastore(
                    "delete a key",
                    inventoryTimeout,
                    () ->
                        inventory
                            .delete(selector)
                            .switchIfEmpty(
                                Mono.error(
                                    () ->
                                        new MetastoreException(
                                            "the metastore did not say how many keys it deleted",
                                            null,
                                            false)))));
  }

  private Mono<KeyInventory> inventory() {
    return metastore instanceof KeyInventory inventory
        ? Mono.just(inventory)
        : Mono.error(
            () ->
                new AppEncryptionException(
                    "the metastore cannot list or delete keys: it does not implement KeyInventory."
                        + " Delete the keys of the partition with the tools of the database, and"
                        + " forget() it in every process",
                    null,
                    false));
  }

  private <T> Mono<T> fromMetastore(String what, Supplier<Mono<T>> call) {
    return fromMetastore(what, timeout, call);
  }

  private <T> Mono<T> fromMetastore(String what, Duration limit, Supplier<Mono<T>> call) {
    return metastoreGuard
        .call(
            call,
            limit,
            e -> metastoreFailure(what, e),
            () -> metastoreIsLate(what, limit),
            unused -> {})
        .publishOn(continuation);
  }

  private static Throwable metastoreFailure(String what, Throwable e) {
    return e instanceof AppEncryptionException
        ? e
        : new MetastoreException("the metastore failed to " + what, e, false);
  }

  private static MetastoreException metastoreIsLate(String what, Duration limit) {
    String message = "the metastore did not %s within %s".formatted(what, limit);
    return new MetastoreException(message, new TimeoutException(message), true);
  }

  // The key management service.

  Mono<byte[]> wrap(Secret systemKey) {
    return fromKms("wrap", timed(KmsCall.ENCRYPT_KEY, () -> kms.encryptKey(systemKey)))
        .handle(BackEnds::refuseEmpty)
        .publishOn(continuation);
  }

  /** Emits the plaintext on the thread of the service's client; the next step leaves it at once. */
  Mono<byte[]> unwrap(byte[] encryptedKey) {
    return fromKms("unwrap", timed(KmsCall.DECRYPT_KEY, () -> kms.decryptKey(encryptedKey)))
        .map(CryptoKey::take)
        .onErrorMap(IllegalStateException.class, e -> kmsFailure("unwrap", e));
  }

  private static void refuseEmpty(byte[] wrapped, SynchronousSink<byte[]> next) {
    if (wrapped.length == 0) {
      next.error(
          new KmsException(
              KmsException.Kind.OTHER,
              "the key management service wrapped a system key into nothing",
              null));
    } else {
      next.next(wrapped);
    }
  }

  private <T> Mono<T> fromKms(String what, Supplier<Mono<T>> call) {
    return kmsGuard
        .call(
            () ->
                call.get()
                    .switchIfEmpty(Mono.error(() -> noKmsAnswer(what)))
                    // Here too: the guard shows a service none of the context that is its caller's.
                    .doOnDiscard(CryptoKey.class, CryptoKey::close),
            timeout,
            e -> kmsFailure(what, e),
            () -> kmsIsLate(what),
            BackEnds::discard)
        .doOnDiscard(CryptoKey.class, CryptoKey::close);
  }

  private static void discard(Object answer) {
    if (answer instanceof CryptoKey key) {
      key.close();
    }
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

  private KmsException kmsIsLate(String what) {
    String message =
        "the key management service did not %s a system key within %s".formatted(what, timeout);
    return new KmsException(KmsException.Kind.TIMEOUT, message, new TimeoutException(message));
  }

  // Metrics.

  /** How many calls are under way, to both. */
  long callsUnderWay() {
    return metastoreGuard.underWay() + (long) kmsGuard.underWay();
  }

  /** How many calls wait for their turn, to both. */
  long callsWaiting() {
    return metastoreGuard.waiting() + (long) kmsGuard.waiting();
  }

  private <T> Supplier<Mono<T>> timed(MetastoreCall which, Supplier<Mono<T>> call) {
    return timed(
        call,
        (nanos, isSuccess) -> recorder.metastoreCalled(metastore.name(), which, nanos, isSuccess));
  }

  private <T> Supplier<Mono<T>> timed(KmsCall which, Supplier<Mono<T>> call) {
    return timed(
        call, (nanos, isSuccess) -> recorder.kmsCalled(kms.name(), which, nanos, isSuccess));
  }

  private <T> Supplier<Mono<T>> timed(Supplier<Mono<T>> call, Sample sample) {
    return recorder == MetricsRecorder.NONE
        ? call
        : () -> {
          // Not inside of defer(), which throws what Reactor takes for fatal.
          Mono<T> answer = call.get();
          return Mono.defer(
              () -> {
                long start = ticker.getAsLong();
                return answer
                    .doOnSuccess(any -> sample.record(ticker.getAsLong() - start, true))
                    .doOnError(e -> sample.record(ticker.getAsLong() - start, false))
                    .doOnCancel(() -> sample.record(ticker.getAsLong() - start, false));
              });
        };
  }

  @FunctionalInterface
  private interface Sample {
    void record(long nanos, boolean isSuccess);
  }
}
