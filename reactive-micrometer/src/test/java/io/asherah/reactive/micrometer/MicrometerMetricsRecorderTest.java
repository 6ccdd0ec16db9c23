package io.asherah.reactive.micrometer;

import static java.util.stream.Collectors.toSet;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.KeyEvent;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.Session;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.MetricsRecorder.Cache;
import io.asherah.reactive.spi.MetricsRecorder.KmsCall;
import io.asherah.reactive.spi.MetricsRecorder.Lookup;
import io.asherah.reactive.spi.MetricsRecorder.MetastoreCall;
import io.asherah.reactive.testsupport.Await;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.Metrics;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import io.micrometer.core.instrument.config.MeterFilter;
import io.micrometer.core.instrument.config.MeterFilterReply;
import io.micrometer.core.instrument.distribution.DistributionStatisticConfig;
import io.micrometer.core.instrument.distribution.pause.PauseDetector;
import io.micrometer.core.instrument.noop.NoopCounter;
import io.micrometer.core.instrument.noop.NoopTimer;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

class MicrometerMetricsRecorderTest {
  private final SimpleMeterRegistry registry = new SimpleMeterRegistry();
  private final MicrometerMetricsRecorder recorder = MicrometerMetricsRecorder.create(registry);

  private Set<String> ids() {
    return registry.getMeters().stream()
        .map(Meter::getId)
        .map(id -> id.getType() + " " + id.getName() + " " + id.getTags())
        .collect(toSet());
  }

  private Timer timer(String name, String outcome) {
    return registry.get(name).tags(Tags.of("outcome", outcome)).timer();
  }

  private double count(String name, String key, String value) {
    return registry.get(name).tags(Tags.of(key, value)).counter().count();
  }

  private static KeyEvent event(KeyEvent.Type type) {
    return new KeyEvent(
        type,
        new KeyMeta("_IK_tenant-secret-42_service_product", Instant.ofEpochSecond(1)),
        Instant.ofEpochSecond(2),
        null);
  }

  private void recordOneOfEach() {
    recordOneOfEach(recorder);
  }

  private static void recordOneOfEach(MicrometerMetricsRecorder recorder) {
    for (boolean isSuccess : new boolean[] {true, false}) {
      recorder.encrypted(1, isSuccess);
      recorder.decrypted(1, isSuccess);
      for (MetastoreCall call : MetastoreCall.values()) {
        recorder.metastoreCalled("memory", call, 1, isSuccess);
      }
      for (KmsCall call : KmsCall.values()) {
        recorder.kmsCalled("static", call, 1, isSuccess);
      }
    }
    for (Cache cache : Cache.values()) {
      for (Lookup lookup : Lookup.values()) {
        recorder.keyLookedUp(cache, lookup);
      }
    }
    for (KeyEvent.Type type : KeyEvent.Type.values()) {
      recorder.keyEvent(event(type));
    }
  }

  @Test
  void everyMeter_hasItsNameAndItsTags() {
    recordOneOfEach();

    Set<String> expected = new TreeSet<>();
    for (String name :
        new String[] {
          "ael.drr.encrypt",
          "ael.drr.decrypt",
          "ael.metastore.memory.load",
          "ael.metastore.memory.loadlatest",
          "ael.metastore.memory.store",
          "ael.kms.static.encryptkey",
          "ael.kms.static.decryptkey"
        }) {
      expected.add("TIMER " + name + " [tag(outcome=success)]");
      expected.add("TIMER " + name + " [tag(outcome=error)]");
    }
    for (String name :
        new String[] {"asherah.cache.hits", "asherah.cache.misses", "asherah.cache.stale"}) {
      expected.add("COUNTER " + name + " [tag(cache=latest)]");
      expected.add("COUNTER " + name + " [tag(cache=meta)]");
    }
    for (String type :
        new String[] {
          "created",
          "rotated",
          "rotation_queued",
          "revoked",
          "refresh_failed",
          "evicted",
          "shredded"
        }) {
      expected.add("COUNTER asherah.key.events [tag(type=" + type + ")]");
    }
    assertThat(ids()).isEqualTo(expected);
    assertThat(registry.getMeters())
        .allSatisfy(meter -> assertThat(meter.getId().getDescription()).isNotEmpty());
  }

