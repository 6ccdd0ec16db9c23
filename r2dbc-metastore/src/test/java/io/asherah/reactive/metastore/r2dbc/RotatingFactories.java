package io.asherah.reactive.metastore.r2dbc;

import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.get;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.Session;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.Metastore;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import io.r2dbc.spi.ConnectionFactories;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** What {@link RotationIT} has in several JVMs: factories that want the same keys. */
final class RotatingFactories {
  static final int FACTORIES = 25;
  static final Duration KEY_EXPIRY = Duration.ofHours(1);
  private static final int POOL = 10;

  private final String name;
  private final WallClock clock = new WallClock();
  private final AtomicInteger lost = new AtomicInteger();
  private final List<Session> sessions;

  private RotatingFactories(String name, R2dbcMetastore metastore) {
    this.name = name;
    sessions =
        IntStream.range(0, FACTORIES)
            .mapToObj(i -> factory(counting(metastore), clock).session("partition"))
            .toList();
  }

  static SessionFactory factory(Metastore metastore, Clock clock) {
    return SessionFactory.builder("product", "service")
        .metastore(metastore)
        .keyManagementService(StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"))
        .cryptoPolicy(CryptoPolicy.builder().keyExpiry(KEY_EXPIRY).build())
        .clock(clock)
        // On a machine that is busy with other things too.
        .callTimeout(MetastoreContract.TIMEOUT)
        .loadTimeout(MetastoreContract.TIMEOUT)
        .build();
  }

  /** Counts the keys that another one had stored. */
  private Metastore counting(Metastore metastore) {
    return new Metastore() {
      @Override
      public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
        return metastore.load(id, created);
      }

      @Override
      public Mono<EnvelopeKeyRecord> loadLatest(String id) {
        return metastore.loadLatest(id);
      }

      @Override
      public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
        return metastore
            .store(id, created, record)
            .doOnNext(isStored -> lost.addAndGet(isStored ? 0 : 1));
      }
    };
  }

  /** Does what its standard input says, line by line, and prints what came of it. */
  public static void main(String[] arguments) throws IOException, InterruptedException {
    ConnectionPool pool =
        new ConnectionPool(
            ConnectionPoolConfiguration.builder(ConnectionFactories.get(arguments[1]))
                .initialSize(POOL)
                .maxSize(POOL)
                .build());
    get(pool.warmup());
    RotatingFactories factories =
        new RotatingFactories(arguments[0], MetastoreContract.patient(pool).build());
    System.out.println("ready");
    BufferedReader input =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      String[] words = line.split(" ");
      if (words[0].equals("encrypt")) {
        factories.encrypt(Instant.parse(words[1]), Long.parseLong(words[2]));
      } else {
        factories.decrypt(Path.of(words[1]));
      }
    }
    System.exit(0);
  }

  private void encrypt(Instant now, long startMillis) throws InterruptedException {
    clock.now = now;
    TimeUnit.MILLISECONDS.sleep(startMillis - System.currentTimeMillis());
    List<String> records =
        get(
            Flux.range(0, FACTORIES)
                .flatMap(
                    i -> {
                      String payload = "%s-%d-%s".formatted(name, i, now);
                      return sessions
                          .get(i)
                          .encryptToJson(payload.getBytes(StandardCharsets.UTF_8))
                          .map(json -> payload + " " + new String(json, StandardCharsets.UTF_8));
                    },
                    FACTORIES)
                .collectList());
    records.forEach(record -> System.out.println("record " + record));
    System.out.println("encrypted " + now + " " + lost.getAndSet(0));
  }

  private void decrypt(Path file) throws IOException {
    List<String> records = Files.readAllLines(file);
    for (Session session : sessions) {
      assertOpensAll(session, records);
    }
    System.out.println("decrypted " + records.size());
  }

  /** Each record follows its payload. */
  static void assertOpensAll(Session session, List<String> records) {
    for (String record : records) {
      String[] parts = record.split(" ", 2);
      byte[] opened = get(session.decryptJson(parts[1].getBytes(StandardCharsets.UTF_8)));
      assertThat(new String(opened, StandardCharsets.UTF_8)).isEqualTo(parts[0]);
    }
  }

  /** The same for all factories, so that all want a key of the same time. */
  private static final class WallClock extends Clock {
    private volatile Instant now = Instant.EPOCH;

    @Override
    public Instant instant() {
      return now;
    }

    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      throw new UnsupportedOperationException();
    }
  }
}
