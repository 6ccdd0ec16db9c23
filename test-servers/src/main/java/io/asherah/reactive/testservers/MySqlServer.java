package io.asherah.reactive.testservers;

import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.zip.GZIPInputStream;

/**
 * MySQL 8.0.15. Logins are checked with {@code mysql_native_password}, which needs no TLS: with the
 * ciphers of this server not every driver and JDK agree.
 */
public final class MySqlServer extends MySqlFamily {
  private static final Binaries BINARIES = new Binaries();
  private static MySqlServer shared;

  private MySqlServer(boolean shared, List<String> options) {
    super(BINARIES, shared, options);
  }

  /**
   * The server of all tests of this JVM that do not change it.
   *
   * @return started by the first call, stopped when the JVM ends
   */
  public static synchronized MySqlServer shared() {
    if (shared == null) {
      shared = new MySqlServer(true, List.of());
    }
    return shared;
  }

  /**
   * Starts a server for one test.
   *
   * @param serverOptions for instance {@code --default-time-zone=+05:30}
   * @return to be closed by the test
   */
  public static MySqlServer start(String... serverOptions) {
    return new MySqlServer(false, List.of(serverOptions));
  }

  /**
   * Starts a server for one test, in which a session has this zone unless it chooses another.
   *
   * @param zone with its summer time
   * @return to be closed by the test
   */
  public static MySqlServer startInZone(ZoneId zone) {
    MySqlServer server = start();
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
      List.of("--innodb-log-file-size=4M", "--innodb-flush-method=nosync", "--mysqlx=OFF");

  @Override
  List<String> command(Path programs, Path data, int port) {
    List<String> command = new ArrayList<>(super.command(programs, data, port));
    command.add(0, programs.resolve("bin/mysqld").toString());
    command.addAll(SMALL);
    return command;
  }

  @Override
  String certificateName() {
    // That of the authority which the server makes, and signs its own with.
    return "ca.pem";
  }

  private static final class Binaries extends Distribution {
    Binaries() {
      super(
          "/mysql-Linux-amd64.tar.gz",
          "bin/mysqld",
          " (on Debian it needs the packages libaio1 and libnuma1)");
    }

    @Override
    void unpack(URL resource, Path programs) throws IOException {
      try (InputStream input = new GZIPInputStream(resource.openStream())) {
        untar(input, programs);
      }
    }

    @Override
    void initialize(Path programs, Path data) throws IOException {
      Path sql = Commands.temporary(".sql");
      try {
        Files.writeString(
            sql,
            """
            CREATE DATABASE %4$s;
            CREATE USER %1$s@'%%' IDENTIFIED BY '%3$s';
            GRANT ALL ON *.* TO %1$s@'%%' WITH GRANT OPTION;
            CREATE USER %2$s@'%%' IDENTIFIED WITH mysql_native_password BY '%3$s';
            GRANT ALL ON `%%`.* TO %2$s@'%%';
            """
                .formatted(ADMIN, USER, PASSWORD, DATABASE));
        List<String> command = command(programs, "bin/mysqld");
        command.addAll(options(programs, data));
        command.addAll(SMALL);
        command.addAll(List.of("--initialize-insecure", "--init-file=" + sql));
        Commands.run(command);
      } finally {
        Files.delete(sql);
      }
    }
  }
}
