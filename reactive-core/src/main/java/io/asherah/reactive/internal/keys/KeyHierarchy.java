package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.FactoryClosedException;
import io.asherah.reactive.KeyEvent;
import io.asherah.reactive.KeyEvent.Type;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.OverloadedException;
import io.asherah.reactive.internal.crypto.Aes256Gcm;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryException;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.spi.MetricsRecorder;
import java.util.concurrent.RejectedExecutionException;
import java.util.function.BiFunction;
import java.util.function.LongConsumer;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * Finds, makes and caches the keys of one session factory.
 *
 * <p><b>For writing</b> a key is used if it and the system key that wraps it are neither revoked
 * nor expired and were both read less than the revoke check period ago. Otherwise its record is
 * read again, and only where no valid one exists a new key is made. A failed read is an error,
 * never a reason to make a key. Records of keys in use are read again ahead of time, in the
 * background; that does not prolong the period. <b>For reading</b> whatever key the record names is
 * used, whatever its age.
 *
 * <p>Age is measured on a monotonic ticker from the moment the read was sent; the wall clock
 * decides about expiry and creation times only.
 *
 * <p>Plaintext keys are on the heap inside single synchronous steps only: an intermediate key is
 * made, sealed and wiped in one step, stored, and then opened from its record like any other.
 */
public final class KeyHierarchy {
  private static final long MAX_SYSTEM_KEYS = 100;

  private final KeyMemory memory;
  private final Scheduler continuation;
  private final OperationGate gate;
  private final BackEnds backEnds;
  private final KeyEvents events;
  private final SharedLoads loads;
  private final SystemKeys systemKeys;
  private final IntermediateKeys intermediateKeys;
  private final Shredder shredder;

  /** Starts with empty caches. */
  public KeyHierarchy(
      String systemKeyId,
      Metastore metastore,
      KeyManagementService kms,
      SecretFactory secrets,
      Aes256Gcm aead,
      CryptoPolicy policy,
      Timing timing,
      LoadSettings settings,
      MetricsRecorder recorder,
      OperationGate gate) {
    this.gate = gate;
    this.continuation = timing.continuation();
    this.memory = new KeyMemory(secrets, gate, timing.timer());
    this.events =
        new KeyEvents(recorder, timing.clock(), Schedulers.boundedElastic(), timing.continuation());
    this.loads = new SharedLoads(memory.scheduler(), timing, settings, memory::requireOpen);
    this.backEnds = new BackEnds(metastore, kms, settings, timing, recorder);
    KeyRules rules = new KeyRules(policy, timing);
    Shredded shredded = new Shredded();
    this.systemKeys =
        new SystemKeys(
            systemKeyId,
            backEnds,
            memory,
            aead,
            rules,
            loads,
            events,
            cache(MAX_SYSTEM_KEYS, policy, timing, tick -> {}),
            policy.cacheSystemKeys());
    this.intermediateKeys =
        new IntermediateKeys(
            systemKeys,
            backEnds,
            memory,
            aead,
            rules,
            loads,
            events,
            recorder,
            cache(policy.maxCachedIntermediateKeys(), policy, timing, systemKeys::used),
            policy.cacheIntermediateKeys(),
            policy.maxUsesPerKey(),
            shredded);
    this.shredder =
        new Shredder(backEnds, rules, intermediateKeys, shredded, memory, timing, events);
  }

  private KeyCache cache(long maxKeys, CryptoPolicy policy, Timing timing, LongConsumer used) {
    Scheduler maintenance = memory.scheduler();
    return new KeyCache(
        maxKeys,
        policy.partitionIdleTime(),
        timing.ticker(),
        maintenance::schedule,
        key -> events.tell(Type.EVICTED, key),
        used);
  }

  /** Applies a function to the key that new data of the partition is sealed under. */
  public <R> Mono<R> withKeyForWriting(Partition partition, BiFunction<KeyMeta, byte[], R> use) {
    return intermediateKeys.withKeyForWriting(partition, use).onErrorMap(this::asSignalled);
  }

  /**
   * Applies a function to the key of that name, which a record of the partition was sealed under.
   */
  public <R> Mono<R> withKeyForReading(
      Partition partition, KeyMeta meta, BiFunction<KeyMeta, byte[], R> use) {
    return intermediateKeys.withKeyForReading(partition, meta, use).onErrorMap(this::asSignalled);
  }

  /** Loads the key that new data of the partition is sealed under, and makes it if need be. */
  public Mono<Void> warmUp(Partition partition) {
    return intermediateKeys.warmUp(partition).onErrorMap(this::asSignalled);
  }

  /** Wipes the cached keys of a partition, and keeps loads under way from being cached. */
  public Mono<Void> forget(Partition partition) {
    return Mono.<Void>fromRunnable(() -> intermediateKeys.forget(partition))
        .subscribeOn(memory.scheduler())
        .publishOn(continuation)
        .onErrorMap(this::asSignalled);
  }

  /** The keys of a partition in the metastore, with any suffix. */
  public Flux<KeyInfo> keysOf(Partition partition) {
    return loads
        .untilClosed(shredder.keysOf(partition).collectList())
        .flatMapIterable(all -> all)
        .onErrorMap(this::asSignalled);
  }

  /** Deletes all of them. */
  public Mono<Shredder.Result> shred(Partition partition) {
    return loads
        .untilClosed(shredder.shred(partition).publishOn(continuation))
        .onErrorMap(this::asSignalled);
  }

  /** What happens to keys from a subscription on. */
  public Flux<KeyEvent> events() {
    return events.events();
  }

  /** Wipes all cached keys; nothing is cached from now on. */
  public Mono<Void> close() {
    return Mono.<Void>fromRunnable(
            () -> {
              loads.close();
              intermediateKeys.close();
              systemKeys.close();
              events.complete();
            })
        .subscribeOn(memory.scheduler())
        .publishOn(continuation);
  }

  /** How many intermediate keys are cached. */
  public long cachedIntermediateKeys() {
    return intermediateKeys.cached();
  }

  /** How many system keys are cached. */
  public long cachedSystemKeys() {
    return systemKeys.cached();
  }

  /** How many calls to back ends are under way. */
  public long callsUnderWay() {
    return backEnds.callsUnderWay();
  }

  /** How many calls to back ends wait for their turn. */
  public long callsWaiting() {
    return backEnds.callsWaiting();
  }

  /** How many loads are under way. */
  public long loads() {
    return loads.underWay();
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
      return memory.failure(failure);
    }
    if (e instanceof RejectedExecutionException) {
      return new OverloadedException("a scheduler refused work; it may be disposed", e);
    }
    return new AppEncryptionException(
        "an operation failed unexpectedly: " + e.getClass().getName(), e, false);
  }
}
