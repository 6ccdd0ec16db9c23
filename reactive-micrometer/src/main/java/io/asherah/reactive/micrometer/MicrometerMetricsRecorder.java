package io.asherah.reactive.micrometer;

import io.asherah.reactive.KeyEvent;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.spi.MetricsRecorder;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tag;
import io.micrometer.core.instrument.Tags;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Counts and times what a session factory does, on a registry of Micrometer. The meters:
 *
 * <ul>
 *   <li>timers {@code ael.drr.encrypt} and {@code ael.drr.decrypt}: operations that ended, with the
 *       tag {@code outcome}, {@code success} or {@code error};
 *   <li>timers {@code ael.metastore.<name>.load}, {@code .loadlatest} and {@code .store}, {@code
 *       ael.kms.<name>.encryptkey} and {@code .decryptkey}: attempts to call a back end, with the
 *       same tag;
 *   <li>counter {@code asherah.kms.region.failures}: regions of a key management service that
 *       failed, with the tags {@code kms}, {@code region} and {@code kind}, a {@link
 *       KmsException.Kind} in lower case; told by services that were given this recorder;
 *   <li>counters {@code asherah.cache.hits}, {@code asherah.cache.misses} and {@code
 *       asherah.cache.stale}: look-ups of an intermediate key, with the tag {@code cache}, {@code
 *       latest} or {@code meta};
 *   <li>counter {@code asherah.key.events}: what happened to keys, with the tag {@code type}, a
 *       {@link KeyEvent.Type} in lower case.
 * </ul>
 *
 * <p>A back end is called what it calls itself, in lower case, with everything but letters of
 * ASCII, digits, {@code -} and {@code _} replaced by {@code _}, and at most 32 characters of it.
 * After 16 names of metastores, further ones are called {@code other}; so are those of key
 * management services after 16, and regions after 64. So the number of meters is bounded whatever a
 * back end does, and none has a partition or the id of a key in it.
 *
 * <p>The meters of a back end are registered by the first call to it, all others when the recorder
 * is made; the registry locks for that moment. Nothing else waits, and nothing is thrown: the first
 * failure of the registry or one of its meters is logged, and what it was told is lost.
 *
 * <p>Instances are safe for use by many threads, and by many session factories, whose numbers they
 * add up. So do several instances on one registry with the same tags.
 */
public final class MicrometerMetricsRecorder implements MetricsRecorder {
  private static final Logger log = LoggerFactory.getLogger(MicrometerMetricsRecorder.class);

  private final OutcomeTimer encrypt;
  private final OutcomeTimer decrypt;
  private final CallTimers<MetastoreCall> metastoreCalls;
  private final CallTimers<KmsCall> kmsCalls;
  private final RegionCounters regionFailures;

  /** By the ordinals of cache and look-up. */
  private final Counter[][] lookups;

  /** By the ordinals of their types. */
  private final Counter[] keyEvents;

  private final AtomicBoolean hasFailed = new AtomicBoolean();

  private MicrometerMetricsRecorder(MeterRegistry registry, Tags tags) {
    this.encrypt = OutcomeTimer.register(registry, "ael.drr.encrypt", tags, "Payloads sealed");
    this.decrypt = OutcomeTimer.register(registry, "ael.drr.decrypt", tags, "Records opened");
    this.metastoreCalls =
        new CallTimers<>(
            registry, "ael.metastore.", MetastoreCall.values(), tags, "Calls to the metastore");
    this.kmsCalls =
        new CallTimers<>(
            registry, "ael.kms.", KmsCall.values(), tags, "Calls to the key management service");
    this.regionFailures = new RegionCounters(registry, tags);
    this.lookups = new Counter[Cache.values().length][Lookup.values().length];
    for (Cache cache : Cache.values()) {
      for (Lookup lookup : Lookup.values()) {
        lookups[cache.ordinal()][lookup.ordinal()] =
            Counter.builder(nameOf(lookup))
                .description("Look-ups of intermediate keys in the cache")
                .tags(tags.and("cache", lowerCase(cache)))
                .register(registry);
      }
    }
    this.keyEvents = new Counter[KeyEvent.Type.values().length];
    for (KeyEvent.Type type : KeyEvent.Type.values()) {
      keyEvents[type.ordinal()] =
          Counter.builder("asherah.key.events")
              .description("What happened to keys")
              .tags(tags.and("type", lowerCase(type)))
              .register(registry);
    }
  }

  /**
   * Makes a recorder.
   *
   * @param registry where the meters are registered
   * @return a recorder
   */
  public static MicrometerMetricsRecorder create(MeterRegistry registry) {
    return create(registry, Tags.empty());
  }

  /**
   * Makes a recorder whose meters have further tags. Many registries want all meters of a name to
   * have the same keys of tags, so all recorders of a registry should be given the same keys.
   *
   * @param registry where the meters are registered
   * @param tags on every meter, for instance product and service; of two with one key, one that is
   *     listed above wins
   * @return a recorder
   */
  public static MicrometerMetricsRecorder create(MeterRegistry registry, Iterable<Tag> tags) {
    return new MicrometerMetricsRecorder(
        Objects.requireNonNull(registry, "registry"), Tags.of(tags));
  }

  private static String nameOf(Lookup lookup) {
    return switch (lookup) {
      case HIT -> "asherah.cache.hits";
      case STALE -> "asherah.cache.stale";
      case MISS -> "asherah.cache.misses";
    };
  }

  private static String lowerCase(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }

  @Override
  public void encrypted(long nanos, boolean isSuccess) {
    guarded(() -> encrypt.record(nanos, isSuccess));
  }

  @Override
  public void decrypted(long nanos, boolean isSuccess) {
    guarded(() -> decrypt.record(nanos, isSuccess));
  }

  @Override
  public void metastoreCalled(String metastore, MetastoreCall call, long nanos, boolean isSuccess) {
    guarded(() -> metastoreCalls.of(metastore, call).record(nanos, isSuccess));
  }

  @Override
  public void kmsCalled(String kms, KmsCall call, long nanos, boolean isSuccess) {
    guarded(() -> kmsCalls.of(kms, call).record(nanos, isSuccess));
  }

  @Override
  public void kmsRegionFailed(String kms, String region, KmsException.Kind kind) {
    guarded(() -> regionFailures.of(kms, region, kind).increment());
  }

  @Override
  public void keyLookedUp(Cache cache, Lookup lookup) {
    guarded(() -> lookups[cache.ordinal()][lookup.ordinal()].increment());
  }

  @Override
  public void keyEvent(KeyEvent event) {
    guarded(() -> keyEvents[event.type().ordinal()].increment());
  }

  private void guarded(Runnable measurement) {
    try {
      measurement.run();
    } catch (RuntimeException e) {
      if (hasFailed.compareAndSet(false, true)) {
        log.warn("A measurement was lost; this is not logged again for further ones", e);
      }
    }
  }

  @Override
  public String toString() {
    return "MicrometerMetricsRecorder";
  }
}
