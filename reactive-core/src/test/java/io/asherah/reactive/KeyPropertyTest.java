package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.SteadyTimeScheduler;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Whatever several processes on one store do in whatever order, while keys expire, are revoked,
 * evicted and forgotten, calls fail and subscribers cancel: every record opens, nothing leaks, and
 * no key is used for new data once it was revoked for longer than the period.
 *
 * <p>Each run prints its seed; {@code -Dkey.property.seed=n} repeats one.
 */
class KeyPropertyTest {
  private static final Duration PERIOD = Duration.ofMinutes(60);
  private static final int FACTORIES = 3;
  private static final int PARTITIONS = 4;
  private static final int THREADS = 4;
  private static final int STEPS = 2_500;
  private static final List<String> CALLS =
      List.of(
          "load(IK)",
          "load(SK)",
          "loadLatest(IK)",
          "loadLatest(SK)",
          "store(IK)",
          "store(SK)",
          "encryptKey",
          "decryptKey");

  /** A record, what is in it, and when the operation that sealed it began. */
  private record Written(String partition, DataRowRecord record, int payload, long begun) {}

  private final InMemoryMetastore store = new InMemoryMetastore();
  private final SteadyTimeScheduler time = new SteadyTimeScheduler();
  private final List<Scenario> scenarios = new ArrayList<>();
  private final List<Written> records = new CopyOnWriteArrayList<>();
  private final Map<KeyMeta, Long> revokedAt = new ConcurrentHashMap<>();
  private final Queue<String> violations = new ConcurrentLinkedQueue<>();
  private final AtomicBoolean outage = new AtomicBoolean();
  private final AtomicInteger opened = new AtomicInteger();
  private final AtomicInteger failed = new AtomicInteger();

  @ParameterizedTest
  @EnumSource
  void everyRecordOpens_nothingLeaks_andRevokedKeysAreNotUsedBeyondThePeriod(KeyRotation rotation)
      throws InterruptedException {
    long seed = Long.getLong("key.property.seed", System.nanoTime());
    System.err.println("KeyPropertyTest: seed " + seed + ", " + rotation);
    for (int i = 0; i < FACTORIES; i++) {
      scenarios.add(scenario(rotation, seed + i));
    }
    ExecutorService threads = Executors.newFixedThreadPool(THREADS);
    CountDownLatch done = new CountDownLatch(THREADS);
    for (int i = 0; i < THREADS; i++) {
      Random random = new Random(seed * 31 + i);
      threads.execute(
          () -> {
            try {
              for (int step = 0; step < STEPS; step++) {
                step(random);
              }
            } catch (RuntimeException | Error e) {
              violations.add("a step threw " + e);
            } finally {
              done.countDown();
            }
          });
    }
    assertThat(done.await(100, TimeUnit.SECONDS)).isTrue();
    threads.shutdown();
    outage.set(false);
    scenarios.forEach(s -> s.calls.answerAsBefore());

    records.forEach(this::checkKeys);
    for (Scenario scenario : scenarios) {
      Await.until(() -> scenario.factory.stats().loads() == 0);
      openAll(scenario);
    }
    try (Scenario fresh = new Scenario(store, CryptoPolicy.defaults(), "")) {
      openAll(fresh);
    }
    // Each checks that nothing of it is left.
    scenarios.forEach(Scenario::close);
    assertThat(violations).isEmpty();
    assertThat(records).hasSizeGreaterThan(1_000);
    assertThat(opened.get()).isGreaterThan(1_000);
    assertThat(failed.get()).isGreaterThan(10);
    assertThat(revokedAt).hasSizeGreaterThan(10);
  }

  private Scenario scenario(KeyRotation rotation, long seed) {
    CryptoPolicy policy =
        CryptoPolicy.builder()
            .keyExpiry(Duration.ofHours(12))
            .revokeCheckPeriod(PERIOD)
            .keyRotation(rotation)
            // Fewer than there are partitions, so that keys are evicted all the time.
            .maxCachedIntermediateKeys(PARTITIONS / 2)
            .maxUsesPerKey(200)
            .build();
    Scenario scenario =
        new Scenario(store, policy, "", 1_024, o -> o.callTimeout(Duration.ofSeconds(20)), time);
    Random random = new Random(seed);
    for (String call : CALLS) {
      scenario.calls.change(
          call,
          answer -> {
            int dice = random.nextInt(100);
            if (outage.get() && dice < 50) {
              return Mono.error(
                  call.endsWith("cryptKey")
                      ? new KmsException(KmsException.Kind.UNAVAILABLE, "outage", null)
                      : new MetastoreException("outage", null, dice < 25));
            }
            return dice < 80 ? answer : Mono.delay(Duration.ofMillis(dice % 3)).then(answer);
          });
    }
    return scenario;
  }

