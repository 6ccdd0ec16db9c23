package io.asherah.reactive.metastore.r2dbc;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.godaddy.asherah.appencryption.persistence.JdbcMetastoreImpl;
import com.godaddy.asherah.crypto.NeverExpiredCryptoPolicy;
import com.zaxxer.hikari.HikariDataSource;
import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.DataRowRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testservers.MariaDbServer;
import io.asherah.reactive.testservers.MySqlServer;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import io.r2dbc.spi.ConnectionFactories;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TimeZone;
import java.util.function.Supplier;
import java.util.stream.Stream;
import javax.sql.DataSource;
import org.json.JSONObject;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Mono;

/**
 * Shares a table with canonical Java and its JDBC metastore: keys and records of either side are
 * the other's too, and so are revocations.
 *
 * <p>Canonical Java writes {@code created} in the zone of its JVM, which is this one, and so a test
 * changes the zone of this JVM while it runs. It never makes a key at the same moment as we do: on
 * PostgreSQL it throws where a key is there already.
 */
@ParameterizedClass
@EnumSource(CanonicalJdbcIT.SharedTable.class)
class CanonicalJdbcIT {
  private static final String PRODUCT = "product";
  private static final String MASTER_KEY = "thisIsAStaticMasterKeyForTesting";
  private static final Duration KEY_EXPIRY = Duration.ofDays(90);
  private static final List<String> PARTITIONS =
      List.of(
          "partition",
          " with  spaces and_underscores ",
          "sp\u00e4\u00dfe-\u65e5\u672c\u8a9e-\ud83d\udd11",
          "long ".repeat(40));

  private static final List<String> ALIKE =
      List.of("Partition", "p\u00e4rtition", "pa\u0308rtition");

  /** A table as we create it, or as the documentation of other implementations does. */
  enum SharedTable {
    POSTGRESQL("postgresql", PostgreSqlServer::shared, null, "UTC"),
    POSTGRESQL_IN_ANY_ZONE("postgresql", PostgreSqlServer::shared, null, "Asia/Kolkata"),
    POSTGRESQL_REFERENCE("postgresql", PostgreSqlServer::shared, "TEXT", "UTC"),
    POSTGRESQL_REFERENCE_IN_ZONE("postgresql", PostgreSqlServer::shared, "TEXT", "Asia/Kolkata"),
    MARIADB("mariadb", MariaDbServer::shared, null, "UTC"),
    MARIADB_REFERENCE("mariadb", MariaDbServer::shared, "TEXT", "UTC"),
    MARIADB_REFERENCE_IN_ZONE("mariadb", MariaDbServer::shared, "TEXT", "Asia/Kolkata"),
    MYSQL("mysql", MySqlServer::shared, null, "UTC"),
    MYSQL_REFERENCE("mysql", MySqlServer::shared, "TEXT", "UTC"),
    MYSQL_REFERENCE_JSON("mysql", MySqlServer::shared, "JSON", "UTC");

    private final String driver;
    private final Supplier<DatabaseServer> server;
    private final @Nullable String referenceType;
    private final ZoneId zone;

    SharedTable(
        String driver,
        Supplier<DatabaseServer> server,
        @Nullable String referenceType,
        String zone) {
      this.driver = driver;
      this.server = server;
      this.referenceType = referenceType;
      this.zone = ZoneId.of(zone);
    }

    boolean isOurs() {
      return referenceType == null;
    }

    /** Our table in PostgreSQL keeps moments, so zones do not matter to it. */
    ZoneId createdZone() {
      return isOurs() ? ZoneOffset.UTC : zone;
    }

    Optional<String> unavailable() {
      return switch (driver) {
        case "postgresql" -> PostgreSqlServer.unavailable();
        case "mariadb" -> MariaDbServer.unavailable();
        default -> MySqlServer.unavailable();
      };
    }

    /** The columns of other tables may fold case and accents. */
    List<String> partitions() {
      return isOurs() ? Stream.concat(PARTITIONS.stream(), ALIKE.stream()).toList() : PARTITIONS;
    }

