package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** What {@link TimeZoneIT} does in a JVM of its own, whose zone drivers may remember. */
final class TimeZoneCells {
  /** What canonical Java stored, with its JVM in UTC. */
  static final String CANONICAL = "_SK_canonical_product";

  /** Those around both changes of the year in New York, as moments and as wall clocks of UTC. */
  static final List<Instant> TIMES =
      Stream.of(
              "2026-01-15T18:59:59Z",
              // As a wall clock it does not exist in New York, where the next two are side by side.
              "2026-03-08T02:30:00Z",
              "2026-03-08T03:30:00Z",
              "2026-03-08T06:59:59Z",
              "2026-03-08T07:00:00Z",
              "2026-07-01T12:34:56Z",
              // As a wall clock it exists twice in New York, where the next two have the same one.
              "2026-11-01T01:30:00Z",
              "2026-11-01T05:30:00Z",
              "2026-11-01T06:30:00Z",
              "2027-01-01T00:00:00Z")
          .map(Instant::parse)
          .toList();

  private TimeZoneCells() {}

  /** A table, the driver and the session with which it is used, and the id that is used in it. */
  record Cell(String id, String url, String zoneQuery, String sessionZone) {
    Stream<String> arguments() {
      return Stream.of(id, url, zoneQuery, sessionZone);
    }
  }

  /** Prints, for each cell, what went wrong or that nothing did. */
  public static void main(String[] arguments) {
    for (int i = 0; i < arguments.length; i += 4) {
      Cell cell = new Cell(arguments[i], arguments[i + 1], arguments[i + 2], arguments[i + 3]);
      ConnectionPool pool =
          new ConnectionPool(
              ConnectionPoolConfiguration.builder(ConnectionFactories.get(cell.url))
                  .initialSize(0)
                  .maxSize(1)
                  .build());
      try {
        check(cell, pool);
        System.out.println("right");
      } catch (RuntimeException | AssertionError e) {
        System.out.println("wrong " + cell.id + ": " + e.toString().replace('\n', ' '));
      } finally {
        pool.dispose();
      }
    }
    System.exit(0);
  }

  private static void check(Cell cell, ConnectionFactory pool) {
    R2dbcMetastore metastore = MetastoreContract.patient(pool).build();
    assertThat(answer(pool, cell.zoneQuery)).isEqualTo(cell.sessionZone);
    String id = cell.id;
    for (Instant time : TIMES) {
      assertThat(store(metastore, id, time)).as("first store of %s", time).isTrue();
      assertThat(created(metastore.loadLatest(id))).isEqualTo(time);
    }
    for (int i = 0; i < TIMES.size(); i++) {
      Instant time = TIMES.get(i);
      assertThat(created(metastore.load(id, time))).isEqualTo(time);
      assertThat(created(metastore.load(CANONICAL, time))).isEqualTo(time);
      assertThat(store(metastore, id, time)).as("second store of %s", time).isFalse();
      KeySelector all = KeySelector.id(id);
      assertThat(list(metastore, all.createdFrom(time)))
          .containsExactlyElementsOf(TIMES.subList(i, TIMES.size()));
      assertThat(list(metastore, all.createdBefore(time)))
          .containsExactlyElementsOf(TIMES.subList(0, i));

      KeySelector version = KeySelector.version(new KeyMeta(id, time));
      assertThat(list(metastore, version)).containsExactly(time);
      assertThat(get(metastore.revoke(version))).as("revoked at %s", time).isEqualTo(1);
      assertThat(get(metastore.list(all).filter(KeyInfo::isRevoked).collectList()))
          .extracting(key -> key.meta().created())
          .containsExactly(time);
      assertThat(get(metastore.delete(version))).as("deleted at %s", time).isEqualTo(1);
      assertThat(metastore.load(id, time).block(MetastoreContract.TIMEOUT)).isNull();
      assertThat(list(metastore, all)).hasSize(TIMES.size() - 1).doesNotContain(time);
      assertThat(store(metastore, id, time)).as("store of %s once more", time).isTrue();
    }
  }

  static boolean store(Metastore metastore, String id, Instant time) {
    return get(metastore.store(id, time, new EnvelopeKeyRecord(time, new byte[60], null, false)));
  }

  static @Nullable Instant created(Mono<EnvelopeKeyRecord> key) {
    return key.map(EnvelopeKeyRecord::created).block(MetastoreContract.TIMEOUT);
  }

  static List<Instant> list(R2dbcMetastore metastore, KeySelector selector) {
    return get(metastore.list(selector).map(key -> key.meta().created()).collectList());
  }

  /** What a session answers to a query. */
  static String answer(ConnectionFactory factory, String query) {
    return get(
        Mono.usingWhen(
            factory.create(),
            connection ->
                Flux.from(connection.createStatement(query).execute())
                    .concatMap(
                        result ->
                            result.map((row, any) -> String.valueOf(row.get(0, String.class))))
                    .single(),
            connection -> connection.close()));
  }

  static <T> T get(Mono<T> answer) {
    return Objects.requireNonNull(answer.block(MetastoreContract.TIMEOUT));
  }
}
