package io.asherah.reactive.micrometer;

import static java.util.stream.Collectors.toSet;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.SessionFactoryStats;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.testsupport.Await;
import io.micrometer.core.instrument.Metrics;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.util.List;
import org.junit.jupiter.api.Test;

class SessionFactoryMetricsTest {
  private static final Tags TAGS = Tags.of("product", "product", "service", "service");

  private final SimpleMeterRegistry registry = new SimpleMeterRegistry();

  /** Its time stands still, so that no memory becomes idle. */
  private static SessionFactory factory() {
    return SessionFactory.builder("product", "service")
        .metastore(new InMemoryMetastore())
        .keyManagementService(StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"))
        .ticker(() -> 0)
        .build();
  }

  private static void encrypt(SessionFactory factory, String partition) {
    factory.session(partition).encrypt(new byte[1]).block(Await.TIMEOUT);
  }

  private double gauge(String name, Tags tags) {
    return registry.get(name).tags(tags).gauge().value();
  }

  private double gauge(String name) {
    return gauge(name, TAGS);
  }

  @Test
  void everyGauge_hasItsNameTagsAndUnit() {
    SessionFactory factory = factory();
    SessionFactoryMetrics.create(factory, TAGS).bindTo(registry);

    assertThat(
            registry.getMeters().stream()
                .map(meter -> meter.getId())
                .map(
                    id ->
                        "%s %s %s %s"
                            .formatted(id.getType(), id.getName(), id.getTags(), id.getBaseUnit()))
                .collect(toSet()))
        .containsExactlyInAnyOrder(
            "GAUGE asherah.keys.cached"
                + " [tag(kind=system), tag(product=product), tag(service=service)] null",
            "GAUGE asherah.keys.cached"
                + " [tag(kind=intermediate), tag(product=product), tag(service=service)] null",
            "GAUGE secret.inuse [tag(product=product), tag(service=service)] null",
            "GAUGE asherah.memory.locked [tag(product=product), tag(service=service)] bytes",
            "GAUGE asherah.memory.regions.open [tag(product=product), tag(service=service)] null",
            "GAUGE asherah.memory.hidden [tag(product=product), tag(service=service)] bytes",
            "GAUGE asherah.memory.limit [tag(product=product), tag(service=service)] bytes",
            "GAUGE asherah.memory.queue [tag(product=product), tag(service=service)] null",
            "COUNTER asherah.memory.regions.opens [tag(product=product), tag(service=service)] null",
            "COUNTER asherah.memory.regions.closes [tag(product=product), tag(service=service)] null",
            "COUNTER asherah.memory.regions.corrupted [tag(product=product), tag(service=service)]"
                + " null",
            "COUNTER secret.leaked [tag(product=product), tag(service=service)] null");
    assertThat(Metrics.globalRegistry.getMeters()).isEmpty();
    factory.close().block(Await.TIMEOUT);
  }

  @Test
  void gauges_showWhatTheFactoryHolds_alsoAfterItWasClosed() {
    SessionFactory factory = factory();
    SessionFactoryMetrics.create(factory, TAGS).bindTo(registry);
    assertEverythingIsZero();

    encrypt(factory, "one");
    encrypt(factory, "two");

    assertThat(gauge("asherah.keys.cached", TAGS.and("kind", "system"))).isEqualTo(1);
    assertThat(gauge("asherah.keys.cached", TAGS.and("kind", "intermediate"))).isEqualTo(2);
    Await.until(() -> gauge("secret.inuse") == 3);
    SessionFactoryStats stats = factory.stats();
    assertThat(stats.memory().lockedBytes()).isPositive();
    assertThat(gauge("asherah.memory.locked")).isEqualTo(stats.memory().lockedBytes());
    assertThat(stats.memory().openRegions()).isPositive();
    assertThat(gauge("asherah.memory.regions.open")).isEqualTo(stats.memory().openRegions());
    assertThat(gauge("asherah.memory.limit")).isPositive();

    factory.close().block(Await.TIMEOUT);

    assertEverythingIsZero();
  }

  private void assertEverythingIsZero() {
    Await.until(() -> gauge("asherah.memory.queue") == 0);
    assertThat(registry.getMeters())
        .hasSize(12)
        .filteredOn(
            meter ->
                !List.of(
                        "asherah.memory.limit",
                        "asherah.memory.regions.opens",
                        "asherah.memory.regions.closes")
                    .contains(meter.getId().getName()))
        .allSatisfy(
            meter -> assertThat(meter.measure().iterator().next().getValue()).isEqualTo(0.0));
  }

  @Test
  void twoFactories_withTagsThatDiffer_areKeptApart() {
    Tags otherTags = Tags.of("product", "product", "service", "other");
    SessionFactory factory = factory();
    SessionFactory other = factory();
    SessionFactoryMetrics.create(factory, TAGS).bindTo(registry);
    SessionFactoryMetrics.create(other, otherTags).bindTo(registry);

    encrypt(other, "one");

    assertThat(registry.getMeters()).hasSize(24);
    assertThat(gauge("asherah.keys.cached", TAGS.and("kind", "intermediate"))).isZero();
    assertThat(gauge("asherah.keys.cached", otherTags.and("kind", "intermediate"))).isOne();
    factory.close().block(Await.TIMEOUT);
    other.close().block(Await.TIMEOUT);
  }

  @Test
  void successorWithTheSameTags_takesTheGaugesOver() {
    registry.config().commonTags("host", "localhost");
    SessionFactory before = factory();
    SessionFactory after = factory();
    SessionFactoryMetrics.create(before, TAGS).bindTo(registry);
    before.close().block(Await.TIMEOUT);
    SessionFactoryMetrics.create(after, TAGS).bindTo(registry);

    encrypt(after, "one");

    assertThat(registry.getMeters()).hasSize(12);
    assertThat(gauge("asherah.keys.cached", TAGS.and("kind", "system"))).isOne();
    assertThat(gauge("asherah.keys.cached", TAGS.and("kind", "intermediate"))).isOne();
    after.close().block(Await.TIMEOUT);
  }

  @Test
  void factoryThatIsGarbage_isNotKeptByTheRegistry() {
    bindAndForget();

    Await.until(
        () -> {
          System.gc();
          return Double.isNaN(gauge("secret.inuse"));
        });
    assertThat(gauge("asherah.keys.cached", TAGS.and("kind", "system"))).isNaN();
  }

  private void bindAndForget() {
    SessionFactory factory = factory();
    SessionFactoryMetrics.create(factory, TAGS).bindTo(registry);
    factory.close().block(Await.TIMEOUT);
  }
}
