package io.asherah.reactive.testservers;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.util.Base64;
import java.util.List;

/** A private key for TLS, and its certificate for localhost and 127.0.0.1, signed by itself. */
final class ServerKey {
  static final String KEY = "server-key.pem";
  static final String CERTIFICATE = "server-cert.pem";

  private static final String ALIAS = "server";

  private ServerKey() {}

  /**
   * Writes both into a data directory; the key for nobody else's eyes, or PostgreSQL refuses it.
   */
  static void make(Path data) throws IOException {
    Path store = data.resolve("server.p12");
    Commands.run(
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "keytool").toString(),
            "-genkeypair",
            "-alias",
            ALIAS,
            "-keyalg",
            "RSA",
            "-keysize",
            "2048",
            "-validity",
            "3650",
            "-dname",
            "CN=localhost",
            "-ext",
            "san=dns:localhost,ip:" + DatabaseServer.HOST,
            "-storetype",
            "PKCS12",
            "-storepass",
            DatabaseServer.PASSWORD,
            "-keystore",
            store.toString()));
    try {
      char[] password = DatabaseServer.PASSWORD.toCharArray();
      KeyStore keys = KeyStore.getInstance(store.toFile(), password);
      Path key = data.resolve(KEY);
      Files.createFile(
          key, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
      write(key, "PRIVATE KEY", keys.getKey(ALIAS, password).getEncoded());
      write(data.resolve(CERTIFICATE), "CERTIFICATE", keys.getCertificate(ALIAS).getEncoded());
    } catch (GeneralSecurityException e) {
      throw new IOException(e);
    }
    Files.delete(store);
  }

  private static void write(Path file, String type, byte[] content) throws IOException {
    String base64 = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(content);
    Files.writeString(
        file, "-----BEGIN %1$s-----\n%2$s\n-----END %1$s-----\n".formatted(type, base64));
  }
}
