package io.asherah.reactive.micrometer;

import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.SessionFactoryStats;
import io.asherah.reactive.securememory.SecureMemoryStats;
import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tag;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.binder.BaseUnits;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.util.Objects;
import java.util.function.ToDoubleFunction;
import org.jspecify.annotations.Nullable;

/**
 * Shows what a session factory holds, as meters on a registry of Micrometer. Gauges are:
 *
 * <ul>
 *   <li>{@code asherah.keys.cached}: keys in memory, with the tag {@code kind}, {@code system} or
 *       {@code intermediate};
 *   <li>{@code secret.inuse}: secrets that were created and not closed;
 *   <li>{@code asherah.memory.locked}: locked memory, in bytes;
 *   <li>{@code asherah.memory.hidden}: the part of it in pages of {@code memfd_secret}, in bytes;
 *   <li>{@code asherah.memory.limit}: how much the process may lock, in bytes; infinite where there
 *       is no limit, {@code NaN} before the first key;
 *   <li>{@code asherah.memory.queue}: tasks that wait for the securememory scheduler or run on it;
 *   <li>{@code asherah.memory.regions.open}: locked regions that can be read at this moment;
 * </ul>
 *
 * <p>and as counters {@code asherah.memory.regions.opens} and {@code
 * asherah.memory.regions.closes}, how often a region was made readable and unreadable again, {@code
 * secret.leaked}, secrets that the program lost, and {@code asherah.memory.regions.corrupted}.
 *
 * <p>All but the first are those of the factory's {@code SecretFactory}: where several factories
 * share one, each of them shows all of it.
 *
 * <p>A meter asks {@link SessionFactory#stats} whenever it is read, so it tells the truth after the
 * factory was closed as well. The registry does not keep the factory from being collected as
 * garbage; the gauges are {@code NaN} after that. So a program must keep its factory, which it has
 * to close anyway.
 *
 * <p>Instances are immutable and safe for use by many threads.
 */
public final class SessionFactoryMetrics implements MeterBinder {
  private final SessionFactory factory;
  private final Tags tags;

  private SessionFactoryMetrics(SessionFactory factory, Tags tags) {
    this.factory = factory;
    this.tags = tags;
  }

  /**
   * Describes the gauges of a factory; registers none.
   *
   * @param factory the factory
   * @param tags on every gauge, what tells it from those of other factories, usually its product
   *     and service; of two with one key, one that is listed above wins
   * @return a binder
   */
  public static SessionFactoryMetrics create(SessionFactory factory, Iterable<Tag> tags) {
    return new SessionFactoryMetrics(Objects.requireNonNull(factory, "factory"), Tags.of(tags));
  }

  /**
   * Registers the gauges. They replace those with the same tags, of a factory that was there
   * before; so two factories that are used side by side need tags that differ.
   *
   * @param registry where the gauges are registered
   */
  @Override
  public void bindTo(MeterRegistry registry) {
    bind(
        registry,
        "asherah.keys.cached",
        tags.and("kind", "system"),
        null,
        "System keys in memory",
        SessionFactoryStats::cachedSystemKeys);
    bind(
        registry,
        "asherah.keys.cached",
        tags.and("kind", "intermediate"),
        null,
        "Intermediate keys in memory",
        SessionFactoryStats::cachedIntermediateKeys);
    bind(
        registry,
        "secret.inuse",
        tags,
        null,
        "Secrets that were created and not closed",
        stats -> stats.memory().liveSecrets());
    bind(
        registry,
        "asherah.memory.locked",
        tags,
        BaseUnits.BYTES,
        "Locked memory",
        stats -> stats.memory().lockedBytes());
    bind(
        registry,
        "asherah.memory.regions.open",
        tags,
        null,
        "Locked regions that can be read",
        stats -> stats.memory().openRegions());
    bind(
        registry,
        "asherah.memory.hidden",
        tags,
        BaseUnits.BYTES,
        "Locked memory that the kernel cannot reach",
        stats -> stats.memory().hiddenBytes());
    bind(
        registry,
        "asherah.memory.limit",
        tags,
        BaseUnits.BYTES,
        "How much memory the process may lock",
        stats -> limit(stats.memory().limitBytes()));
    bind(
        registry,
        "asherah.memory.queue",
        tags,
        null,
        "Tasks that wait for the securememory scheduler or run on it",
        stats -> stats.memory().queueDepth());
    count(
        registry,
        "asherah.memory.regions.opens",
        "How often a locked region was made readable again",
        stats -> stats.memory().opens());
    count(
        registry,
        "asherah.memory.regions.closes",
        "How often a locked region was made unreadable again",
        stats -> stats.memory().closes());
    count(
        registry,
        "asherah.memory.regions.corrupted",
        "Locked regions that were found overwritten",
        stats -> stats.memory().corruptedRegions());
    count(
        registry,
        "secret.leaked",
        "Secrets that the program lost without closing them",
        stats -> stats.memory().leakedSecrets());
  }

  private static double limit(long bytes) {
    if (bytes == SecureMemoryStats.LIMIT_UNKNOWN) {
      return Double.NaN;
    }
    return bytes == SecureMemoryStats.NOT_LIMITED ? Double.POSITIVE_INFINITY : bytes;
  }

  private void count(
      MeterRegistry registry,
      String name,
      String description,
      ToDoubleFunction<SessionFactoryStats> value) {
    registry.removeByPreFilterId(new Meter.Id(name, tags, null, description, Meter.Type.COUNTER));
    FunctionCounter.builder(name, factory, read -> value.applyAsDouble(read.stats()))
        .description(description)
        .tags(tags)
        .register(registry);
  }

  private void bind(
      MeterRegistry registry,
      String name,
      Tags tags,
      @Nullable String unit,
      String description,
      ToDoubleFunction<SessionFactoryStats> value) {
    // Without this the gauge of the factory before would stay, and this one be dropped silently.
    registry.removeByPreFilterId(new Meter.Id(name, tags, unit, description, Meter.Type.GAUGE));
    Gauge.builder(name, factory, read -> value.applyAsDouble(read.stats()))
        .description(description)
        .baseUnit(unit)
        .tags(tags)
        .register(registry);
  }

  @Override
  public String toString() {
    return "SessionFactoryMetrics[%s]".formatted(factory);
  }
}
