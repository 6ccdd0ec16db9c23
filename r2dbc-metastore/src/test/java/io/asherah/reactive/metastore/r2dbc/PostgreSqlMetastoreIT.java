package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.spi.ConnectionFactoryOptions;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

class PostgreSqlMetastoreIT extends MetastoreContract {
  @Override
  ConnectionFactoryOptions newDatabase() {
    PostgreSqlServer.unavailable().ifPresent(Assumptions::abort);
    PostgreSqlServer server = PostgreSqlServer.shared();
    return Databases.options("postgresql", server, server.newDatabase());
  }

  /** Any server takes a setting whose name has a dot. */
  @Test
  void auroraReadConsistency_reachesTheSession() {
    ConnectionPool one = pool(1);
    R2dbcMetastore aurora =
        patient(one).auroraReadConsistency(AuroraReadConsistency.SESSION).build();
    aurora.loadLatest("_SK_absent").block(TIMEOUT);

    String setting =
        one.create()
            .flatMap(
                connection ->
                    Flux.from(
                            connection
                                .createStatement("SHOW apg_write_forward.consistency_mode")
                                .execute())
                        .concatMap(
                            result -> result.map((row, metadata) -> row.get(0, String.class)))
                        .single())
            .block(TIMEOUT);

    assertThat(setting).isEqualTo("session");
    one.dispose();
  }

  /** A collation of ICU that folds case, which every comparison with the column uses. */
  @Test
  void inventory_ofAColumnThatFoldsCase_comparesExactly() {
    PostgreSqlServer server = PostgreSqlServer.shared();
    String database = server.newDatabase();
    Databases.execute(
        server.dataSource(database),
        "CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic ="
            + " false)");
    Databases.createTable(server.dataSource(database), "TIMESTAMP", "TEXT");
    Databases.execute(
        server.dataSource(database),
        "ALTER TABLE encryption_key ALTER COLUMN id TYPE VARCHAR(255) COLLATE folding");
    R2dbcMetastore folding = patient(Driver.POSTGRESQL.connections(server, database)).build();
    Instant lower = Instant.ofEpochSecond(60);
    Instant upper = Instant.ofEpochSecond(120);
    folding
        .store("_IK_bob", lower, new EnvelopeKeyRecord(lower, new byte[1], null, false))
        .then(
            folding.store("_IK_Bob", upper, new EnvelopeKeyRecord(upper, new byte[1], null, false)))
        .block(TIMEOUT);

    assertThat(folding.list(KeySelector.idPrefix("_IK_b")).collectList().block(TIMEOUT)).hasSize(1);
    assertThat(folding.revoke(KeySelector.id("_IK_bob")).block(TIMEOUT)).isOne();
    assertThat(folding.delete(KeySelector.idPrefix("_IK_b")).block(TIMEOUT)).isOne();
    assertThat(folding.delete(KeySelector.id("_IK_bob")).block(TIMEOUT)).isZero();
    assertThat(folding.load("_IK_Bob", upper).block(TIMEOUT)).isNotNull();
  }

  @Test
  void idWithANulCharacter_isAnError_andNoAbsence() {
    String id = "_SK_" + (char) 0;
    Instant created = Instant.ofEpochSecond(60);
    for (Mono<?> call :
        List.of(
            metastore().load(id, created),
            metastore().loadLatest(id),
            metastore()
                .store(id, created, new EnvelopeKeyRecord(created, new byte[1], null, false)))) {
      StepVerifier.create(call).expectError(MetastoreException.class).verify(TIMEOUT);
    }
  }
}
