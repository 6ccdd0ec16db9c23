package io.asherah.reactive.micrometer;

import io.asherah.reactive.KmsException;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import java.util.HashSet;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;

/** The counters of failures by region, of which there is a bounded number. */
final class RegionCounters {
  private static final int MAX_REGIONS = 64;

  private final MeterRegistry registry;
  private final Tags tags;

  /** Service and region of those that have counters; a set in here does not change any more. */
  private final AtomicReference<Set<Region>> known = new AtomicReference<>(Set.of());

  private record Region(String kms, String region) {}

  RegionCounters(MeterRegistry registry, Tags tags) {
    this.registry = registry;
    this.tags = tags;
  }

  Counter of(String kms, String region, KmsException.Kind kind) {
    Region name = admitted(new Region(CallTimers.sanitised(kms), CallTimers.sanitised(region)));
    return Counter.builder("asherah.kms.region.failures")
        .description("Regions of the key management service that failed")
        .tags(
            tags.and(
                "kms",
                name.kms,
                "region",
                name.region,
                "kind",
                kind.name().toLowerCase(Locale.ROOT)))
        .register(registry);
  }

  private Region admitted(Region region) {
    Set<Region> all =
        Objects.requireNonNull(
            known.updateAndGet(
                before -> before.size() < MAX_REGIONS ? with(region, before) : before));
    return all.contains(region) ? region : new Region("other", "other");
  }

  private static Set<Region> with(Region region, Set<Region> before) {
    if (before.contains(region)) {
      return before;
    }
    Set<Region> after = new HashSet<>(before);
    after.add(region);
    return after;
  }
}
