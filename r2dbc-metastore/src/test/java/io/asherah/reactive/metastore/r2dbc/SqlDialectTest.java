package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryMetadata;
import io.r2dbc.spi.Parameter;
import io.r2dbc.spi.Row;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.reactivestreams.Publisher;

class SqlDialectTest {
  static final List<SqlDialect> ALL =
      List.of(
          SqlDialect.postgreSql(),
          SqlDialect.mySql(),
          SqlDialect.sqlServer(),
          SqlDialect.oracle(),
          SqlDialect.h2());

  /** A factory that connects to nothing. */
  static ConnectionFactory named(String name) {
    return new ConnectionFactory() {
      @Override
      public Publisher<? extends Connection> create() {
        throw new AssertionError("a connection was asked for");
      }

      @Override
      public ConnectionFactoryMetadata getMetadata() {
        return () -> name;
      }
    };
  }

  static SqlDialect dialect(String name) {
    return ALL.stream().filter(d -> d.toString().equals(name)).findAny().orElseThrow();
  }

  // Detection.

  @ParameterizedTest
  @CsvSource({
    "PostgreSQL, PostgreSQL",
    "MySQL, MySQL",
    "MariaDB, MySQL",
    "Microsoft SQL Server, SQL Server",
    "Oracle Database, Oracle",
    "H2, H2"
  })
  void factory_ofAKnownDatabase_hasItsDialect(String name, String dialect) {
    assertThat(SqlDialect.of(named(name))).hasToString(dialect);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "postgresql", "CockroachDB", "H2 "})
  void factory_ofAnotherDatabase_isRefusedWithAWayOut(String name) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> SqlDialect.of(named(name)))
        .withMessageContainingAll("\"" + name + "\"", "dialect(...)", "SqlDialect.postgreSql()");
  }

  // Text.

  @ParameterizedTest
  @CsvSource({
    "PostgreSQL, $1, $3",
    "MySQL, ?, ?",
    "SQL Server, @P0, @P2",
    "Oracle, ?, ?",
    "H2, $1, $3"
  })
  void marker_isTheDrivers(String dialect, String first, String third) {
    assertThat(dialect(dialect).marker(0)).isEqualTo(first);
    assertThat(dialect(dialect).marker(2)).isEqualTo(third);
  }

  @ParameterizedTest
  @CsvSource({
    "PostgreSQL, SELECT a FROM b LIMIT 7",
    "MySQL, SELECT a FROM b LIMIT 7",
    "SQL Server, SELECT TOP (7) a FROM b",
    "Oracle, SELECT a FROM b FETCH FIRST 7 ROWS ONLY",
    "H2, SELECT a FROM b LIMIT 7"
  })
  void limit_isTheDatabases(String dialect, String limited) {
    assertThat(dialect(dialect).limit("SELECT a FROM b", 7)).isEqualTo(limited);
  }

  /** Oracle and H2 refuse an escape character before anything but what needs one. */
  @ParameterizedTest
  @CsvSource({
    "abc, abc",
    "a_b, a!_b",
    "100%, 100!%",
    "a!b, a!!b",
    "[a-z], [a-z]",
    "\\, \\",
    "'', ''",
    "_!%, !_!!!%"
  })
  void like_escapesWildcardsAndNothingElse(String prefix, String pattern) {
    assertThat(SqlDialect.escapeLike(prefix)).isEqualTo(pattern);
  }

  @Test
  void ddl_hasTheTableAndNoPlaceholder() {
    assertThat(ALL)
        .allSatisfy(
            dialect ->
                assertThat(dialect.ddl("s.t"))
                    .hasSize(1)
                    .allSatisfy(
                        sql ->
                            assertThat(sql)
                                .contains("CREATE TABLE", "s.t", "PRIMARY KEY", "(id, created)")
                                .doesNotContain("${")));
  }

  // Times.

  private static Object created(SqlDialect dialect, String instant, String zone) {
    return dialect.created(Instant.parse(instant), ZoneId.of(zone));
  }

  @ParameterizedTest
  @CsvSource({
    "2024-05-06T07:08:09Z, UTC, 2024-05-06 07:08:09+00:00, 2024-05-06T07:08:09",
    "2024-01-02T00:00:00Z, UTC, 2024-01-02 00:00:00+00:00, 2024-01-02T00:00:00",
    "2024-01-02T03:04:05Z, America/New_York, 2024-01-01 22:04:05-05:00, 2024-01-01T22:04:05",
    "2024-07-02T03:04:05Z, America/New_York, 2024-07-01 23:04:05-04:00, 2024-07-01T23:04:05",
    "2024-07-02T03:04:05Z, Asia/Kolkata, 2024-07-02 08:34:05+05:30, 2024-07-02T08:34:05",
    // The hour that comes twice.
    "2024-10-27T00:30:00Z, Europe/Berlin, 2024-10-27 02:30:00+02:00, 2024-10-27T02:30:00",
    "2024-10-27T01:30:00Z, Europe/Berlin, 2024-10-27 02:30:00+01:00, 2024-10-27T02:30:00",
    // Around the hour that is left out.
    "2024-03-31T00:59:59Z, Europe/Berlin, 2024-03-31 01:59:59+01:00, 2024-03-31T01:59:59",
    "2024-03-31T01:00:00Z, Europe/Berlin, 2024-03-31 03:00:00+02:00, 2024-03-31T03:00:00",
    "1970-01-01T00:00:00Z, UTC, 1970-01-01 00:00:00+00:00, 1970-01-01T00:00:00",
    "1000-01-02T00:00:00Z, UTC, 1000-01-02 00:00:00+00:00, 1000-01-02T00:00:00",
    "9999-12-30T00:00:00Z, UTC, 9999-12-30 00:00:00+00:00, 9999-12-30T00:00:00",
    "9999-12-31T23:59:59Z, UTC, 9999-12-31 23:59:59+00:00, 9999-12-31T23:59:59"
  })
  void created_isTheWallClockOfTheZone(
      String instant, String zone, String withOffset, LocalDateTime wallClock) {
    assertThat(created(SqlDialect.postgreSql(), instant, zone))
        .isInstanceOfSatisfying(
            Parameter.class, bound -> assertThat(bound.getValue()).isEqualTo(withOffset));
    assertThat(created(SqlDialect.mySql(), instant, zone)).isEqualTo(withOffset.substring(0, 19));
    for (SqlDialect dialect :
        List.of(SqlDialect.sqlServer(), SqlDialect.oracle(), SqlDialect.h2())) {
      assertThat(created(dialect, instant, zone)).isEqualTo(wallClock);
    }
  }

  @Test
  void created_inADifferentLocale_hasAsciiDigits() {
    java.util.Locale before = java.util.Locale.getDefault();
    java.util.Locale.setDefault(java.util.Locale.forLanguageTag("ar-EG-u-nu-arab"));
    try {
      assertThat(created(SqlDialect.mySql(), "2024-05-06T07:08:09Z", "UTC"))
          .isEqualTo("2024-05-06 07:08:09");
    } finally {
      java.util.Locale.setDefault(before);
    }
  }

  // Ids.

  @ParameterizedTest
  @CsvSource({
    "PostgreSQL, 3",
    "MySQL, 3",
    "SQL Server, 3",
    "Oracle, 3",
    "H2, 4",
  })
  void length_isCountedAsTheColumnDoes(String dialect, int length) {
    assertThat(dialect(dialect).lengthOf("a\ud83d\ude00\u00e9")).isEqualTo(length);
    assertThat(dialect(dialect).lengthOf("")).isZero();
  }

  @Test
  void id_isText() {
    assertThat(ALL)
        .filteredOn(dialect -> !dialect.toString().equals("SQL Server"))
        .allSatisfy(dialect -> assertThat(dialect.id("_SK_\u00e9 ")).isEqualTo("_SK_\u00e9 "));
  }

  @Test
  void id_inSqlServer_isItsBytesThereAndBack() {
    String id = "_IK_\ud83d\ude00\u00e9 _s_p";
    byte[] bytes = id.getBytes(StandardCharsets.UTF_8);
    assertThat(SqlDialect.sqlServer().id(id)).isEqualTo(bytes);
    Row row =
        FakeDriver.proxy(
            Row.class,
            (self, method, arguments) -> Objects.equals(arguments[1], byte[].class) ? bytes : null);
    assertThat(SqlDialect.sqlServer().idOf(row, 0)).isEqualTo(id);
  }

  @Test
  void times_mayChangeInMySqlOnly() {
    assertThat(ALL)
        .filteredOn(SqlDialect::mayChangeTimes)
        .extracting(SqlDialect::toString)
        .containsExactly("MySQL");
  }

  // Aurora.

  @ParameterizedTest
  @CsvSource({
    "PostgreSQL, EVENTUAL, SET apg_write_forward.consistency_mode = 'eventual'",
    "PostgreSQL, SESSION, SET apg_write_forward.consistency_mode = 'session'",
    "PostgreSQL, GLOBAL, SET apg_write_forward.consistency_mode = 'global'",
    "MySQL, EVENTUAL, SET aurora_replica_read_consistency = 'eventual'",
    "MySQL, SESSION, SET aurora_replica_read_consistency = 'session'",
    "MySQL, GLOBAL, SET aurora_replica_read_consistency = 'global'"
  })
  void aurora_hasItsStatement(String dialect, AuroraReadConsistency consistency, String sql) {
    assertThat(dialect(dialect).auroraReadConsistency(consistency)).isEqualTo(sql);
  }
}
