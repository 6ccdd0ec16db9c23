package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testsupport.Await;
import io.r2dbc.spi.ConnectionFactory;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import javax.sql.DataSource;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Rows that are there and are no key records. */
class MalformedRecordIT {
  private static final Duration TIMEOUT = Await.TIMEOUT;
  private static final Instant CREATED = Instant.parse("2024-05-06T07:08:09Z");
  private static final EnvelopeKeyRecord RECORD =
      new EnvelopeKeyRecord(CREATED, new byte[60], null, false);

  private static final List<@Nullable String> MALFORMED =
      Arrays.asList(
          null,
          "",
          "no JSON",
          "null",
          "[]",
          "{}",
          new String(RECORD.toJson(), StandardCharsets.UTF_8).substring(0, 40));

  @ParameterizedTest
  @EnumSource
  void malformedRecord_isAnErrorThatNamesTheRow_andNeverAbsence(Driver driver) {
    Table table = new Table(driver);
    for (String id : List.of("_SK_service_product", "_IK_secret_service_product")) {
      assertThat(table.metastore.store(id, CREATED, RECORD).block(TIMEOUT)).isTrue();
      for (String malformed : MALFORMED) {
        table.overwrite(id, malformed);

        for (Flux<?> read :
            List.of(
                table.metastore.load(id, CREATED).flux(),
                table.metastore.loadLatest(id).flux(),
                table.metastore.list(KeySelector.id(id)),
                table.metastore.list(KeySelector.idPrefix(id)))) {
          MetastoreException error = corruption(read.then());
          assertThat(error.getMessage())
              .as("%s with %s", id, malformed)
              .contains("malformed")
              .contains("2024-05-06 07:08:09")
              .contains(id.startsWith("_SK_") ? id : "_IK_****")
              .doesNotContain("secret");
          assertThat(error.getCause()).hasMessageContaining(id);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void malformedLatestKey_noneIsMintedOverIt(Driver driver) {
    Table table = new Table(driver);
    // A while ago, so that a key that is made now would be another row.
    Clock anHourAgo = Clock.offset(Clock.systemUTC(), Duration.ofHours(-1));
    encrypt(table.metastore, anHourAgo).block(TIMEOUT);
    List<String> before = table.ids();
    assertThat(before).hasSize(2);

    // The intermediate key first, then the system key too.
    for (String prefix : List.of("_IK_", "_SK_")) {
      String id = before.stream().filter(key -> key.startsWith(prefix)).findFirst().orElseThrow();
      for (String malformed : MALFORMED) {
        table.overwrite(id, malformed);

        corruption(encrypt(table.metastore, Clock.systemUTC()));

        assertThat(table.ids()).isEqualTo(before);
      }
      if (prefix.equals("_IK_")) {
        // So that the next ones need the system key, and nothing else.
        table.delete(id);
        before = table.ids();
      }
    }
  }

  private static MetastoreException corruption(Mono<?> call) {
    MetastoreException error =
        catchThrowableOfType(MetastoreException.class, () -> call.block(TIMEOUT));
    assertThat(error).isNotNull();
    assertThat(error.isRetryable()).isFalse();
    return error;
  }

  /** With a factory that knows no key. */
  private static Mono<?> encrypt(R2dbcMetastore metastore, Clock clock) {
    return Mono.usingWhen(
        Mono.fromSupplier(
            () ->
                SessionFactory.builder("product", "service")
                    .metastore(metastore)
                    .keyManagementService(
                        StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"))
                    .clock(clock)
                    .callTimeout(TIMEOUT)
                    .loadTimeout(TIMEOUT)
                    .build()),
        factory -> factory.session("partition").encrypt(new byte[10]),
        SessionFactory::close);
  }

  /** A table that takes NULL. */
  private static final class Table {
    final R2dbcMetastore metastore;
    private final DataSource jdbc;

    Table(Driver driver) {
      DatabaseServer server = driver.sharedServer();
      String database = server.newDatabase();
      ConnectionFactory connections = driver.connections(server, database);
      metastore = MetastoreContract.patient(connections).build();
      metastore.schema().create().block(TIMEOUT);
      jdbc = server.dataSource(database);
      execute(
          driver == Driver.POSTGRESQL
              ? "ALTER TABLE encryption_key ALTER COLUMN key_record DROP NOT NULL"
              : "ALTER TABLE encryption_key MODIFY key_record TEXT CHARACTER SET utf8mb4 NULL");
    }

    void overwrite(String id, @Nullable String record) {
      execute("UPDATE encryption_key SET key_record = ? WHERE id = ?", record, id);
    }

    void delete(String id) {
      execute("DELETE FROM encryption_key WHERE id = ?", id);
    }

    private void execute(String sql, @Nullable String... values) {
      try (Connection connection = jdbc.getConnection();
          PreparedStatement statement = connection.prepareStatement(sql)) {
        for (int i = 0; i < values.length; i++) {
          statement.setString(i + 1, values[i]);
        }
        int changed = statement.executeUpdate();
        assertThat(changed).isEqualTo(values.length == 0 ? 0 : 1);
      } catch (SQLException e) {
        throw new AssertionError(e);
      }
    }

    List<String> ids() {
      return Databases.ids(jdbc);
    }
  }
}