    List<String> referenceDdl() {
      boolean isPostgreSql = driver.equals("postgresql");
      return List.of(
          """
          CREATE TABLE encryption_key (
            id         VARCHAR(255) NOT NULL,
            created    TIMESTAMP    NOT NULL DEFAULT CURRENT_TIMESTAMP,
            key_record %s           NOT NULL,
            PRIMARY KEY (id, created)
          )%s"""
              .formatted(referenceType, isPostgreSql ? "" : " DEFAULT CHARACTER SET utf8mb4"),
          "CREATE INDEX encryption_key_created ON encryption_key (created)");
    }
  }

  enum Side {
    OURS,
    THEIRS;

    Side other() {
      return this == OURS ? THEIRS : OURS;
    }
  }

  private static final Map<SharedTable, Opened> OPENED = new EnumMap<>(SharedTable.class);
  private static int services;

  private final TimeZone zoneBefore = TimeZone.getDefault();
  private final SharedTable table;
  private final DataSource dataSource;
  private final R2dbcMetastore metastore;
  private final String service = "service" + services++;
  private final SessionFactory ours;
  private final com.godaddy.asherah.appencryption.SessionFactory theirs;
  private Instant now = Instant.parse("2024-03-12T12:58:20Z");

  CanonicalJdbcIT(SharedTable table) {
    Optional<String> unavailable = table.unavailable();
    assumeTrue(unavailable.isEmpty(), () -> unavailable.orElseThrow());
    this.table = table;
    TimeZone.setDefault(TimeZone.getTimeZone(table.zone));
    Opened opened = OPENED.computeIfAbsent(table, Opened::new);
    dataSource = opened.dataSource;
    metastore = opened.metastore;
    ours =
        SessionFactory.builder(PRODUCT, service)
            .metastore(metastore)
            .keyManagementService(StaticKeyManagementService.ofUtf8(MASTER_KEY))
            .cryptoPolicy(CryptoPolicy.builder().keyExpiry(KEY_EXPIRY).cacheNothing().build())
            .clock(new TestClock())
            .callTimeout(MetastoreContract.TIMEOUT)
            .loadTimeout(MetastoreContract.TIMEOUT)
            .build();
    theirs =
        com.godaddy.asherah.appencryption.SessionFactory.newBuilder(PRODUCT, service)
            .withMetastore(JdbcMetastoreImpl.newBuilder(dataSource).build())
            .withCryptoPolicy(new TestPolicy())
            .withStaticKeyManagementService(MASTER_KEY)
            .build();
  }

  @AfterEach
  void closeFactories() {
    TimeZone.setDefault(zoneBefore);
    theirs.close();
    ours.close().block(MetastoreContract.TIMEOUT);
  }

  @AfterAll
  static void closePools() {
    OPENED.values().forEach(Opened::close);
    OPENED.clear();
  }

  private static void createAsReferenced(SharedTable table, DataSource dataSource) {
    try (Connection connection = dataSource.getConnection();
        Statement ddl = connection.createStatement()) {
      for (String statement : table.referenceDdl()) {
        ddl.execute(statement);
      }
    } catch (SQLException e) {
      throw new AssertionError(e);
    }
  }

  /** What tests of one table have in common. */
  private static final class Opened {
    final HikariDataSource dataSource = new HikariDataSource();
    final ConnectionPool pool;
    final R2dbcMetastore metastore;

    Opened(SharedTable table) {
      DatabaseServer server = table.server.get();
      String database = server.newDatabase();
      dataSource.setDataSource(server.dataSource(database));
      dataSource.setMaximumPoolSize(1);
      pool =
          new ConnectionPool(
              ConnectionPoolConfiguration.builder(
                      ConnectionFactories.get(Databases.options(table.driver, server, database)))
                  .initialSize(0)
                  .maxSize(5)
                  .build());
      metastore = MetastoreContract.patient(pool).createdZone(table.createdZone()).build();
      if (table.isOurs()) {
        metastore.schema().create().block(MetastoreContract.TIMEOUT);
      } else {
        createAsReferenced(table, dataSource);
      }
    }