  @Test
  void metersOfBackEnds_areRegisteredByTheFirstCall() {
    assertThat(ids()).noneMatch(id -> id.contains("ael.metastore") || id.contains("ael.kms"));

    recorder.metastoreCalled("memory", MetastoreCall.LOAD, 1, true);

    assertThat(ids()).filteredOn(id -> id.contains("ael.metastore.memory")).hasSize(6);
    assertThat(ids()).noneMatch(id -> id.contains("ael.kms"));
  }

  @Test
  void operations_areTimedByOutcome() {
    recorder.encrypted(5, true);
    recorder.encrypted(7, true);
    recorder.encrypted(100, false);
    recorder.decrypted(11, true);
    recorder.decrypted(13, false);
    recorder.decrypted(17, false);

    assertThat(timer("ael.drr.encrypt", "success").count()).isEqualTo(2);
    assertThat(timer("ael.drr.encrypt", "success").totalTime(TimeUnit.NANOSECONDS)).isEqualTo(12);
    assertThat(timer("ael.drr.encrypt", "error").totalTime(TimeUnit.NANOSECONDS)).isEqualTo(100);
    assertThat(timer("ael.drr.decrypt", "success").totalTime(TimeUnit.NANOSECONDS)).isEqualTo(11);
    assertThat(timer("ael.drr.decrypt", "error").count()).isEqualTo(2);
    assertThat(timer("ael.drr.decrypt", "error").totalTime(TimeUnit.NANOSECONDS)).isEqualTo(30);
  }

  @ParameterizedTest
  @CsvSource({"LOAD, load", "LOAD_LATEST, loadlatest", "STORE, store"})
  void callsToAMetastore_areTimedByNameCallAndOutcome(MetastoreCall call, String name) {
    recorder.metastoreCalled("r2dbc", call, 3, true);
    recorder.metastoreCalled("r2dbc", call, 5, false);
    recorder.metastoreCalled("r2dbc", call, 7, false);
    recorder.metastoreCalled("dynamodb", call, 11, true);

    assertTimes("ael.metastore.r2dbc." + name, 3, 12);
    assertTimes("ael.metastore.dynamodb." + name, 11, 0);
  }

  @ParameterizedTest
  @CsvSource({"ENCRYPT_KEY, encryptkey", "DECRYPT_KEY, decryptkey"})
  void callsToAKeyManagementService_areTimedByNameCallAndOutcome(KmsCall call, String name) {
    recorder.kmsCalled("aws", call, 3, true);
    recorder.kmsCalled("aws", call, 5, false);
    recorder.kmsCalled("aws", call, 7, false);
    recorder.kmsCalled("static", call, 11, true);

    assertTimes("ael.kms.aws." + name, 3, 12);
    assertTimes("ael.kms.static." + name, 11, 0);
  }

  private void assertTimes(String name, double success, double error) {
    assertThat(timer(name, "success").totalTime(TimeUnit.NANOSECONDS)).isEqualTo(success);
    assertThat(timer(name, "error").totalTime(TimeUnit.NANOSECONDS)).isEqualTo(error);
  }

  @ParameterizedTest
  @CsvSource({
    "LATEST, HIT, asherah.cache.hits, latest",
    "LATEST, MISS, asherah.cache.misses, latest",
    "LATEST, STALE, asherah.cache.stale, latest",
    "META, HIT, asherah.cache.hits, meta",
    "META, MISS, asherah.cache.misses, meta",
    "META, STALE, asherah.cache.stale, meta"
  })
  void lookUps_areCounted(Cache cache, Lookup lookup, String name, String tag) {
    recorder.keyLookedUp(cache, lookup);
    recorder.keyLookedUp(cache, lookup);

    assertThat(count(name, "cache", tag)).isEqualTo(2);
    assertThat(
            registry.getMeters().stream()
                .filter(meter -> meter.getId().getName().startsWith("asherah.cache."))
                .mapToDouble(meter -> meter.measure().iterator().next().getValue())
                .sum())
        .isEqualTo(2);
  }

  @ParameterizedTest
  @EnumSource
  void keyEvents_areCountedByType(KeyEvent.Type type) {
    recorder.keyEvent(event(type));

    assertThat(count("asherah.key.events", "type", type.name().toLowerCase())).isOne();
    assertThat(registry.get("asherah.key.events").counters().stream().mapToDouble(c -> c.count()))
        .containsOnlyOnce(1.0)
        .hasSize(KeyEvent.Type.values().length);
  }

