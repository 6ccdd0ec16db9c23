package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testservers.MariaDbServer;
import io.asherah.reactive.testservers.MySqlServer;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.netty.handler.ssl.SslContextBuilder;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryOptions;
import io.r2dbc.spi.Option;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Hooks;

/** The options for TLS that docs/metastores.md names. */
@ParameterizedClass
@EnumSource
@SuppressWarnings("NullAway.Init") // JUnit calls what initializes the fields
class TlsIT {
  private static final Duration TIMEOUT = Duration.ofSeconds(30);
  private static final String ELSEWHERE = "127.0.0.2";
  private static final String MYSQL_CIPHER = "SHOW STATUS LIKE 'Ssl_cipher'";

  /** Of no server. */
  private static final String OTHER_CERTIFICATE =
      """
      -----BEGIN CERTIFICATE-----
      MIIBODCB36ADAgECAggSEPGxfIsiLzAKBggqhkjOPQQDAjAQMQ4wDAYDVQQDEwVv
      dGhlcjAgFw0yMDAxMDEwMDAwMDBaGA8yMTE5MTIwODAwMDAwMFowEDEOMAwGA1UE
      AxMFb3RoZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARxansXmTdlc8qhPch5
      QSxb5CUW97iV6rlfOu+W2zCdJ2XhCZ7CkmqT3o7g6bO9636wIPTwKRzKFEydsq33
      4FXToyEwHzAdBgNVHQ4EFgQUyF6QY4UuoX0mSEWzSZeeyncnHeYwCgYIKoZIzj0E
      AwIDSAAwRQIhAMnmMyPsOLnCdjix1fB7qKIRKaDafZSSudmof0pD8rUwAiBwJKve
      N8ndzV7s29OL4zEln2gGEmuB9NH5a/N2RWDyTA==
      -----END CERTIFICATE-----
      """;

  /** A driver, a server, and the strictest check that its certificate allows. */
  enum Session {
    POSTGRESQL(
        "postgresql",
        PostgreSqlServer::unavailable,
        PostgreSqlServer::shared,
        "sslRootCert",
        "verify-full",
        null,
        Map.of(),
        "SELECT version, cipher FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()"),
    MARIADB(
        "mariadb",
        MariaDbServer::unavailable,
        MariaDbServer::shared,
        "serverSslCert",
        "verify-full",
        null,
        Map.of(),
        MYSQL_CIPHER),
    MARIADB_BY_MYSQL_DRIVER(
        "mysql",
        MariaDbServer::unavailable,
        MariaDbServer::shared,
        "sslCa",
        "verify_identity",
        null,
        Map.of(),
        MYSQL_CIPHER),
    MYSQL(
        "mysql",
        MySqlServer::unavailable,
        MySqlServer::shared,
        "sslCa",
        "verify_ca",
        "verify_identity",
        Map.of("sslContextBuilderCustomizer", diffieHellman()),
        MYSQL_CIPHER),
    MYSQL_BY_MARIADB_DRIVER(
        "mariadb",
        MySqlServer::unavailable,
        MySqlServer::shared,
        "serverSslCert",
        "verify-ca",
        "verify-full",
        Map.of("sslContextBuilderCustomizer", diffieHellman()),
        MYSQL_CIPHER);

    private final String driver;
    private final Supplier<Optional<String>> unavailable;
    private final Supplier<? extends DatabaseServer> server;
    private final String certificateOption;
    private final String mode;

    /** That which checks the host too, where {@link #mode} does not. */
    private final @Nullable String strictMode;

    private final Map<String, Object> options;
    private final String cipher;

    Session(
        String driver,
        Supplier<Optional<String>> unavailable,
        Supplier<? extends DatabaseServer> server,
        String certificateOption,
        String mode,
        @Nullable String strictMode,
        Map<String, Object> options,
        String cipher) {
      this.driver = driver;
      this.unavailable = unavailable;
      this.server = server;
      this.certificateOption = certificateOption;
      this.mode = mode;
      this.strictMode = strictMode;
      this.options = options;
      this.cipher = cipher;
    }

    /** MySQL 8.0.15 has no other that Netty offers and JDK 25 allows. */
    private static UnaryOperator<SslContextBuilder> diffieHellman() {
      return context -> context.ciphers(List.of("TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"));
    }

