package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.MetastoreException;
import io.r2dbc.spi.R2dbcBadGrammarException;
import io.r2dbc.spi.R2dbcDataIntegrityViolationException;
import io.r2dbc.spi.R2dbcException;
import io.r2dbc.spi.R2dbcNonTransientException;
import io.r2dbc.spi.R2dbcNonTransientResourceException;
import io.r2dbc.spi.R2dbcPermissionDeniedException;
import io.r2dbc.spi.R2dbcRollbackException;
import io.r2dbc.spi.R2dbcTimeoutException;
import io.r2dbc.spi.R2dbcTransientResourceException;
import java.io.EOFException;
import java.io.IOException;
import java.net.ConnectException;
import java.nio.channels.ClosedChannelException;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.SSLPeerUnverifiedException;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.pool.PoolAcquirePendingLimitException;
import reactor.pool.PoolAcquireTimeoutException;
import reactor.pool.PoolShutdownException;

class DriverErrorsTest {
  private static final String ID = "_IK_alice_service_product";

  /** What drivers say, which may quote an id. */
  private static final String QUOTE = "row (" + ID + ") of 10.0.0.1";

  private static final Map<String, SqlDialect> DIALECTS =
      Map.of(
          "postgreSql", SqlDialect.postgreSql(),
          "mySql", SqlDialect.mySql(),
          "sqlServer", SqlDialect.sqlServer(),
          "oracle", SqlDialect.oracle(),
          "h2", SqlDialect.h2());

  private static Failure failure(String dialect, @Nullable String state, int code) {
    return meaning(
        DIALECTS.get(dialect),
        new R2dbcNonTransientException(QUOTE, state, code) {
          private static final long serialVersionUID = 1L;
        });
  }

  /** What is told of an error, which is all the rest of the code sees of it. */
  private static Failure meaning(@Nullable SqlDialect dialect, Throwable e) {
    SqlDialect known = java.util.Objects.requireNonNull(dialect);
    MetastoreException mapped = (MetastoreException) DriverErrors.map("store a key", e, known);
    Failure failure = DriverErrors.failure(mapped, known);
    assertThat(mapped.getMessage())
        .startsWith(known + " failed to store a key: ")
        .endsWith("; " + failure.fix)
        .doesNotContain(ID, "alice", "10.0.0.1");
    assertThat(mapped).hasCause(e);
    assertThat(mapped.isRetryable()).isEqualTo(failure.isRetryable);
    assertThat(DriverErrors.isDuplicate(mapped.getCause(), known))
        .isEqualTo(failure == Failure.DUPLICATE);
    return failure;
  }

  // Codes.