    void close() {
      pool.dispose();
      dataSource.close();
    }
  }

  @ParameterizedTest
  @EnumSource
  void records_areExchanged_whoeverMadeTheKeys(Side first) {
    List<byte[]> payloads =
        List.of(
            new byte[0],
            "plain ASCII".getBytes(UTF_8),
            "sp\u00e4\u00dfe \u65e5\u672c\u8a9e \ud83d\udd11".getBytes(UTF_8),
            everyByte());
    int next = 0;
    for (String partition : table.partitions()) {
      byte[] payload = payloads.get(next++ % payloads.size());
      byte[] one = encrypt(first, partition, payload);
      byte[] other = encrypt(first.other(), partition, payload);

      assertOpen(partition, payload, one, other);
      assertThat(intermediateKey(other)).isEqualTo(intermediateKey(one));
    }
    // Nobody made a key that was there already.
    assertThat(keys("_SK_")).hasSize(1);
    assertThat(keys("_IK_")).hasSize(table.partitions().size());
  }

  @ParameterizedTest
  @CsvSource({"OURS, _IK_", "OURS, _SK_", "THEIRS, _IK_", "THEIRS, _SK_"})
  void revokedKey_isHonouredByTheOtherSide_andOldRecordsStayReadable(Side side, String kind)
      throws SQLException {
    String partition = PARTITIONS.get(2);
    byte[] payload = everyByte();
    byte[] old = encrypt(side, partition, payload);
    byte[] oldOfOther = encrypt(side.other(), partition, payload);
    KeyMeta revoked = keys(kind).get(0);
    pass(Duration.ofMinutes(2));

    revoke(side, revoked);

    byte[] fresh = encrypt(side.other(), partition, payload);
    byte[] freshToo = encrypt(side, partition, payload);
    assertThat(intermediateKey(fresh)).isNotEqualTo(intermediateKey(old));
    assertThat(intermediateKey(freshToo)).isEqualTo(intermediateKey(fresh));
    assertThat(systemKeyOf(fresh).equals(systemKeyOf(old))).isEqualTo(kind.equals("_IK_"));
    assertThat(keys(kind)).hasSize(2).contains(revoked);
    assertOpen(partition, payload, old, oldOfOther, fresh, freshToo);
  }

  @ParameterizedTest
  @EnumSource
  void expiredKeys_areRotatedByEitherSide_andAllRecordsStayReadable(Side first) {
    String partition = PARTITIONS.get(1);
    byte[] payload = everyByte();
    List<byte[]> records = new ArrayList<>();
    Side rotates = first;
    for (int generation = 1; generation <= 3; generation++) {
      records.add(encrypt(rotates, partition, payload));
      records.add(encrypt(rotates.other(), partition, payload));

      assertThat(keys("_SK_")).hasSize(generation);
      assertThat(keys("_IK_")).hasSize(generation);
      rotates = rotates.other();
      pass(KEY_EXPIRY.plusMinutes(1));
    }
    assertOpen(partition, payload, records.toArray(byte[][]::new));
    assertThat(records.stream().map(this::intermediateKey).distinct()).hasSize(3);
  }

  @ParameterizedTest
  @ValueSource(strings = {"_IK_", "_SK_"})
  void manyKeys_areRevokedByUs_asByTheirScript(String kind) throws SQLException {
    for (String partition : List.of("one", "two")) {
      encrypt(Side.OURS, partition, everyByte());
    }
    List<KeyMeta> all = keys(kind);
    pass(Duration.ofMinutes(2));

    KeySelector selector = KeySelector.idPrefix(kind).createdBefore(now);
    Long revoked = metastore.revoke(selector).block(MetastoreContract.TIMEOUT);

    assertThat(revoked).isGreaterThanOrEqualTo(all.size());
    for (KeyMeta key : all) {
      assertThat(record(key).getBoolean("Revoked")).isTrue();
    }
  }

  // What either side does.

