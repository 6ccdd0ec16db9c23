package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import com.godaddy.asherah.appencryption.persistence.JdbcMetastoreImpl;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.testsupport.ChildJvm;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.sql.SQLException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import javax.sql.DataSource;
import org.h2.jdbcx.JdbcDataSource;
import org.json.JSONObject;
import org.mariadb.jdbc.MariaDbDataSource;
import org.postgresql.ds.PGSimpleDataSource;

/**
 * Canonical Java on a JVM of its own: its drivers write times in the zone that the JVM started in.
 */
final class CanonicalJava {
  private CanonicalJava() {}

  /** Stores keys in each of the databases. */
  static void store(String zone, String id, List<Instant> times, List<String> jdbcUrls, Path dir) {
    run("store", zone, id, times, jdbcUrls, dir);
  }

  /** Loads keys from each of the databases, and the latest of them. */
  static void find(String zone, String id, List<Instant> times, List<String> jdbcUrls, Path dir) {
    run("find", zone, id, times, jdbcUrls, dir);
  }

  private static void run(
      String what, String zone, String id, List<Instant> times, List<String> urls, Path dir) {
    List<String> arguments = new ArrayList<>(List.of(what, id));
    arguments.add(String.join(",", times.stream().map(Instant::toString).toList()));
    arguments.addAll(urls);
    ChildJvm.Ended ended =
        ChildJvm.main(CanonicalJava.class, arguments.toArray(String[]::new))
            .options("-Duser.timezone=" + zone, "-XX:TieredStopAtLevel=1")
            .run(dir);
    assertThat(ended.exitCode()).as("%s", ended).isZero();
    assertThat(ended.out()).hasSameSizeAs(urls);
  }

  public static void main(String[] arguments) throws SQLException {
    List<Instant> times = Stream.of(arguments[2].split(",")).map(Instant::parse).toList();
    for (String url : Arrays.asList(arguments).subList(3, arguments.length)) {
      JdbcMetastoreImpl metastore = JdbcMetastoreImpl.newBuilder(dataSource(url)).build();
      String id = arguments[1];
      for (Instant time : times) {
        if (arguments[0].equals("store")) {
          byte[] json = new EnvelopeKeyRecord(time, new byte[60], null, false).toJson();
          String text = new String(json, StandardCharsets.UTF_8);
          assertThat(metastore.store(id, time, new JSONObject(text))).as(url).isTrue();
        } else {
          assertThat(metastore.load(id, time).orElseThrow().getLong("Created"))
              .as("%s at %s in %s", id, time, url)
              .isEqualTo(time.getEpochSecond());
        }
      }
      assertThat(metastore.loadLatest(id).orElseThrow().getLong("Created"))
          .as("the latest %s in %s", id, url)
          .isEqualTo(times.get(times.size() - 1).getEpochSecond());
      System.out.println("done");
    }
  }

  static DataSource dataSource(String url) throws SQLException {
    if (url.startsWith("jdbc:h2:")) {
      JdbcDataSource h2 = new JdbcDataSource();
      h2.setURL(url);
      return h2;
    }
    if (url.startsWith("jdbc:postgresql:")) {
      PGSimpleDataSource postgreSql = new PGSimpleDataSource();
      postgreSql.setUrl(url);
      return postgreSql;
    }
    return new MariaDbDataSource(url);
  }
}