  static Stream<Arguments> codes() {
    return Stream.of(
            codes("mySql", Failure.DUPLICATE, 1062),
            codes("mySql", Failure.TABLE_MISSING, 1146),
            codes("mySql", Failure.COLUMN_MISSING, 1054),
            codes("mySql", Failure.NO_DATABASE, 1046, 1049),
            codes("mySql", Failure.UNKNOWN_USER, 1045, 1698),
            codes("mySql", Failure.DENIED, 1044, 1142, 1143, 1227, 1370),
            codes("mySql", Failure.TIME_IN_GAP, 1292, 1525),
            codes(
                "mySql",
                Failure.PASSING,
                1020,
                1021,
                1030,
                1037,
                1038,
                1040,
                1041,
                1047,
                1053,
                1077,
                1079,
                1105,
                1129,
                1135,
                1152,
                1153,
                1154,
                1155,
                1156,
                1157,
                1158,
                1159,
                1160,
                1161,
                1180,
                1184,
                1203,
                1205,
                1206,
                1213,
                1223,
                1226,
                1290,
                1296,
                1297,
                1317,
                1614,
                1637,
                1792,
                1836,
                1927,
                1969,
                2002,
                2003,
                2006,
                2013,
                2055,
                3024,
                3032,
                3098,
                3101,
                3168,
                3169,
                4031),
            codes("mySql", Failure.OTHER, 0, 1, 1048, 1064, 1136, 1406, 9000),
            codes("sqlServer", Failure.DUPLICATE, 2627, 2601),
            codes("sqlServer", Failure.TABLE_MISSING, 208),
            codes("sqlServer", Failure.COLUMN_MISSING, 207),
            codes("sqlServer", Failure.NO_DATABASE, 911, 4060),
            codes("sqlServer", Failure.UNKNOWN_USER, 18452, 18456),
            codes("sqlServer", Failure.DENIED, 229, 230, 262, 297, 300),
            codes(
                "sqlServer",
                Failure.PASSING,
                -2,
                20,
                64,
                121,
                233,
                701,
                802,
                921,
                922,
                923,
                927,
                983,
                1204,
                1205,
                1222,
                3906,
                3960,
                4221,
                6002,
                6005,
                8645,
                8651,
                10053,
                10054,
                10060,
                10928,
                10929,
                17142,
                17189,
                40143,
                40197,
                40501,
                40540,
                40613,
                42108,
                42109,
                49918,
                49919,
                49920),
            codes("sqlServer", Failure.OTHER, 0, 1, 102, 515, 1062, 8152, 2628),
            codes("oracle", Failure.DUPLICATE, 1),
            codes("oracle", Failure.TABLE_MISSING, 942),
            codes("oracle", Failure.COLUMN_MISSING, 904),
            codes("oracle", Failure.UNKNOWN_USER, 1005, 1017, 28000, 28001),
            codes("oracle", Failure.DENIED, 1031, 1045, 41900),
            codes(
                "oracle",
                Failure.PASSING,
                18,
                20,
                28,
                51,
                54,
                60,
                1012,
                1013,
                1033,
                1034,
                1089,
                1090,
                1092,
                1109,
                1555,
                2391,
                3113,
                3114,
                3135,
                3136,
                8177,
                12150,
                12152,
                12153,
                12170,
                12514,
                12516,
                12518,
                12519,
                12520,
                12528,
                12537,
                12541,
                12543,
                12545,
                12547,
                12571,
                12757,
                16000,
                16456,
                17002,
                17008,
                17410,
                17447,
                17800,
                17820,
                17902,
                18714,
                25408,
                30006),
            codes("oracle", Failure.OTHER, 0, 1400, 1424, 12899, 1062, 2627),
            codes("h2", Failure.DUPLICATE, 23505),
            codes("h2", Failure.TABLE_MISSING, 42102, 42103, 42104, 90079),
            codes("h2", Failure.COLUMN_MISSING, 42122),
            codes("h2", Failure.NO_DATABASE, 90013, 90146, 90149),
            codes("h2", Failure.UNKNOWN_USER, 28000),
            codes("h2", Failure.DENIED, 90096),
            codes("h2", Failure.FILE, 90011, 90028, 90030, 90031, 90062, 90124),
            codes(
                "h2",
                Failure.PASSING,
                40001,
                50200,
                57014,
                90007,
                90020,
                90067,
                90098,
                90108,
                90121,
                90131),
            codes("h2", Failure.OTHER, 0, 1, 22001, 22025, 23502, 42000, 1062),
            codes("postgreSql", Failure.OTHER, 0, 1, 1062, 2627, 23505))
        .flatMap(stream -> stream);
  }

  private static Stream<Arguments> codes(String dialect, Failure failure, int... codes) {
    return Arrays.stream(codes).mapToObj(code -> Arguments.of(dialect, code, failure));
  }

  @ParameterizedTest
  @MethodSource("codes")
  void code_isUnderstood(String dialect, int code, Failure failure) {
    assertThat(failure(dialect, null, code)).isEqualTo(failure);
    // MariaDB's driver says that something failed, and what failed in the cause.
    assertThat(
            meaning(
                DIALECTS.get(dialect),
                new R2dbcNonTransientResourceException(
                    QUOTE, "H1000", 9000, new R2dbcBadGrammarException(QUOTE, null, code))))
        .isEqualTo(failure == Failure.OTHER ? Failure.PASSING : failure);
  }