  private byte[] encrypt(Side side, String partition, byte[] payload) {
    if (side == Side.OURS) {
      return get(ours.session(partition).encryptToJson(payload));
    }
    try (var session = theirs.getSessionBytes(partition)) {
      return session.encrypt(payload);
    }
  }

  /** Both sides read all of these. */
  private void assertOpen(String partition, byte[] payload, byte[]... records) {
    try (var session = theirs.getSessionBytes(partition)) {
      for (byte[] json : records) {
        assertThat(get(ours.session(partition).decryptJson(json))).isEqualTo(payload);
        assertThat(session.decrypt(json)).isEqualTo(payload);
      }
    }
  }

  private void revoke(Side side, KeyMeta key) throws SQLException {
    if (side == Side.OURS) {
      assertThat(get(metastore.revoke(KeySelector.version(key)))).isEqualTo(1);
    } else {
      revokeAsTheirScript(key);
    }
  }

  /** Changes the text as {@code revoke_keys_mysql.py} does. */
  private void revokeAsTheirScript(KeyMeta key) throws SQLException {
    String revoked = record(key).put("Revoked", true).toString();
    try (Connection connection = dataSource.getConnection();
        PreparedStatement update =
            connection.prepareStatement(
                "UPDATE encryption_key SET key_record = ? WHERE id = ? AND created = ?")) {
      update.setString(1, revoked);
      update.setString(2, key.id());
      update.setTimestamp(3, Timestamp.from(key.created()));
      assertThat(update.executeUpdate()).isEqualTo(1);
    }
  }

  // What is in the table.

  private List<KeyMeta> keys(String kind) {
    return get(
            metastore
                .list(KeySelector.idPrefix(kind))
                .map(key -> key.meta())
                .filter(key -> key.id().endsWith("_" + service + "_" + PRODUCT))
                .collectList())
        .stream()
        .toList();
  }

  /** By the statement of canonical Java. */
  private JSONObject record(KeyMeta key) throws SQLException {
    try (Connection connection = dataSource.getConnection();
        PreparedStatement select =
            connection.prepareStatement(
                "SELECT key_record FROM encryption_key WHERE id = ? AND created = ?")) {
      select.setString(1, key.id());
      select.setTimestamp(2, Timestamp.from(key.created()));
      try (ResultSet rows = select.executeQuery()) {
        assertThat(rows.next()).isTrue();
        return new JSONObject(rows.getString(1));
      }
    }
  }

  private KeyMeta intermediateKey(byte[] json) {
    return DataRowRecord.fromJson(json).key().parentKeyMeta().orElseThrow();
  }

  private KeyMeta systemKeyOf(byte[] json) {
    KeyMeta key = intermediateKey(json);
    return get(metastore.load(key.id(), key.created())).parentKeyMeta().orElseThrow();
  }

  private static byte[] everyByte() {
    byte[] all = new byte[256];
    for (int i = 0; i < all.length; i++) {
      all[i] = (byte) i;
    }
    return all;
  }

  private static <T> T get(Mono<T> mono) {
    return Objects.requireNonNull(mono.block(MetastoreContract.TIMEOUT));
  }

  // The time, which is the same for both.

  private void pass(Duration duration) {
    now = now.plus(duration);
  }

  private final class TestClock extends Clock {
    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      return this;
    }

    @Override
    public Instant instant() {
      return now;
    }
  }

  /** Canonical Java has no clock, but asks its policy about each time it uses. */
  private final class TestPolicy extends NeverExpiredCryptoPolicy {
    @Override
    public boolean isKeyExpired(Instant created) {
      return created.plus(KEY_EXPIRY).isBefore(now);
    }

    @Override
    public boolean canCacheSystemKeys() {
      return false;
    }

    @Override
    public boolean canCacheIntermediateKeys() {
      return false;
    }

    @Override
    public Instant truncateToSystemKeyPrecision(Instant ignored) {
      return now.truncatedTo(ChronoUnit.MINUTES);
    }

    @Override
    public Instant truncateToIntermediateKeyPrecision(Instant ignored) {
      return now.truncatedTo(ChronoUnit.MINUTES);
    }
  }
}
