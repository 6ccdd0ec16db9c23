package io.asherah.reactive.metastore.r2dbc;

import static io.asherah.reactive.metastore.r2dbc.TimeZoneCells.get;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.DataRowRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testservers.DatabaseServer;
import io.asherah.reactive.testservers.MariaDbServer;
import io.asherah.reactive.testservers.PostgreSqlServer;
import io.asherah.reactive.testsupport.ChildJvm;
import io.r2dbc.spi.ConnectionFactories;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A hundred session factories in several processes replace their keys at the same moment. */
class RotationIT {
  private static final int PROCESSES = 4;
  private static final String SYSTEM_KEY = "_SK_service_product";
  private static final String INTERMEDIATE_KEY = "_IK_partition_service_product";

  /** Whole minutes, of which the second and the third are when the keys before them expired. */
  private static final List<Instant> ROUNDS =
      IntStream.range(0, 3)
          .mapToObj(
              round ->
                  Instant.parse("2026-03-12T12:58:00Z")
                      .plus(RotatingFactories.KEY_EXPIRY.multipliedBy(2L * round)))
          .toList();

  @TempDir Path directory;

  /** How many keys could not be stored since there was one. */
  private int lost;

  @Test
  void manyFactoriesOnPostgreSql_makeOneKey_andReadEachOther() throws IOException {
    rotate(PostgreSqlServer.shared(), "postgresql");
  }

  @Test
  void manyFactoriesOnMariaDb_makeOneKey_andReadEachOther() throws IOException {
    rotate(MariaDbServer.shared(), "mariadb");
  }

  private void rotate(DatabaseServer server, String driver) throws IOException {
    String url = Databases.url(driver, server, server.newDatabase());
    R2dbcMetastore metastore = MetastoreContract.patient(ConnectionFactories.get(url)).build();
    metastore.schema().create().block(MetastoreContract.TIMEOUT);
    List<ChildJvm.Running> processes =
        IntStream.range(0, PROCESSES).mapToObj(i -> start("process" + i, url)).toList();
    try {
      processes.forEach(process -> process.awaitLine("ready"));
      List<String> records = new ArrayList<>();
      for (Instant round : ROUNDS) {
        records.addAll(encrypt(processes, round));
      }

      assertThat(get(metastore.list(KeySelector.idPrefix("")).collectList()))
          .extracting(KeyInfo::meta)
          .containsExactlyInAnyOrderElementsOf(
              ROUNDS.stream()
                  .flatMap(
                      round ->
                          Stream.of(
                              new KeyMeta(SYSTEM_KEY, round), new KeyMeta(INTERMEDIATE_KEY, round)))
                  .toList());
      Path file = Files.write(directory.resolve("records"), records);
      processes.forEach(process -> process.tell("decrypt " + file));
      processes.forEach(process -> process.awaitLine("decrypted " + records.size()));
      SessionFactory fresh =
          RotatingFactories.factory(metastore, Clock.fixed(ROUNDS.get(0), ZoneOffset.UTC));
      RotatingFactories.assertOpensAll(fresh.session("partition"), records);
      fresh.close().block(MetastoreContract.TIMEOUT);
      assertThat(lost).as("there was a race").isPositive();
    } finally {
      processes.forEach(ChildJvm.Running::close);
    }
  }

  private ChildJvm.Running start(String name, String url) {
    return ChildJvm.main(RotatingFactories.class, name, url)
        .options("-XX:TieredStopAtLevel=1")
        .start(directory);
  }

  /** What all factories wrote at this time, each record after its payload. */
  private List<String> encrypt(List<ChildJvm.Running> processes, Instant round) {
    long start = System.currentTimeMillis() + 300;
    processes.forEach(process -> process.tell("encrypt " + round + " " + start));
    String end = "encrypted " + round + " ";
    for (ChildJvm.Running process : processes) {
      lost += Integer.parseInt(process.awaitLine(end).substring(end.length()));
    }
    List<String> records =
        processes.stream()
            .flatMap(process -> process.out().stream())
            .filter(line -> line.startsWith("record ") && line.contains("-" + round + " "))
            .map(line -> line.substring("record ".length()))
            .toList();
    assertThat(records)
        .hasSize(PROCESSES * RotatingFactories.FACTORIES)
        .allSatisfy(
            record -> {
              String json = record.substring(record.indexOf(' ') + 1);
              assertThat(
                      DataRowRecord.fromJson(json.getBytes(StandardCharsets.UTF_8))
                          .key()
                          .parentKeyMeta())
                  .contains(new KeyMeta(INTERMEDIATE_KEY, round));
            });
    return records;
  }
}
