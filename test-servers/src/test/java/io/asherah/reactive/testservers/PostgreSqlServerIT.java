package io.asherah.reactive.testservers;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.ZoneId;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class PostgreSqlServerIT extends DatabaseServerContract {
  @Override
  Optional<String> unavailable() {
    return PostgreSqlServer.unavailable();
  }

  @Override
  DatabaseServer shared() {
    return PostgreSqlServer.shared();
  }

  @Override
  DatabaseServer start(String... options) {
    return PostgreSqlServer.start(options);
  }

  @Override
  String url(DatabaseServer server) {
    return "jdbc:postgresql://127.0.0.1:%d/%s".formatted(server.port(), server.database());
  }

  @Override
  String verifiedUrl(DatabaseServer server) {
    return url(server) + "?sslmode=verify-full&sslrootcert=" + server.certificate();
  }

  @Override
  String cipher(Statement statement) throws SQLException {
    try (ResultSet row =
        statement.executeQuery(
            "SELECT cipher FROM pg_stat_ssl WHERE ssl AND pid = pg_backend_pid()")) {
      assertThat(row.next()).isTrue();
      return row.getString(1);
    }
  }

  @Override
  String sleep(int seconds) {
    return "SELECT pg_sleep(" + seconds + ")";
  }

  @Test
  void theZone_isGiven_isThatOfSessionsThatChooseNone() throws Exception {
    try (PostgreSqlServer server = PostgreSqlServer.startInZone(ZoneId.of("America/New_York"))) {
      // The JDBC driver chooses one, so this asks without it, and without a password.
      Path hba = server.data().resolve("pg_hba.conf");
      Files.writeString(hba, "host all asherah 127.0.0.1/32 trust\n" + Files.readString(hba));
      server.restart();

      assertThat(parametersOfASession(server)).containsEntry("TimeZone", "America/New_York");
      assertThat(
              query(
                  server,
                  server.database(),
                  "SELECT timestamptz '2026-07-15 12:00Z' AT TIME ZONE 'America/New_York'"))
          .startsWith("2026-07-15 08:00:00");
    }
  }

  private static Map<String, String> parametersOfASession(DatabaseServer server)
      throws IOException {
    Map<String, String> parameters = new HashMap<>();
    try (Socket socket = new Socket(server.host(), server.port());
        DataInputStream input = new DataInputStream(socket.getInputStream());
        DataOutputStream output = new DataOutputStream(socket.getOutputStream())) {
      ByteArrayOutputStream startup = new ByteArrayOutputStream();
      for (String word : new String[] {"user", "asherah", "database", "asherah", ""}) {
        startup.writeBytes(word.getBytes(StandardCharsets.UTF_8));
        startup.write(0);
      }
      output.writeInt(8 + startup.size());
      output.writeInt(3 << 16);
      output.write(startup.toByteArray());
      // Until the server is ready for a query.
      for (int type = input.read(); type != 'Z'; type = input.read()) {
        byte[] body = input.readNBytes(input.readInt() - 4);
        assertThat(type).as(new String(body, StandardCharsets.UTF_8)).isNotIn((int) 'E', -1);
        if (type == 'S') {
          String[] words = new String(body, StandardCharsets.UTF_8).split("\0", -1);
          parameters.put(words[0], words[1]);
        }
      }
    }
    return parameters;
  }
}