  @Test
  void nameOfABackEnd_isSanitised() {
    recorder.kmsCalled("AWS kms/é_1-a.b", KmsCall.ENCRYPT_KEY, 1, true);
    recorder.kmsCalled("", KmsCall.ENCRYPT_KEY, 2, true);
    recorder.kmsCalled("x".repeat(1_000), KmsCall.ENCRYPT_KEY, 3, true);

    assertTimes("ael.kms.aws_kms___1-a_b.encryptkey", 1, 0);
    assertTimes("ael.kms.other.encryptkey", 2, 0);
    assertTimes("ael.kms." + "x".repeat(32) + ".encryptkey", 3, 0);
  }

  @Test
  void namesThatChangeAllTheTime_areBounded() {
    int threads = 8;
    Flux.range(0, threads)
        .flatMap(
            thread ->
                Mono.fromRunnable(
                        () ->
                            IntStream.range(0, 1_000)
                                .forEach(
                                    i -> {
                                      recorder.metastoreCalled(
                                          "name" + i, MetastoreCall.LOAD, 1, true);
                                      recorder.kmsCalled("name" + i, KmsCall.ENCRYPT_KEY, 1, true);
                                    }))
                    .subscribeOn(Schedulers.parallel()))
        .blockLast(Await.TIMEOUT);

    assertThat(namesOf("ael.metastore.")).hasSize(17).contains("other");
    assertThat(namesOf("ael.kms.")).hasSize(17).contains("other");
    assertThat(
            registry.getMeters().stream()
                .filter(meter -> meter.getId().getName().startsWith("ael.metastore."))
                .mapToLong(meter -> ((Timer) meter).count())
                .sum())
        .isEqualTo(threads * 1_000);
  }

  @Test
  void sixteenNames_areKeptApart_andTheNextIsAnother() {
    for (int i = 0; i < 17; i++) {
      recorder.metastoreCalled("name" + i, MetastoreCall.LOAD, 1, true);
    }

    assertThat(namesOf("ael.metastore."))
        .hasSize(17)
        .contains("name0", "name15", "other")
        .doesNotContain("name16");
  }

  @Test
  void manyFirstCallsAtOnce_areAllOfThatName() {
    int threads = 40;
    Scheduler scheduler = Schedulers.newBoundedElastic(threads, threads, "first-calls");
    CyclicBarrier start = new CyclicBarrier(threads);
    Flux.range(0, threads)
        .flatMap(
            i ->
                Mono.fromCallable(
                        () -> {
                          start.await(Await.TIMEOUT.toSeconds(), TimeUnit.SECONDS);
                          recorder.metastoreCalled("memory", MetastoreCall.LOAD, 1, true);
                          return i;
                        })
                    .subscribeOn(scheduler),
            threads)
        .blockLast(Await.TIMEOUT);
    scheduler.dispose();

    assertThat(namesOf("ael.metastore.")).containsExactly("memory");
    assertThat(timer("ael.metastore.memory.load", "success").count()).isEqualTo(threads);
  }

  private Set<String> namesOf(String prefix) {
    return registry.getMeters().stream()
        .map(meter -> meter.getId().getName())
        .filter(name -> name.startsWith(prefix))
        .map(name -> name.substring(prefix.length(), name.lastIndexOf('.')))
        .collect(toSet());
  }

  @Test
  void tagsOfTheCaller_areOnEveryMeter() {
    SimpleMeterRegistry other = new SimpleMeterRegistry();
    MicrometerMetricsRecorder tagged =
        MicrometerMetricsRecorder.create(other, Tags.of("product", "shop", "outcome", "mine"));
    tagged.metastoreCalled("memory", MetastoreCall.LOAD, 1, true);
    tagged.kmsCalled("static", KmsCall.ENCRYPT_KEY, 1, true);

    assertThat(other.getMeters())
        .isNotEmpty()
        .allSatisfy(meter -> assertThat(meter.getId().getTag("product")).isEqualTo("shop"));
    assertThat(other.get("ael.drr.encrypt").timers())
        .extracting(timer -> timer.getId().getTag("outcome"))
        .containsExactlyInAnyOrder("success", "error");
  }