  @ParameterizedTest
  @CsvSource({
    "postgreSql, 23505, DUPLICATE",
    "postgreSql, 42P01, TABLE_MISSING",
    "postgreSql, 42703, COLUMN_MISSING",
    "postgreSql, 28P01, UNKNOWN_USER",
    "postgreSql, 42501, DENIED",
    "postgreSql, 57P01, PASSING",
    "postgreSql, 40001, PASSING",
    "postgreSql, 22001, OTHER",
    "postgreSql, , OTHER",
    "mySql, 23000, OTHER",
    "mySql, 42S02, TABLE_MISSING",
    "mySql, 08S01, PASSING",
    "h2, 23505, DUPLICATE",
    "h2, 08000, PASSING",
    // Oracle's driver has one state for everything, SQL Server's are of no standard.
    "oracle, 66000, OTHER",
    "oracle, 23505, OTHER",
    "oracle, 08006, OTHER",
    "sqlServer, S0001, OTHER",
    "sqlServer, 23505, OTHER"
  })
  void state_isUnderstoodWhereTheDatabaseKeepsToThem(
      String dialect, @Nullable String state, Failure failure) {
    assertThat(failure(dialect, state, 99)).isEqualTo(failure);
  }

  /**
   * What the drivers signal where the column id is latin1 and an id is not, or an index too long:
   * the one leaves the state out, the other one puts HY000 into the class of what passes.
   */
  @ParameterizedTest
  @ValueSource(ints = {1071, 1267, 1364, 1366, 1406})
  void codeOfTheServer_thatTheDriverTakesForPassing_isNotTriedAgain(int code) {
    SqlDialect mySql = SqlDialect.mySql();
    assertThat(meaning(mySql, new R2dbcNonTransientResourceException(QUOTE, null, code)))
        .isEqualTo(Failure.OTHER);
    assertThat(meaning(mySql, new R2dbcTransientResourceException(QUOTE, "HY000", code)))
        .isEqualTo(Failure.OTHER);
    assertThat(meaning(mySql, new R2dbcNonTransientResourceException(QUOTE, "08S01", code)))
        .isEqualTo(Failure.PASSING);
  }

  @Test
  void codes_countMoreThanTypesAndWrappers() {
    Throwable wrapped =
        new IllegalStateException(
            QUOTE,
            new R2dbcNonTransientResourceException(
                QUOTE, "H1000", 9000, new R2dbcTransientResourceException(QUOTE, "23000", 1062)));
    MetastoreException mapped =
        (MetastoreException) DriverErrors.map("store a key", wrapped, SqlDialect.mySql());
    assertThat(DriverErrors.failure(mapped, SqlDialect.mySql())).isEqualTo(Failure.DUPLICATE);
    // The message names the error that told what it was, and not its wrapper.
    assertThat(mapped)
        .hasMessage(
            "MySQL failed to store a key: R2dbcTransientResourceException [23000, 1062]; there is"
                + " such a row");
  }

  @Test
  void error_thatTellsNothing_isNamedByItsInnermostCodes() {
    Throwable wrapped =
        new RuntimeException(
            QUOTE,
            new R2dbcBadGrammarException(
                QUOTE,
                "H1000",
                9000,
                new R2dbcBadGrammarException(
                    QUOTE, "42000", 1064, new ArithmeticException(QUOTE))));
    assertThat(DriverErrors.map("load a key", wrapped, SqlDialect.mySql()))
        .hasMessage(
            "MySQL failed to load a key: R2dbcBadGrammarException [42000, 1064]; see the cause");
  }

  // Types.