    /** A server that listens on another address than those in its certificate. */
    DatabaseServer startElsewhere() {
      String addresses = "127.0.0.1," + ELSEWHERE;
      return this == POSTGRESQL
          ? PostgreSqlServer.start("-c", "listen_addresses=" + addresses)
          : MariaDbServer.start("--bind-address=" + addresses);
    }
  }

  @Parameter private Session session;
  private final Queue<Throwable> dropped = new ConcurrentLinkedQueue<>();

  @BeforeEach
  final void checkAvailable() {
    session.unavailable.get().ifPresent(Assumptions::abort);
    Hooks.resetOnErrorDropped();
    Hooks.onErrorDropped(dropped::add);
  }

  /** MySQL's driver reports the end of a connection after it has said why. */
  @AfterEach
  final void checkDropped() {
    Databases.settleDrivers();
    assertThat(dropped)
        .allSatisfy(e -> assertThat(e).hasMessageContaining("Connection unexpectedly closed"));
  }

  private ConnectionFactory connections(
      DatabaseServer server, String database, String host, Path certificate) {
    return connections(server, database, host, certificate, session.mode);
  }

  private ConnectionFactory connections(
      DatabaseServer server, String database, String host, Path certificate, String mode) {
    ConnectionFactoryOptions.Builder options =
        Databases.options(session.driver, server, database)
            .mutate()
            .option(ConnectionFactoryOptions.HOST, host)
            .option(Option.valueOf("sslMode"), mode)
            .option(Option.valueOf(session.certificateOption), certificate.toString());
    session.options.forEach((name, value) -> options.option(Option.valueOf(name), value));
    return ConnectionFactories.get(options.build());
  }

  @Test
  void certificateAndHost_areThoseOfTheServer_keysAreKeptBehindTls() {
    DatabaseServer server = session.server.get();
    ConnectionFactory connections =
        connections(server, server.newDatabase(), "localhost", server.certificate());
    R2dbcMetastore metastore = MetastoreContract.patient(connections).build();
    Instant created = Instant.ofEpochSecond(1_700_000_000);
    EnvelopeKeyRecord record = new EnvelopeKeyRecord(created, new byte[60], null, false);

    metastore.schema().create().block(TIMEOUT);
    assertThat(metastore.store("_SK_tls", created, record).block(TIMEOUT)).isTrue();

    assertThat(metastore.loadLatest("_SK_tls").block(TIMEOUT)).isEqualTo(record);
    assertThat(cipher(connections)).containsPattern("(?i)AES|CHACHA");
  }

  /** What the server says the session is encrypted with. */
  private @Nullable String cipher(ConnectionFactory connections) {
    return Flux.usingWhen(
            connections.create(),
            connection ->
                Flux.from(connection.createStatement(session.cipher).execute())
                    .flatMap(result -> result.map((row, of) -> row.get(1, String.class))),
            Connection::close)
        .blockFirst(TIMEOUT);
  }

  @Test
  void certificate_isAnother_isRefusedForGood() throws IOException {
    DatabaseServer server = session.server.get();

    assertRefused(connections(server, server.database(), "localhost", otherCertificate()));
  }

  private static Path otherCertificate() throws IOException {
    Path file = Files.createTempFile("other", ".pem");
    file.toFile().deleteOnExit();
    return Files.writeString(file, OTHER_CERTIFICATE);
  }

  @Test
  void host_isNotInTheCertificate_isRefusedForGood() {
    if (session.strictMode != null) {
      DatabaseServer server = session.server.get();
      assertRefused(
          connections(
              server, server.database(), "localhost", server.certificate(), session.strictMode));
      return;
    }
    try (DatabaseServer server = session.startElsewhere()) {
      assertThat(cipher(connections(server, server.database(), "127.0.0.1", server.certificate())))
          .isNotEmpty();

      assertRefused(connections(server, server.database(), ELSEWHERE, server.certificate()));
    }
  }

  private static void assertRefused(ConnectionFactory connections) {
    R2dbcMetastore metastore =
        R2dbcMetastore.builder(connections).acquireTimeout(Duration.ofSeconds(10)).build();

    MetastoreException refused =
        catchThrowableOfType(
            MetastoreException.class, () -> metastore.loadLatest("_SK_tls").block(TIMEOUT));

    assertThat(refused).hasMessageEndingWith("; " + Failure.TLS.fix);
    assertThat(refused.isRetryable()).isFalse();
  }
}
