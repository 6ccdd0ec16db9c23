package io.asherah.reactive.metastore.r2dbc;

import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.answer;
import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.created;
import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.get;
import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.list;
import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.store;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testservers.MariaDbServer;
import io.asherah.reactive.testservers.MySqlServer;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import java.time.Instant;
import java.time.ZoneId;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import javax.sql.DataSource;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * MySQL and MariaDB on a server whose zone has summer time. A {@code TIMESTAMP} is converted from
 * that zone, in which the wall clock goes from 02:00 to 03:00 on one day.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class SummerTimeIT {
  private static final ZoneId NEW_YORK = ZoneId.of("America/New_York");
  private static final String ID = "_SK_service_product";
  private static final Instant IN_GAP = Instant.parse("2026-03-08T02:30:00Z");
  private static final Instant AFTER_GAP = Instant.parse("2026-03-08T03:00:00Z");

  private @Nullable DatabaseServer mariaDb;
  private @Nullable DatabaseServer mySql;

  @BeforeAll
  void startServers() {
    mariaDb = MariaDbServer.startInZone(NEW_YORK);
    if (MySqlServer.unavailable().isEmpty()) {
      mySql = MySqlServer.startInZone(NEW_YORK);
    }
  }

  @AfterAll
  void stopServers() {
    Stream.of(Optional.ofNullable(mariaDb), Optional.ofNullable(mySql))
        .flatMap(Optional::stream)
        .forEach(DatabaseServer::close);
  }

  /** A database of its own, and a driver that leads to it. */
  private record Place(DataSource jdbc, R2dbcMetastore metastore) {
    List<String> times() {
      return Databases.times(jdbc, "CAST(created AS CHAR)").getOrDefault(ID, List.of());
    }
  }

  static Stream<Arguments> sessions() {
    return Stream.of("MariaDB", "MySQL")
        .flatMap(
            server ->
                Stream.of("mariadb", "mysql")
                    .flatMap(
                        driver ->
                            Stream.of(true, false)
                                .map(isStrict -> Arguments.of(server, driver, isStrict))));
  }

  private Place place(String serverName, String driver, boolean isStrict, String createdType) {
    DatabaseServer server = serverName.equals("MySQL") ? mySql : mariaDb;
    assumeTrue(server != null, () -> MySqlServer.unavailable().orElse(""));
    String mode = isStrict ? "STRICT_TRANS_TABLES" : "";
    server.execute("SET GLOBAL sql_mode = '" + mode + "'");
    String database = server.newDatabase();
    DataSource jdbc = server.dataSource(database);
    Databases.createTable(jdbc, createdType, "TEXT");
    ConnectionFactory factory = ConnectionFactories.get(Databases.url(driver, server, database));
    assertThat(answer(factory, "SELECT @@session.time_zone")).isEqualTo(NEW_YORK.getId());
    assertThat(answer(factory, "SELECT @@session.sql_mode").contains("STRICT")).isEqualTo(isStrict);
    return new Place(jdbc, MetastoreContract.patient(factory).build());
  }

  private static void assertIsRefused(R2dbcMetastore metastore, Instant created) {
    assertThatThrownBy(() -> store(metastore, ID, created))
        .isInstanceOfSatisfying(
            MetastoreException.class, e -> assertThat(e.isRetryable()).isFalse())
        .hasMessageContaining("run the database in UTC");
  }

  @ParameterizedTest
  @MethodSource("sessions")
  void storeOfATimeThatIsLeftOut_isRefused_andLeavesNothing(
      String server, String driver, boolean isStrict) {
    Place place = place(server, driver, isStrict, "TIMESTAMP");

    assertIsRefused(place.metastore, IN_GAP);
    assertIsRefused(place.metastore, IN_GAP);

    assertThat(place.times()).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("sessions")
  void storeOfATimeThatIsLeftOut_isRefused_whereTheNextTimeIsTaken(
      String server, String driver, boolean isStrict) {
    Place place = place(server, driver, isStrict, "TIMESTAMP");
    assertThat(store(place.metastore, ID, AFTER_GAP)).isTrue();

    assertIsRefused(place.metastore, IN_GAP);
    assertIsRefused(place.metastore, IN_GAP);

    assertThat(place.times()).containsExactly("2026-03-08 03:00:00");
    assertThat(store(place.metastore, ID, AFTER_GAP)).isFalse();
    assertThat(created(place.metastore.load(ID, AFTER_GAP))).isEqualTo(AFTER_GAP);
    assertThat(created(place.metastore.loadLatest(ID))).isEqualTo(AFTER_GAP);
  }

  @ParameterizedTest
  @MethodSource("sessions")
  void loadOfATimeThatIsLeftOut_findsNoOtherKey(String server, String driver, boolean isStrict) {
    R2dbcMetastore metastore = place(server, driver, isStrict, "TIMESTAMP").metastore;
    assertThat(store(metastore, ID, AFTER_GAP)).isTrue();

    Optional<EnvelopeKeyRecord> found;
    try {
      found = metastore.load(ID, IN_GAP).blockOptional(MetastoreContract.TIMEOUT);
    } catch (MetastoreException e) {
      assertThat(e).hasMessageContaining("run the database in UTC");
      found = Optional.empty();
    }

    assertThat(found).isEmpty();
  }

  @ParameterizedTest
  @MethodSource("sessions")
  void revocationAndDeletionOfATimeThatIsLeftOut_hitNoOtherKey(
      String server, String driver, boolean isStrict) {
    R2dbcMetastore metastore = place(server, driver, isStrict, "TIMESTAMP").metastore;
    assertThat(store(metastore, ID, AFTER_GAP)).isTrue();
    KeySelector inGap = KeySelector.version(new KeyMeta(ID, IN_GAP));

    for (var action :
        List.of(metastore.list(inGap).count(), metastore.revoke(inGap), metastore.delete(inGap))) {
      try {
        assertThat(get(action)).isZero();
      } catch (MetastoreException e) {
        assertThat(e).hasMessageContaining("run the database in UTC");
      }
    }

    assertThat(get(metastore.list(KeySelector.id(ID)).collectList()))
        .containsExactly(new KeyInfo(new KeyMeta(ID, AFTER_GAP), false, Optional.empty()));
  }

  @ParameterizedTest
  @MethodSource("sessions")
  void timesThatComeTwice_areKept(String server, String driver, boolean isStrict) {
    Place place = place(server, driver, isStrict, "TIMESTAMP");
    assertAreKept(
        place,
        Map.of(
            "2026-11-01T00:59:59Z", "2026-11-01 00:59:59",
            "2026-11-01T01:00:00Z", "2026-11-01 01:00:00",
            "2026-11-01T01:30:00Z", "2026-11-01 01:30:00",
            "2026-11-01T01:59:59Z", "2026-11-01 01:59:59",
            "2026-11-01T02:00:00Z", "2026-11-01 02:00:00"));
  }

  @ParameterizedTest
  @MethodSource("sessions")
  void timesThatAreLeftOut_areKept_inADatetime(String server, String driver, boolean isStrict) {
    Place place = place(server, driver, isStrict, "DATETIME");
    assertAreKept(
        place,
        Map.of(
            "2026-03-08T01:59:59Z", "2026-03-08 01:59:59",
            "2026-03-08T02:00:00Z", "2026-03-08 02:00:00",
            "2026-03-08T02:30:00Z", "2026-03-08 02:30:00",
            "2026-03-08T03:00:00Z", "2026-03-08 03:00:00"));
  }

  private static void assertAreKept(Place place, Map<String, String> wallClocks) {
    R2dbcMetastore metastore = place.metastore;
    List<Instant> times = wallClocks.keySet().stream().map(Instant::parse).sorted().toList();
    for (Instant time : times) {
      assertThat(store(metastore, ID, time)).isTrue();
      assertThat(store(metastore, ID, time)).isFalse();
      assertThat(created(metastore.loadLatest(ID))).isEqualTo(time);
    }
    for (Instant time : times) {
      assertThat(created(metastore.load(ID, time))).isEqualTo(time);
      assertThat(list(metastore, KeySelector.version(new KeyMeta(ID, time)))).containsExactly(time);
    }
    assertThat(place.times())
        .containsExactlyElementsOf(wallClocks.values().stream().sorted().toList());
  }
}
