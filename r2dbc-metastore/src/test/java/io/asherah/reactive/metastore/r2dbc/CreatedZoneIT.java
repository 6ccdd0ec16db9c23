package io.asherah.reactive.metastore.r2dbc;

import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.created;
import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.list;
import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.store;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testservers.MariaDbServer;
import io.asherah.reactive.testservers.MySqlServer;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import java.nio.file.Path;
import java.time.Instant;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tables to which canonical Java wrote from a JVM that does not run in UTC. */
class CreatedZoneIT {
  private static final String THEIRS = "_SK_theirs_product";
  private static final String OURS = "_SK_ours_product";

  /** The changes of the year in New York; of the hour that comes twice the second time only. */
  private static final List<Instant> TIMES =
      Stream.of(
              "2026-01-15T18:59:59Z",
              "2026-03-08T02:30:00Z",
              "2026-03-08T06:59:59Z",
              "2026-03-08T07:00:00Z",
              "2026-07-01T12:34:56Z",
              "2026-11-01T04:59:59Z",
              "2026-11-01T06:30:00Z",
              "2026-11-01T07:00:00Z")
          .map(Instant::parse)
          .toList();

  @TempDir Path directory;

  /** A table, as canonical Java and as we reach it. */
  private record Place(String name, String jdbcUrl, List<String> urls) {}

  private static List<Place> places() {
    List<Place> places = new ArrayList<>();
    places.add(place(PostgreSqlServer.shared(), "TIMESTAMP", List.of("postgresql")));
    for (String createdType : List.of("TIMESTAMP", "DATETIME")) {
      places.add(place(MariaDbServer.shared(), createdType, List.of("mariadb", "mysql")));
      if (MySqlServer.unavailable().isEmpty()) {
        places.add(place(MySqlServer.shared(), createdType, List.of("mariadb", "mysql")));
      }
    }
    return places;
  }

  private static Place place(DatabaseServer server, String createdType, List<String> drivers) {
    String database = server.newDatabase();
    Databases.createTable(server.dataSource(database), createdType, "TEXT");
    return new Place(
        server.getClass().getSimpleName() + " " + createdType,
        Databases.jdbcUrl(server, database),
        drivers.stream().map(driver -> Databases.url(driver, server, database)).toList());
  }

  @ParameterizedTest
  @ValueSource(strings = {"Asia/Kolkata", "America/New_York"})
  void keysOfCanonicalJavaInAZone_areFound_andItFindsOurs(String zone) {
    List<Place> places = places();
    List<String> jdbcUrls = places.stream().map(Place::jdbcUrl).toList();
    CanonicalJava.store(zone, THEIRS, TIMES, jdbcUrls, directory);

    for (Place place : places) {
      for (int i = 0; i < place.urls.size(); i++) {
        ConnectionFactory factory = ConnectionFactories.get(place.urls.get(i));
        R2dbcMetastore metastore =
            MetastoreContract.patient(factory).createdZone(ZoneId.of(zone)).build();
        for (Instant time : TIMES) {
          String what = place.name + " at " + time;
          assertThat(created(metastore.load(THEIRS, time))).as(what).isEqualTo(time);
          assertThat(list(metastore, KeySelector.version(new KeyMeta(THEIRS, time))))
              .as(what)
              .containsExactly(time);
          assertThat(store(metastore, OURS, time)).as(what).isEqualTo(i == 0);
          // In UTC it is another row, or none.
          assertThat(created(R2dbcMetastore.create(factory).load(THEIRS, time)))
              .as(what)
              .isNotEqualTo(time);
        }
        assertThat(created(metastore.loadLatest(THEIRS))).isEqualTo(TIMES.get(TIMES.size() - 1));
      }
    }

    CanonicalJava.find(zone, OURS, TIMES, jdbcUrls, directory);
  }
}
