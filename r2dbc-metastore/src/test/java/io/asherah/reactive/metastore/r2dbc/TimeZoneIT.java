package io.asherah.reactive.metastore.r2dbc;

import static java.util.stream.Collectors.toMap;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.metastore.r2dbc.TimeZoneCells.Cell;
import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testservers.MariaDbServer;
import io.asherah.reactive.testservers.MySqlServer;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.asherah.reactive.testsupport.ChildJvm;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * In every zone of the JVM, of the session and of the server, with every driver and every type of
 * column, the same moment is the same row: that of canonical Java on a JVM in UTC.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class TimeZoneIT {
  private static final String KOLKATA = "Asia/Kolkata";

  private final List<DatabaseServer> ownServers = new ArrayList<>();
  private final List<Place> places = new ArrayList<>();
  private Path directory;

  /** A table, and how JDBC reads from it the wall clock that was sent. */
  private record Place(String name, String jdbcUrl, String createdText, Sessions sessions) {
    List<Cell> cells(String jvmZone) {
      return sessions.in(jvmZone, "_SK_%s_%s".formatted(name, jvmZone));
    }

    Map<String, List<String>> times() {
      try {
        return Databases.times(CanonicalJava.dataSource(jdbcUrl), createdText);
      } catch (SQLException e) {
        throw new AssertionError(e);
      }
    }
  }

  /** The sessions in which a place is used, from a JVM of a zone. */
  private interface Sessions {
    List<Cell> in(String jvmZone, String id);
  }

  @BeforeAll
  void createTables(@TempDir Path directory) throws SQLException {
    this.directory = directory;
    addPostgreSql(PostgreSqlServer.shared());
    addMySqlFamily("MariaDB", MariaDbServer.shared(), "00:00:00");
    addMySqlFamily("MariaDB", own(MariaDbServer.start("--default-time-zone=+05:30")), "05:30:00");
    if (MySqlServer.unavailable().isEmpty()) {
      addMySqlFamily("MySQL", MySqlServer.shared(), "00:00:00");
      addMySqlFamily("MySQL", own(MySqlServer.start("--default-time-zone=+05:30")), "05:30:00");
    }
    addH2();
    CanonicalJava.store(
        "UTC",
        TimeZoneCells.CANONICAL,
        TimeZoneCells.TIMES,
        places.stream().map(Place::jdbcUrl).toList(),
        directory);
  }

  private DatabaseServer own(DatabaseServer server) {
    ownServers.add(server);
    return server;
  }

  @AfterAll
  void stopServers() {
    ownServers.forEach(DatabaseServer::close);
  }

  private void addPostgreSql(DatabaseServer server) {
    for (String createdType : List.of("TIMESTAMP", "TIMESTAMPTZ")) {
      for (String recordType : List.of("TEXT", "JSON", "JSONB")) {
        String database = server.newDatabase();
        Databases.createTable(server.dataSource(database), createdType, recordType);
        String url = Databases.url("postgresql", server, database);
        String wallClock =
            createdType.equals("TIMESTAMP") ? "created" : "(created AT TIME ZONE 'UTC')";
        places.add(
            new Place(
                "PostgreSQL_" + createdType + "_" + recordType,
                // Without, it cannot write to a column of another type than TEXT.
                Databases.jdbcUrl(server, database) + "&stringtype=unspecified",
                wallClock + "::text",
                (jvmZone, id) ->
                    // The driver chooses that of the JVM where it is not told another.
                    Stream.of("UTC", KOLKATA, jvmZone)
                        .distinct()
                        .map(
                            zone ->
                                new Cell(
                                    id + "_" + zone,
                                    zone.equals(jvmZone) ? url : url + "?timeZone=" + encode(zone),
                                    "SHOW timezone",
                                    zone))
                        .toList()));
      }
    }
  }

  private void addMySqlFamily(String name, DatabaseServer server, String offset) {
    for (String createdType : List.of("TIMESTAMP", "DATETIME")) {
      for (String recordType : List.of("TEXT", "JSON")) {
        String database = server.newDatabase();
        Databases.createTable(server.dataSource(database), createdType, recordType);
        places.add(
            new Place(
                String.join("_", name, offset, createdType, recordType),
                Databases.jdbcUrl(server, database),
                "CAST(created AS CHAR)",
                (jvmZone, id) ->
                    Stream.of("mysql", "mariadb")
                        .map(
                            driver ->
                                new Cell(
                                    id + "_" + driver,
                                    Databases.url(driver, server, database),
                                    // The zone of the shared server is that of its system.
                                    "SELECT CAST(TIMEDIFF(NOW(), UTC_TIMESTAMP()) AS CHAR(8))",
                                    offset))
                        .toList()));
      }
    }
  }

  /** In a file, since its engine is a part of each JVM. */
  private void addH2() throws SQLException {
    String file = directory.resolve("h2").toString();
    String jdbcUrl = "jdbc:h2:file:" + file;
    Databases.createTable(CanonicalJava.dataSource(jdbcUrl), "TIMESTAMP(0)", "VARCHAR(1000)");
    places.add(
        new Place(
            "H2",
            jdbcUrl,
            "CAST(created AS VARCHAR)",
            (jvmZone, id) ->
                Stream.of("UTC", KOLKATA, jvmZone)
                    .distinct()
                    .map(
                        zone ->
                            new Cell(
                                id + "_" + zone,
                                "r2dbc:h2:file:///"
                                    + file
                                    + (zone.equals(jvmZone)
                                        ? ""
                                        : "?options=" + encode("TIME ZONE=" + zone)),
                                "SELECT SETTING_VALUE FROM INFORMATION_SCHEMA.SETTINGS"
                                    + " WHERE SETTING_NAME = 'TIME ZONE'",
                                zone))
                    .toList()));
  }

  private static String encode(String value) {
    return URLEncoder.encode(value, StandardCharsets.UTF_8).replace("+", "%20");
  }

  @ParameterizedTest
  @ValueSource(strings = {"UTC", KOLKATA, "America/New_York"})
  void keysStoredInAnyZone_areFound_andAreTheRowsOfCanonicalJava(String jvmZone) {
    List<Cell> cells = places.stream().flatMap(place -> place.cells(jvmZone).stream()).toList();

    ChildJvm.Ended ended =
        ChildJvm.main(
                TimeZoneCells.class, cells.stream().flatMap(Cell::arguments).toArray(String[]::new))
            .options("-Duser.timezone=" + jvmZone, "-XX:TieredStopAtLevel=1")
            .run(directory);

    assertThat(ended.out().stream().filter(line -> !line.equals("right"))).isEmpty();
    assertThat(ended.out()).as("%s", ended.err()).hasSameSizeAs(cells);
    List<String> wallClocks =
        TimeZoneCells.TIMES.stream()
            .map(time -> time.toString().replace("T", " ").replace("Z", ""))
            .toList();
    for (Place place : places) {
      Map<String, List<String>> times = place.times();
      List<String> ids =
          Stream.concat(
                  Stream.of(TimeZoneCells.CANONICAL), place.cells(jvmZone).stream().map(Cell::id))
              .toList();
      assertThat(times)
          .as(place.name())
          .containsAllEntriesOf(ids.stream().collect(toMap(id -> id, id -> wallClocks)));
    }
  }
}
