package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.spi.MetricsRecorder;
import io.asherah.reactive.testsupport.Await;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.NonBlocking;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * A hundred times as many partitions as fit into the cache, from threads that must not block and
 * under BlockHound. {@code -Dmany.partitions=1000000}, as {@code .ci/run} has it, takes a million
 * of them through ten thousand keys.
 */
class ManyPartitionsTest {
  private static final int PARTITIONS = Integer.getInteger("many.partitions", 100_000);
  private static final int BOUND = PARTITIONS / 100;

  /** Keys are added one by one, and each evicts what is too much before the next. */
  private static final int SLACK = 1;

  private static final long HEAP_SLACK = 64L << 20;

  @Test
  @Timeout(value = 15, unit = TimeUnit.MINUTES)
  void manyMorePartitionsThanTheCacheHolds_cacheHeapAndLockedMemoryStayBounded() {
    AtomicLong evicted = new AtomicLong();
    AtomicLong missed = new AtomicLong();
    MetricsRecorder recorder =
        new MetricsRecorder() {
          @Override
          public void keyEvent(KeyEvent event) {
            if (event.type() == KeyEvent.Type.EVICTED) {
              evicted.incrementAndGet();
            }
          }

          @Override
          public void keyLookedUp(Cache cache, Lookup lookup) {
            if (lookup != Lookup.HIT) {
              missed.incrementAndGet();
            }
          }
        };
    SecretFactory secrets = SecretFactory.builder().build();
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(new DerivingMetastore())
            .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
            .cryptoPolicy(CryptoPolicy.builder().maxCachedIntermediateKeys(BOUND).build())
            .metricsRecorder(recorder)
            .secretFactory(secrets)
            .build();
    KeysInside inside = new KeysInside(factory);
    AtomicLong mostKeys = new AtomicLong();
    AtomicLong mostLocked = new AtomicLong();
    Disposable sampling =
        Flux.interval(Duration.ofMillis(100), Schedulers.boundedElastic())
            .onBackpressureDrop()
            .subscribe(
                tick -> {
                  SessionFactoryStats stats = factory.stats();
                  mostKeys.accumulateAndGet(intermediateKeys(inside), Math::max);
                  mostLocked.accumulateAndGet(stats.memory().lockedBytes(), Math::max);
                });

    encryptAll(factory, 0, PARTITIONS / 5);
    long heapEarly = usedHeap();
    encryptAll(factory, PARTITIONS / 5, PARTITIONS);
    Await.until(() -> factory.stats().loads() == 0);
    long heapLate = usedHeap();
    sampling.dispose();

    SessionFactoryStats stats = factory.stats();
    assertThat(missed.get()).isEqualTo(PARTITIONS);
    assertThat(stats.cachedIntermediateKeys()).isLessThanOrEqualTo(BOUND);
    assertThat(mostKeys.get()).isBetween(BOUND / 2L, (long) BOUND + SLACK);
    // 32 bytes for each key, those on their way in or out included, in regions of 16 KiB.
    assertThat(mostLocked.get())
        .isLessThanOrEqualTo(((BOUND + 1_024 + SLACK + 1) * 2L / 511 + 2) * 16_384);
    assertThat(heapLate - heapEarly).isLessThan(HEAP_SLACK);
    // Whatever was evicted is wiped; the one more is the system key.
    Await.until(
        () -> secrets.stats().liveSecrets() == 1 + factory.stats().cachedIntermediateKeys());
    assertThat(secrets.stats().leakedSecrets()).isZero();
    System.err.printf(
        "ManyPartitionsTest: %d partitions, %d keys evicted and wiped, at most %d cached and %d bytes"
            + " locked, heap %+d bytes%n",
        PARTITIONS, evicted.get(), mostKeys.get(), mostLocked.get(), heapLate - heapEarly);
    factory.close().block(Await.TIMEOUT);
    Await.until(() -> secrets.stats().liveSecrets() == 0);
    secrets.close().block(Await.TIMEOUT);
    assertThat(secrets.stats().lockedBytes()).isZero();
  }

  /**
   * How many keys are cached: a sum of counters that is too large if its reader loses the processor
   * between two of them, which does not happen three times in a row.
   */
  private static long intermediateKeys(KeysInside inside) {
    return LongStream.generate(inside::intermediateKeyRings).limit(3).min().orElseThrow();
  }

  private static void encryptAll(SessionFactory factory, int from, int to) {
    Scheduler threads = Schedulers.newParallel("many", 8);
    byte[] payload = utf8("payload");
    Flux.range(from, to - from)
        .parallel(8)
        .runOn(threads)
        .doOnNext(i -> assertThat(Thread.currentThread()).isInstanceOf(NonBlocking.class))
        .flatMap(i -> factory.session("p" + i).encrypt(payload).then(), false, 32)
        .sequential()
        .then()
        .block(Duration.ofMinutes(14));
    threads.dispose();
  }

  private static long usedHeap() {
    System.gc();
    return ManagementFactory.getMemoryMXBean().getHeapMemoryUsage().getUsed();
  }

  /** Has a key for every partition without keeping any: the same one, under every id. */
  private static final class DerivingMetastore implements Metastore {
    private final EnvelopeKeyRecord systemKey;
    private final EnvelopeKeyRecord intermediateKey;

    DerivingMetastore() {
      InMemoryMetastore store = new InMemoryMetastore();
      SessionFactory factory =
          SessionFactory.builder("product", "service")
              .metastore(store)
              .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
              .build();
      get(factory.session("p").encrypt(utf8("payload")));
      factory.close().block(Await.TIMEOUT);
      this.systemKey = get(store.loadLatest("_SK_service_product"));
      this.intermediateKey = get(store.loadLatest("_IK_p_service_product"));
    }

    private EnvelopeKeyRecord record(String id) {
      return id.startsWith("_SK_") ? systemKey : intermediateKey;
    }

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return Mono.fromSupplier(() -> record(id));
    }

    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return Mono.fromSupplier(() -> record(id));
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return Mono.just(false);
    }
  }
}
