package io.asherah.reactive.micrometer;

import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.SessionFactoryStats;
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
 * Shows what a session factory holds, as gauges on a registry of Micrometer:
 *
 * <ul>
 *   <li>{@code asherah.keys.cached}: keys in memory, with the tag {@code kind}, {@code system} or
 *       {@code intermediate};
 *   <li>{@code secret.inuse}: secrets that were created and not closed;
 *   <li>{@code asherah.memory.locked}: locked memory, in bytes;
 *   <li>{@code asherah.memory.regions.open}: locked regions that can be read at this moment.
 * </ul>
 *
 * <p>The last three are those of the factory's {@code SecretFactory}: where several factories share
 * one, each of them shows all of it.
 *
 * <p>A gauge asks {@link SessionFactory#stats} whenever it is read, so it tells the truth after the
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