  @Test
  void twoRecordersOnOneRegistry_addUp() {
    MicrometerMetricsRecorder second = MicrometerMetricsRecorder.create(registry);
    recorder.encrypted(1, true);
    second.encrypted(1, true);
    recorder.kmsCalled("static", KmsCall.DECRYPT_KEY, 1, true);
    second.kmsCalled("static", KmsCall.DECRYPT_KEY, 1, true);

    assertThat(timer("ael.drr.encrypt", "success").count()).isEqualTo(2);
    assertThat(timer("ael.kms.static.decryptkey", "success").count()).isEqualTo(2);
  }

  @Test
  void registryThatFails_isNotNoticedByTheCaller() {
    registry
        .config()
        .meterFilter(
            new MeterFilter() {
              @Override
              public MeterFilterReply accept(Meter.Id id) {
                throw new IllegalStateException("refused on purpose");
              }
            });

    assertThatCode(
            () -> {
              recorder.metastoreCalled("memory", MetastoreCall.LOAD, 1, true);
              recorder.kmsCalled("static", KmsCall.ENCRYPT_KEY, 1, true);
              recorder.encrypted(1, true);
            })
        .doesNotThrowAnyException();
    assertThat(timer("ael.drr.encrypt", "success").count()).isOne();
  }

  @Test
  void metersThatFail_areNotNoticedByTheCaller() {
    MicrometerMetricsRecorder failing =
        MicrometerMetricsRecorder.create(
            new SimpleMeterRegistry() {
              @Override
              protected Timer newTimer(
                  Meter.Id id, DistributionStatisticConfig config, PauseDetector detector) {
                return new NoopTimer(id) {
                  @Override
                  public void record(long amount, TimeUnit unit) {
                    throw new IllegalStateException("refused on purpose");
                  }
                };
              }

              @Override
              protected Counter newCounter(Meter.Id id) {
                return new NoopCounter(id) {
                  @Override
                  public void increment(double amount) {
                    throw new IllegalStateException("refused on purpose");
                  }
                };
              }
            });

    assertThatCode(() -> recordOneOfEach(failing)).doesNotThrowAnyException();
  }

  @Test
  void closedRegistry_isNotNoticedByTheCaller() {
    registry.close();

    assertThatCode(this::recordOneOfEach).doesNotThrowAnyException();
  }

  @Test
  void everyMethod_runsOnAnEventLoop() {
    Mono.fromRunnable(this::recordOneOfEach)
        .subscribeOn(Schedulers.parallel())
        .block(Await.TIMEOUT);

    assertThat(timer("ael.drr.encrypt", "success").count()).isOne();
  }

  @Test
  void realFactory_isTimed_andNothingNamesThePartition() {
    Set<Meter> global = Set.copyOf(Metrics.globalRegistry.getMeters());
    String partition = "tenant-secret-42";
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(new InMemoryMetastore())
            .keyManagementService(
                StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"))
            .metricsRecorder(recorder)
            .build();
    SessionFactoryMetrics.create(factory, Tags.empty()).bindTo(registry);
    Session session = factory.session(partition);
    byte[] payload = "payload".getBytes(StandardCharsets.UTF_8);

    byte[] json = Objects.requireNonNull(session.encryptToJson(payload).block(Await.TIMEOUT));
    assertThat(session.decryptJson(json).block(Await.TIMEOUT)).isEqualTo(payload);
    assertThatCode(() -> factory.session("other").decryptJson(json).block(Await.TIMEOUT))
        .isInstanceOf(RuntimeException.class);
    factory.close().block(Await.TIMEOUT);
    recordOneOfEach();

    assertThat(timer("ael.drr.encrypt", "success").count()).isEqualTo(2);
    assertThat(timer("ael.drr.decrypt", "success").count()).isEqualTo(2);
    assertThat(timer("ael.drr.decrypt", "error").count()).isEqualTo(2);
    assertThat(registry.getMeters())
        .hasSizeGreaterThan(20)
        .allSatisfy(
            meter ->
                assertThat(meter.getId() + "" + meter.getId().getDescription())
                    .doesNotContain(partition, "_IK_", "_SK_", "payload"));
    assertThat(Set.copyOf(Metrics.globalRegistry.getMeters())).isEqualTo(global).isEmpty();
    assertThat(Metrics.globalRegistry.getRegistries()).isEmpty();
  }
}
