package io.asherah.reactive.metastore.r2dbc;

import java.lang.reflect.Method;
import java.util.List;
import reactor.blockhound.BlockHound;
import reactor.blockhound.integration.BlockHoundIntegration;

/**
 * Lets drivers do what we cannot change. BlockHound finds this class through {@code
 * META-INF/services}.
 *
 * <p>While they connect they draw from {@code SecureRandom}, which reads {@code /dev/urandom}, read
 * files of their jar or with whom to trust, and, for the first socket of a process, have the JDK
 * read {@code net.properties}. The driver of MariaDB has a lock for each connection, which whoever
 * sends a statement and the event loop that ends the one before it hold for moments.
 */
public final class DriverBlockHoundIntegration implements BlockHoundIntegration {
  private static final String MARIADB_CLIENT = "org.mariadb.r2dbc.client.SimpleClient";

  /** Those that begin something. What ends it calls us, and is watched therefore. */
  private static final List<String> MARIADB_BEGINS =
      List.of("receive", "sendCommand", "sendPrepare", "executeWhen", "setAutoCommit");

  @Override
  public void applyTo(BlockHound.Builder builder) {
    builder
        .allowBlockingCallsInside("sun.net.NetProperties", "loadDefaultProperties")
        // Where they make their TLS contexts; Netty allows for the handshakes.
        .allowBlockingCallsInside("sun.security.ssl.SSLContextImpl", "engineInit")
        .allowBlockingCallsInside(
            "io.r2dbc.mssql.MssqlConnectionConfiguration$DefaultClientConfiguration",
            "loadCustomTrustStore")
        .allowBlockingCallsInside(
            "io.r2dbc.postgresql.authentication.SASLAuthenticationHandler", "handle")
        .allowBlockingCallsInside(
            "io.asyncer.r2dbc.mysql.client.SslBridgeHandler", "handleSslState")
        .allowBlockingCallsInside(
            "org.mariadb.r2dbc.authentication.AuthenticationFlowPluginLoader", "get")
        .allowBlockingCallsInside(
            "org.mariadb.r2dbc.message.client.HandshakeResponse", "writeConnectAttributes");
    for (Method method : mariaDbClient().getDeclaredMethods()) {
      // Most of it is in lambdas, which are named after their method and a number.
      if (MARIADB_BEGINS.stream().anyMatch(method.getName()::contains)) {
        builder.allowBlockingCallsInside(MARIADB_CLIENT, method.getName());
      }
    }
  }

  private static Class<?> mariaDbClient() {
    try {
      return Class.forName(MARIADB_CLIENT);
    } catch (ClassNotFoundException e) {
      throw new AssertionError(e);
    }
  }
}