  private void step(Random random) {
    Scenario scenario = scenarios.get(random.nextInt(FACTORIES));
    String partition = "partition" + random.nextInt(PARTITIONS);
    Session session = scenario.factory.session(partition);
    int dice = random.nextInt(1_000);
    if (dice < 450) {
      encrypt(session, partition, random.nextInt());
    } else if (dice < 850) {
      decrypt(scenario, random);
    } else if (dice < 900) {
      // An error that comes while a subscriber cancels has nobody to go to.
      Disposable cancelled = session.encrypt(new byte[8]).onErrorComplete().subscribe();
      if (random.nextBoolean()) {
        Thread.yield();
      }
      cancelled.dispose();
    } else if (dice < 920) {
      session.forget().block(Await.TIMEOUT);
    } else if (dice < 925) {
      outage.set(!outage.get());
    } else if (dice < 935) {
      revokeSomeKey(random);
    } else {
      scenario.pass(Duration.ofSeconds(random.nextInt(120)));
    }
  }

  private void encrypt(Session session, String partition, int payload) {
    long begun = time.now(TimeUnit.NANOSECONDS);
    session
        .encrypt(ByteBuffer.allocate(4).putInt(0, payload))
        .doOnNext(record -> records.add(new Written(partition, record, payload, begun)))
        .then()
        .onErrorResume(this::expected)
        .block(Await.TIMEOUT);
  }

  private void decrypt(Scenario scenario, Random random) {
    if (!records.isEmpty()) {
      open(scenario, records.get(random.nextInt(records.size())))
          .onErrorResume(this::expected)
          .block(Await.TIMEOUT);
    }
  }

  private Mono<Void> open(Scenario scenario, Written written) {
    return scenario
        .factory
        .session(written.partition)
        .decrypt(written.record)
        .doOnNext(
            payload -> {
              opened.incrementAndGet();
              if (ByteBuffer.wrap(payload).getInt() != written.payload) {
                violations.add("another payload came out of " + written);
              }
            })
        .then();
  }

  /** Errors that the outages explain, and those that say that a second is too short for a key. */
  private Mono<Void> expected(Throwable e) {
    failed.incrementAndGet();
    boolean isExpected =
        e instanceof AppEncryptionException failure
            && ("outage".equals(e.getMessage()) || failure.isRetryable());
    if (!isExpected) {
      violations.add("unexpected " + e);
    }
    return Mono.empty();
  }

  private void revokeSomeKey(Random random) {
    List<KeyInfo> keys = get(store.list(KeySelector.idPrefix("_")).collectList());
    if (!keys.isEmpty()) {
      KeyMeta key = keys.get(random.nextInt(keys.size())).meta();
      get(store.revoke(KeySelector.version(key)));
      revokedAt.putIfAbsent(key, time.now(TimeUnit.NANOSECONDS));
    }
  }

  private void checkKeys(Written written) {
    KeyMeta key = written.record.key().parentKeyMeta().orElseThrow();
    EnvelopeKeyRecord record = get(store.load(key.id(), key.created()));
    checkKey(key, written);
    checkKey(record.parentKeyMeta().orElseThrow(), written);
  }

  private void checkKey(KeyMeta key, Written written) {
    Long revoked = revokedAt.get(key);
    if (revoked != null && written.begun - revoked > PERIOD.toNanos()) {
      violations.add(
          "%s was used %s after it was revoked"
              .formatted(key, Duration.ofNanos(written.begun - revoked)));
    }
  }

  private void openAll(Scenario scenario) {
    Flux.fromIterable(records)
        .flatMap(written -> open(scenario, written), 64)
        .doOnError(e -> violations.add("does not open: " + e))
        .onErrorComplete()
        .then()
        .block(Await.TIMEOUT);
  }

  @Test
  void theCheckItself_findsAKeyThatIsUsedTooLong() {
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = get(scenario.factory.session("p").encrypt(new byte[4]));
      revokedAt.put(record.key().parentKeyMeta().orElseThrow(), 0L);
      checkKeys(new Written("p", record, 0, PERIOD.toNanos()));
      assertThat(violations).isEmpty();
      checkKeys(new Written("p", record, 0, PERIOD.toNanos() + 1));
      assertThat(violations).hasSize(1);
    }
  }
}
