package io.asherah.reactive.micrometer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import io.asherah.reactive.KmsException.Kind;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.config.MeterFilter;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** The counter of regions of a key management service that failed. */
class RegionFailuresTest {
  private static final String NAME = "asherah.kms.region.failures";

  private final SimpleMeterRegistry registry = new SimpleMeterRegistry();
  private final MicrometerMetricsRecorder recorder = MicrometerMetricsRecorder.create(registry);

  private double count(String kms, String region, String kind) {
    return registry.get(NAME).tags("kms", kms, "region", region, "kind", kind).counter().count();
  }

  @Test
  void failures_areCountedByServiceRegionAndKind() {
    recorder.kmsRegionFailed("aws", "us-west-2", Kind.TIMEOUT);
    recorder.kmsRegionFailed("aws", "us-west-2", Kind.TIMEOUT);
    recorder.kmsRegionFailed("aws", "us-west-2", Kind.ACCESS_DENIED);
    recorder.kmsRegionFailed("aws", "eu-west-1", Kind.TIMEOUT);
    recorder.kmsRegionFailed("other-service", "eu-west-1", Kind.TIMEOUT);

    assertThat(count("aws", "us-west-2", "timeout")).isEqualTo(2);
    assertThat(count("aws", "us-west-2", "access_denied")).isEqualTo(1);
    assertThat(count("aws", "eu-west-1", "timeout")).isEqualTo(1);
    assertThat(count("other-service", "eu-west-1", "timeout")).isEqualTo(1);
    assertThat(registry.find(NAME).counters()).hasSize(4);
  }

  @Test
  void noFailure_noMeter() {
    assertThat(registry.find(NAME).counters()).isEmpty();
  }

  @Test
  void tagsOfTheRecorder_areAdded() {
    MicrometerMetricsRecorder.create(registry, Tags.of("service", "shop"))
        .kmsRegionFailed("aws", "us-west-2", Kind.OTHER);
    assertThat(registry.get(NAME).tag("service", "shop").counter().count()).isEqualTo(1);
  }

  @Test
  void names_areMadeFit() {
    recorder.kmsRegionFailed("A W\nS", "\u00dcber/all " + "x".repeat(100), Kind.OTHER);
    Meter.Id id = registry.get(NAME).counter().getId();
    assertThat(id.getTag("kms")).isEqualTo("a_w_s");
    assertThat(id.getTag("region")).matches("[a-z0-9_-]{1,32}");
  }

  @Test
  void numberOfRegions_isBounded_andThoseThatCameFirstKeepCounting() {
    for (int i = 0; i < 1_000; i++) {
      recorder.kmsRegionFailed("aws", "region-" + i, Kind.TIMEOUT);
    }
    recorder.kmsRegionFailed("aws", "region-0", Kind.TIMEOUT);
    recorder.kmsRegionFailed("aws", "region-999", Kind.THROTTLED);

    assertThat(
            registry.find(NAME).counters().stream()
                .map(counter -> counter.getId().getTag("region"))
                .distinct())
        .hasSize(64 + 1);
    assertThat(count("aws", "region-0", "timeout")).isEqualTo(2);
    assertThat(count("other", "other", "timeout")).isEqualTo(1_000 - 64);
    assertThat(count("other", "other", "throttled")).isEqualTo(1);
    assertThat(total()).isEqualTo(1_002);
  }

  private double total() {
    return registry.find(NAME).counters().stream().mapToDouble(Counter::count).sum();
  }

  @Test
  void manyThreads_loseNoFailure_andKeepTheBound() throws Exception {
    int threads = 4;
    ExecutorService executor = Executors.newFixedThreadPool(threads);
    try {
      CyclicBarrier start = new CyclicBarrier(threads);
      List<? extends Future<?>> ends =
          IntStream.range(0, threads)
              .mapToObj(
                  thread ->
                      executor.submit(
                          () -> {
                            start.await();
                            for (int i = 0; i < 1_000; i++) {
                              recorder.kmsRegionFailed(
                                  "aws", "region-" + (i + 250 * thread) % 200, Kind.OTHER);
                            }
                            return true;
                          }))
              .toList();
      for (Future<?> end : ends) {
        end.get(100, TimeUnit.SECONDS);
      }
    } finally {
      executor.shutdownNow();
    }
    assertThat(total()).isEqualTo(4_000);
    assertThat(registry.find(NAME).counters()).hasSize(65);
  }

  @Test
  void registryThatRefuses_doesNoHarm() {
    registry
        .config()
        .meterFilter(
            new MeterFilter() {
              @Override
              public Meter.Id map(Meter.Id id) {
                if (id.getName().equals(NAME)) {
                  throw new IllegalStateException("intended");
                }
                return id;
              }
            });
    assertThatCode(() -> recorder.kmsRegionFailed("aws", "us-west-2", Kind.OTHER))
        .doesNotThrowAnyException();
  }
}
