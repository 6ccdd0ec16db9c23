package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.asherah.reactive.testsupport.Samples;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.util.retry.Retry;

/** The code of docs/metastores.md, between the marks below, and its other facts. */
class MetastoresGuideIT {
  private static final Duration TIMEOUT = Duration.ofSeconds(30);

  @Test
  void codeOfTheGuide_works() {
    PostgreSqlServer.unavailable().ifPresent(Assumptions::abort);
    PostgreSqlServer server = PostgreSqlServer.shared();
    ConnectionFactoryOptions options =
        Databases.options("postgresql", server, server.newDatabase());
    Queue<String> audit = new ConcurrentLinkedQueue<>();

    // create
    ConnectionPool pool =
        new ConnectionPool(
            ConnectionPoolConfiguration.builder(ConnectionFactories.get(options))
                .maxSize(10)
                .maxCreateConnectionTime(Duration.ofSeconds(10))
                .maxValidationTime(Duration.ofSeconds(2))
                .build());
    R2dbcMetastore metastore = R2dbcMetastore.create(pool);

    Mono<Void> ready =
        metastore
            .schema()
            .create()
            .then(metastore.schema().validate())
            .retryWhen(
                Retry.backoff(5, Duration.ofSeconds(1))
                    .filter(e -> e instanceof MetastoreException failure && failure.isRetryable()));
    // end

    ready.block(TIMEOUT);
    store(metastore, "_IK_a_service_product", "2025-12-31T23:59:00Z");
    store(metastore, "_IK_a_service_product", "2026-01-01T00:00:00Z");
    store(metastore, "_SK_service_product", "2025-12-31T23:59:00Z");

    // revoke
    KeySelector old =
        KeySelector.idPrefix("_IK_").createdBefore(Instant.parse("2026-01-01T00:00:00Z"));

    Mono<Long> revoked =
        metastore
            .list(old) // the dry run
            .doOnNext(key -> audit.add("will revoke " + key.meta().id()))
            .then(metastore.revoke(old));
    // end

    assertThat(revoked.block(TIMEOUT)).isOne();
    assertThat(audit).containsExactly("will revoke _IK_a_service_product");
    assertThat(metastore.list(KeySelector.idPrefix("")).collectList().block(TIMEOUT))
        .filteredOn(key -> key.isRevoked())
        .singleElement()
        .satisfies(key -> assertThat(key.meta().id()).isEqualTo("_IK_a_service_product"));
    pool.dispose();
  }

  private static void store(R2dbcMetastore metastore, String id, String created) {
    Instant time = Instant.parse(created);
    assertThat(
            metastore
                .store(id, time, new EnvelopeKeyRecord(time, new byte[60], null, false))
                .block(TIMEOUT))
        .isTrue();
  }

  @Test
  void urlOfTheGuide_isThatOfADriver() {
    // options
    ConnectionFactoryOptions options =
        ConnectionFactoryOptions.parse("r2dbc:postgresql://user:password@host:5432/database");
    // end

    assertThat(SqlDialect.of(ConnectionFactories.get(options))).hasToString("PostgreSQL");
  }

  @Test
  void codeInTheGuide_isTheCodeAbove() throws IOException {
    assertThat(Samples.inDocument("docs/metastores.md", "java"))
        .containsExactly(
            Samples.inTest(MetastoresGuideIT.class, "options"),
            Samples.inTest(MetastoresGuideIT.class, "create"),
            Samples.inTest(MetastoresGuideIT.class, "revoke"));
  }

  @Test
  void ddlInTheGuide_isThatOfTheDialects() throws IOException {
    List<String> ddl =
        Stream.of(
                SqlDialect.postgreSql(),
                SqlDialect.mySql(),
                SqlDialect.h2(),
                SqlDialect.sqlServer(),
                SqlDialect.oracle())
            .map(dialect -> String.join("\n\n", dialect.ddl("encryption_key")) + "\n")
            .toList();

    assertThat(Samples.inDocument("docs/metastores.md", "sql")).isEqualTo(ddl);
  }

  @Test
  void versionsInTheGuide_areThoseOfTheBuild() throws IOException {
    String guide = Files.readString(Path.of("../docs/metastores.md"));
    String build = Files.readString(Path.of("../pom.xml"));
    List<String> versions =
        Pattern.compile("<(?:r2dbc-(?!spi|pool)\\w+|mariadb-server)\\.version>([^<]+)<")
            .matcher(build)
            .results()
            .map(version -> version.group(1))
            .toList();

    assertThat(versions).hasSize(7).allMatch(guide::contains);
  }

  /** What tells the dialect of a factory that a pool wraps. */
  @Test
  void dialect_isThatOfTheDriverInAPool() {
    ConnectionFactory factory = ConnectionFactories.get("r2dbc:mssql://user:word@localhost/name");
    ConnectionPool pool =
        new ConnectionPool(ConnectionPoolConfiguration.builder(factory).initialSize(0).build());

    assertThat(SqlDialect.of(pool)).hasToString("SQL Server");
    pool.dispose();
  }
}
