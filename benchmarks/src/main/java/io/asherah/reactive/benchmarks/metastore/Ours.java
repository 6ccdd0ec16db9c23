package io.asherah.reactive.benchmarks.metastore;

import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.metastore.r2dbc.R2dbcMetastore;
import io.asherah.reactive.spi.Metastore;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.Stream;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Ours, over R2DBC. Whoever gets an answer asks again on the same thread. */
final class Ours implements Side {
  private final Fixture fixture;
  private final ConnectionPool pool;
  private final LongAdder loads = new LongAdder();
  private final Metastore metastore;
  private final SessionFactory factory;

  Ours(Fixture fixture, int port) {
    this.fixture = fixture;
    pool =
        new ConnectionPool(
            ConnectionPoolConfiguration.builder(fixture.r2dbc(port))
                .initialSize(Fixture.CONNECTIONS)
                .maxSize(Fixture.CONNECTIONS)
                .build());
    pool.warmup().block();
    metastore = new Counting(R2dbcMetastore.create(pool));
    factory =
        SessionFactory.builder(Fixture.PRODUCT, Fixture.SERVICE)
            .metastore(metastore)
            .keyManagementService(StaticKeyManagementService.ofUtf8(Fixture.MASTER_KEY))
            .cryptoPolicy(CryptoPolicy.builder().cacheNothing().build())
            .build();
  }

  @Override
  public Measurement run(Workload workload, int concurrency, Duration time) {
    Latencies[] latencies =
        Stream.generate(Latencies::new).limit(concurrency).toArray(Latencies[]::new);
    Measurement.Watch watch = Measurement.Watch.start(this);
    long end = System.nanoTime() + time.toNanos();
    Flux.range(0, concurrency)
        .flatMap(
            lane -> timed(workload, latencies[lane]).repeat(() -> System.nanoTime() - end < 0),
            concurrency)
        .blockLast();
    return watch.stop(Stream.of(latencies));
  }

  private Mono<Object> timed(Workload workload, Latencies latencies) {
    return Mono.defer(
        () -> {
          long start = System.nanoTime();
          return operation(workload)
              .<Object>map(
                  answer -> {
                    latencies.add(System.nanoTime() - start);
                    return answer;
                  })
              .switchIfEmpty(Mono.error(() -> new IllegalStateException("no answer")));
        });
  }

  private Mono<?> operation(Workload workload) {
    Fixture.Entry entry = fixture.any();
    return switch (workload) {
      case LOAD -> metastore.load(entry.key().id(), entry.key().created());
      case LOAD_LATEST -> metastore.loadLatest(entry.key().id());
      case DECRYPT -> factory.session(entry.partition()).decryptJson(entry.json());
      case ENCRYPT -> factory.session(entry.partition()).encryptToJson(Fixture.PAYLOAD);
    };
  }

  @Override
  public long loads() {
    return loads.sum();
  }

  @Override
  public void close() {
    factory.close().block();
    pool.disposeLater().block();
  }

  private final class Counting implements Metastore {
    private final Metastore counted;

    Counting(Metastore counted) {
      this.counted = counted;
    }

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return counted.load(id, created).doOnSubscribe(any -> loads.increment());
    }

    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return counted.loadLatest(id).doOnSubscribe(any -> loads.increment());
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return Mono.error(new IllegalStateException("the keys are there"));
    }
  }
}
