package io.asherah.reactive.testservers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is true of MariaDB and MySQL. */
abstract class MySqlFamilyContract extends DatabaseServerContract {
  private static final ZoneId NEW_YORK = ZoneId.of("America/New_York");

  abstract MySqlFamily startInZone(ZoneId zone);

  @Override
  abstract MySqlFamily shared();

  @Override
  String url(DatabaseServer server) {
    return "jdbc:mariadb://127.0.0.1:%d/%s?allowPublicKeyRetrieval=true"
        .formatted(server.port(), server.database());
  }

  @Override
  String verifiedUrl(DatabaseServer server) {
    return "%s&sslMode=%s&serverSslCert=%s"
        .formatted(url(server), strictestSslMode(), server.certificate());
  }

  abstract String strictestSslMode();

  @Override
  String cipher(Statement statement) throws SQLException {
    try (ResultSet row = statement.executeQuery("SHOW STATUS LIKE 'Ssl_cipher'")) {
      assertThat(row.next()).isTrue();
      return row.getString(2);
    }
  }

  @Override
  String sleep(int seconds) {
    return "SELECT SLEEP(" + seconds + ")";
  }

  @Test
  void anOffset_isAnOption_isTheZoneOfSessions() throws SQLException {
    try (DatabaseServer server = start("--default-time-zone=+05:30")) {
      assertThat(query(server, server.database(), "SELECT FROM_UNIXTIME(0)"))
          .startsWith("1970-01-01 05:30:00");
    }
  }

  @Test
  void theZone_isGiven_isThatOfSessionsWithItsSummerTimeAlsoAfterARestart() throws SQLException {
    try (MySqlFamily server = startInZone(NEW_YORK)) {
      for (int start = 0; start < 2; start++) {
        String database = server.database();
        assertThat(query(server, database, "SELECT @@session.time_zone"))
            .isEqualTo("America/New_York");
        // Winter, summer, and the last second before and the first after each change of 2026.
        assertThat(fromUnixTime(server, "2026-01-15T12:00:00")).startsWith("2026-01-15 07:00:00");
        assertThat(fromUnixTime(server, "2026-07-15T12:00:00")).startsWith("2026-07-15 08:00:00");
        assertThat(fromUnixTime(server, "2026-03-08T06:59:59")).startsWith("2026-03-08 01:59:59");
        assertThat(fromUnixTime(server, "2026-03-08T07:00:00")).startsWith("2026-03-08 03:00:00");
        assertThat(fromUnixTime(server, "2026-11-01T05:59:59")).startsWith("2026-11-01 01:59:59");
        assertThat(fromUnixTime(server, "2026-11-01T06:00:00")).startsWith("2026-11-01 01:00:00");
        assertThat(fromUnixTime(server, "2037-07-15T12:00:00")).startsWith("2037-07-15 08:00:00");
        server.restart();
      }
    }
  }

  private static String fromUnixTime(DatabaseServer server, String utc) throws SQLException {
    long seconds = LocalDateTime.parse(utc).toEpochSecond(ZoneOffset.UTC);
    return query(server, server.database(), "SELECT CAST(FROM_UNIXTIME(" + seconds + ") AS CHAR)");
  }

  @Test
  void aZone_isNotLoaded_isUnknown() {
    assertThatThrownBy(() -> update(shared(), "asherah", "SET time_zone = 'Asia/Tokyo'"))
        .isInstanceOf(SQLException.class);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Europe/Dublin",
        "Africa/Casablanca",
        "America/Sao_Paulo",
        "Etc/GMT+12",
        "UTC"
      })
  void aZone_isLoaded_hasTheOffsetsThatJavaKnows(String name) throws SQLException {
    MySqlFamily server = shared();
    ZoneId zone = ZoneId.of(name);

    server.loadTimeZones(zone);
    server.loadTimeZones(zone);

    for (int month = 0; month < 600; month += 7) {
      LocalDateTime utc = LocalDateTime.of(1971, 1, 15, 12, 0).plusMonths(month);
      LocalDateTime there = utc.atOffset(ZoneOffset.UTC).atZoneSameInstant(zone).toLocalDateTime();
      String sql = "SELECT CAST(CONVERT_TZ('%s', '+00:00', '%s') AS CHAR)".formatted(utc, name);
      assertThat(query(server, server.database(), sql).replace(' ', 'T'))
          .startsWith(there.toString());
    }
  }
}