  static Stream<Arguments> types() {
    PoolAcquirePendingLimitException full = new PoolAcquirePendingLimitException(7);
    return Stream.of(
        Arguments.of(new IOException(QUOTE), Failure.PASSING),
        Arguments.of(new ConnectException(QUOTE), Failure.PASSING),
        Arguments.of(new ClosedChannelException(), Failure.PASSING),
        Arguments.of(new TimeoutException(QUOTE), Failure.PASSING),
        Arguments.of(new IllegalStateException("Request queue was disposed"), Failure.PASSING),
        Arguments.of(new RejectedExecutionException(QUOTE), Failure.PASSING),
        Arguments.of(full, Failure.PASSING),
        Arguments.of(new RuntimeException(QUOTE, full), Failure.PASSING),
        Arguments.of(
            new PoolAcquireTimeoutException(java.time.Duration.ofSeconds(1)), Failure.PASSING),
        Arguments.of(new PoolShutdownException(), Failure.OTHER),
        Arguments.of(new R2dbcTimeoutException(QUOTE), Failure.PASSING),
        Arguments.of(new R2dbcRollbackException(QUOTE), Failure.PASSING),
        Arguments.of(new R2dbcTransientResourceException(QUOTE), Failure.PASSING),
        Arguments.of(new R2dbcNonTransientResourceException(QUOTE), Failure.PASSING),
        Arguments.of(new R2dbcPermissionDeniedException(QUOTE), Failure.DENIED),
        Arguments.of(new R2dbcBadGrammarException(QUOTE), Failure.OTHER),
        Arguments.of(new R2dbcDataIntegrityViolationException(QUOTE), Failure.OTHER),
        Arguments.of(new RuntimeException(QUOTE, new IOException(QUOTE)), Failure.PASSING),
        Arguments.of(new IllegalArgumentException(QUOTE), Failure.OTHER),
        Arguments.of(new NullPointerException(QUOTE), Failure.OTHER),
        Arguments.of(new AssertionError(QUOTE), Failure.OTHER),
        Arguments.of(new CertificateException(QUOTE), Failure.TLS),
        Arguments.of(new CertPathBuilderException(QUOTE), Failure.TLS),
        Arguments.of(new CertPathValidatorException(QUOTE), Failure.TLS),
        Arguments.of(new SSLPeerUnverifiedException(QUOTE), Failure.TLS),
        Arguments.of(lostConnection(new SSLHandshakeException(QUOTE)), Failure.TLS),
        Arguments.of(lostConnection(handshake(new CertificateException(QUOTE))), Failure.TLS),
        Arguments.of(lostConnection(new SSLException("The hostname 'a' is not")), Failure.TLS),
        Arguments.of(
            new R2dbcPermissionDeniedException("The hostname 'a' could not", "08006"), Failure.TLS),
        Arguments.of(
            new R2dbcPermissionDeniedException(
                "Server support for SSL connection is disabled, but", "08006"),
            Failure.TLS),
        // A handshake that was cut, as the JDK and as Netty tell it, and a session that was.
        Arguments.of(lostConnection(handshake(new EOFException(QUOTE))), Failure.PASSING),
        Arguments.of(lostConnection(new CutHandshakeException()), Failure.PASSING),
        Arguments.of(lostConnection(new SSLException(QUOTE)), Failure.PASSING),
        Arguments.of(inACircle(), Failure.OTHER));
  }

  /** Netty has some of this kind. */
  private static final class CutHandshakeException extends SSLHandshakeException {
    private static final long serialVersionUID = 1L;

    CutHandshakeException() {
      super(QUOTE);
    }
  }

  private static Throwable lostConnection(Throwable cause) {
    return new R2dbcNonTransientResourceException(QUOTE, "08006", cause);
  }

  private static Throwable handshake(Throwable cause) {
    return new SSLHandshakeException(QUOTE).initCause(cause);
  }

  private static Throwable inACircle() {
    Exception first = new Exception(QUOTE);
    first.initCause(new Exception(QUOTE, first));
    return first;
  }

  @ParameterizedTest
  @MethodSource("types")
  void type_isUnderstoodWhateverTheDatabase(Throwable e, Failure failure) {
    assertThat(DIALECTS.values()).allSatisfy(d -> assertThat(meaning(d, e)).isEqualTo(failure));
  }

  // What is no error of a driver.

  @Test
  void errorOfOurs_staysAsItIs() {
    for (AppEncryptionException ours :
        List.of(
            new MetastoreException("ours", null, false), new MetastoreException("x", null, true))) {
      assertThat(DriverErrors.map("load a key", ours, SqlDialect.h2())).isSameAs(ours);
    }
  }

  @Test
  void lateStatement_isRetryableAndSaysWhatIsNotKnown() {
    assertThat(
            DriverErrors.map(
                "store a key",
                new Connections.LateException("H2 did not store a key within PT2S"),
                SqlDialect.h2()))
        .hasMessage(
            "H2 did not store a key within PT2S. Its connection was closed; whether it happened is"
                + " not known")
        .hasCauseInstanceOf(TimeoutException.class)
        .asInstanceOf(type(MetastoreException.class))
        .matches(AppEncryptionException::isRetryable);
  }

  @Test
  void duplicate_ofNothing_isNone() {
    assertThat(DriverErrors.isDuplicate(null, SqlDialect.h2())).isFalse();
    R2dbcException duplicate = new R2dbcDataIntegrityViolationException(QUOTE, "23505");
    assertThat(DriverErrors.isDuplicate(duplicate, SqlDialect.postgreSql())).isTrue();
    assertThat(DriverErrors.isDuplicate(duplicate, SqlDialect.oracle())).isFalse();
  }
}
