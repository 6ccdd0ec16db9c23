package io.asherah.reactive.benchmarks.metastore;

import io.asherah.reactive.DataRowRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.metastore.r2dbc.R2dbcMetastore;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.r2dbc.postgresql.PostgresqlConnectionConfiguration;
import io.r2dbc.postgresql.PostgresqlConnectionFactory;
import io.r2dbc.spi.ConnectionFactory;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import javax.sql.DataSource;
import org.postgresql.ds.PGSimpleDataSource;
import reactor.core.publisher.Flux;

/** A PostgreSQL with the keys of some partitions, each of which has sealed a payload. */
final class Fixture implements AutoCloseable {
  static final String PRODUCT = "product";
  static final String SERVICE = "service";
  static final String MASTER_KEY = "thisIsAStaticMasterKeyForTesting";
  static final int CONNECTIONS = 10;
  static final byte[] PAYLOAD = new byte[1_024];
  private static final int PARTITIONS = 2_000;

  final PostgreSqlServer server = PostgreSqlServer.start();
  private final String database = server.newDatabase();
  private final List<Entry> entries;

  /** A partition, its intermediate key, and a record under that. */
  record Entry(String partition, KeyMeta key, byte[] json) {}

  Fixture() {
    R2dbcMetastore metastore = R2dbcMetastore.create(r2dbc(server.port()));
    metastore.schema().create().block();
    SessionFactory factory =
        SessionFactory.builder(PRODUCT, SERVICE)
            .metastore(metastore)
            .keyManagementService(StaticKeyManagementService.ofUtf8(MASTER_KEY))
            .build();
    entries =
        Flux.range(0, PARTITIONS)
            .map(i -> "partition-" + i)
            .flatMap(
                partition ->
                    factory
                        .session(partition)
                        .encryptToJson(PAYLOAD)
                        .map(json -> new Entry(partition, keyOf(json), json)),
                CONNECTIONS)
            .collectList()
            .block();
    factory.close().block();
  }

  private static KeyMeta keyOf(byte[] json) {
    return DataRowRecord.fromJson(json).key().parentKeyMeta().orElseThrow();
  }

  Entry any() {
    return entries.get(ThreadLocalRandom.current().nextInt(entries.size()));
  }

  ConnectionFactory r2dbc(int port) {
    return new PostgresqlConnectionFactory(
        PostgresqlConnectionConfiguration.builder()
            .host(server.host())
            .port(port)
            .database(database)
            .username(server.user())
            .password(server.password())
            .build());
  }

  DataSource jdbc(int port) {
    PGSimpleDataSource dataSource = new PGSimpleDataSource();
    dataSource.setServerNames(new String[] {server.host()});
    dataSource.setPortNumbers(new int[] {port});
    dataSource.setDatabaseName(database);
    dataSource.setUser(server.user());
    dataSource.setPassword(server.password());
    return dataSource;
  }

  @Override
  public void close() {
    server.close();
  }
}
