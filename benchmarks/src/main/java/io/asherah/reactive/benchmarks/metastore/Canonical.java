package io.asherah.reactive.benchmarks.metastore;

import com.godaddy.asherah.appencryption.SessionFactory;
import com.godaddy.asherah.appencryption.persistence.JdbcMetastoreImpl;
import com.godaddy.asherah.appencryption.persistence.Metastore;
import com.godaddy.asherah.crypto.NeverExpiredCryptoPolicy;
import com.zaxxer.hikari.HikariDataSource;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.LongAdder;
import org.json.JSONObject;

/** Canonical Java, over JDBC. Each operation that is under way has a thread, which waits for it. */
final class Canonical implements Side {
  private final Fixture fixture;
  private final HikariDataSource pool = new HikariDataSource();
  private final LongAdder loads = new LongAdder();
  private final Metastore<JSONObject> metastore;
  private final SessionFactory factory;

  Canonical(Fixture fixture, int port) {
    this.fixture = fixture;
    pool.setDataSource(fixture.jdbc(port));
    pool.setMinimumIdle(Fixture.CONNECTIONS);
    pool.setMaximumPoolSize(Fixture.CONNECTIONS);
    metastore = new Counting(JdbcMetastoreImpl.newBuilder(pool).build());
    factory =
        SessionFactory.newBuilder(Fixture.PRODUCT, Fixture.SERVICE)
            .withMetastore(metastore)
            .withCryptoPolicy(new CacheNothing())
            .withStaticKeyManagementService(Fixture.MASTER_KEY)
            .build();
  }

  @Override
  public Measurement run(Workload workload, int concurrency, Duration time) {
    ExecutorService threads = Executors.newFixedThreadPool(concurrency);
    try {
      CountDownLatch ready = new CountDownLatch(concurrency);
      CountDownLatch go = new CountDownLatch(1);
      List<Future<Latencies>> lanes = new ArrayList<>();
      for (int i = 0; i < concurrency; i++) {
        lanes.add(
            threads.submit(
                () -> {
                  ready.countDown();
                  go.await();
                  return lane(workload, time);
                }));
      }
      ready.await();
      Measurement.Watch watch = Measurement.Watch.start(this);
      go.countDown();
      List<Latencies> latencies = new ArrayList<>();
      for (Future<Latencies> lane : lanes) {
        latencies.add(lane.get());
      }
      return watch.stop(latencies.stream());
    } catch (InterruptedException | ExecutionException e) {
      throw new IllegalStateException(e);
    } finally {
      threads.shutdown();
    }
  }

  private Latencies lane(Workload workload, Duration time) {
    Latencies latencies = new Latencies();
    long end = System.nanoTime() + time.toNanos();
    do {
      long start = System.nanoTime();
      operate(workload);
      latencies.add(System.nanoTime() - start);
    } while (System.nanoTime() - end < 0);
    return latencies;
  }

  private void operate(Workload workload) {
    Fixture.Entry entry = fixture.any();
    switch (workload) {
      // An error of the database is an empty answer too.
      case LOAD -> metastore.load(entry.key().id(), entry.key().created()).orElseThrow();
      case LOAD_LATEST -> metastore.loadLatest(entry.key().id()).orElseThrow();
      case DECRYPT -> {
        try (var session = factory.getSessionBytes(entry.partition())) {
          session.decrypt(entry.json());
        }
      }
      case ENCRYPT -> {
        try (var session = factory.getSessionBytes(entry.partition())) {
          session.encrypt(Fixture.PAYLOAD);
        }
      }
    }
  }

  @Override
  public long loads() {
    return loads.sum();
  }

  @Override
  public void close() {
    factory.close();
    pool.close();
  }

  private static final class CacheNothing extends NeverExpiredCryptoPolicy {
    @Override
    public boolean canCacheSystemKeys() {
      return false;
    }

    @Override
    public boolean canCacheIntermediateKeys() {
      return false;
    }
  }

  private final class Counting implements Metastore<JSONObject> {
    private final Metastore<JSONObject> counted;

    Counting(Metastore<JSONObject> counted) {
      this.counted = counted;
    }

    @Override
    public Optional<JSONObject> load(String id, Instant created) {
      loads.increment();
      return counted.load(id, created);
    }

    @Override
    public Optional<JSONObject> loadLatest(String id) {
      loads.increment();
      return counted.loadLatest(id);
    }

    @Override
    public boolean store(String id, Instant created, JSONObject record) {
      throw new IllegalStateException("the keys are there");
    }
  }
}
