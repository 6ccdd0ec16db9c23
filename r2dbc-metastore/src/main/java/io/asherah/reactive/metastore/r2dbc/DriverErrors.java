package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.MetastoreException;
import io.r2dbc.spi.R2dbcException;
import io.r2dbc.spi.R2dbcNonTransientResourceException;
import io.r2dbc.spi.R2dbcPermissionDeniedException;
import io.r2dbc.spi.R2dbcTransientException;
import io.r2dbc.spi.R2dbcTransientResourceException;
import java.io.IOException;
import java.security.cert.CertPathBuilderException;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertificateException;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import java.util.stream.Stream;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.SSLPeerUnverifiedException;
import org.jspecify.annotations.Nullable;
import reactor.pool.PoolAcquirePendingLimitException;
import reactor.pool.PoolShutdownException;

/** Makes our errors of those of drivers, pools and sockets. */
final class DriverErrors {
  /** Against causes that go in a circle. */
  private static final int MAX_CAUSES = 20;

  private DriverErrors() {}

  /** Whether a row was refused because there is one with its key. */
  static boolean isDuplicate(@Nullable Throwable e, SqlDialect dialect) {
    return e != null && failure(e, dialect) == Failure.DUPLICATE;
  }

  /** What was behind an error that {@link #map} made. */
  static Failure failure(MetastoreException e, SqlDialect dialect) {
    Throwable cause = e.getCause();
    return e.isRetryable() || cause == null ? Failure.PASSING : failure(cause, dialect);
  }

  static Throwable map(String what, Throwable e, SqlDialect dialect) {
    if (e instanceof AppEncryptionException) {
      return e;
    }
    if (e instanceof Connections.LateException) {
      return new MetastoreException(
          e.getMessage() + ". Its connection was closed; whether it happened is not known",
          new TimeoutException(e.getMessage()),
          true);
    }
    Meaning meaning = meaning(e, dialect);
    // The message of the driver stays with the cause: it may quote an id, and with it a partition.
    String codes =
        meaning.cause instanceof R2dbcException r2dbc
            ? " [%s, %d]".formatted(r2dbc.getSqlState(), r2dbc.getErrorCode())
            : "";
    return new MetastoreException(
        "%s failed to %s: %s%s; %s"
            .formatted(
                dialect,
                what,
                meaning.cause.getClass().getSimpleName(),
                codes,
                meaning.failure.fix),
        e,
        meaning.failure.isRetryable);
  }

  private static Failure failure(Throwable e, SqlDialect dialect) {
    return meaning(e, dialect).failure;
  }

  /** What an error means, and which of it and its causes told so. */
  private record Meaning(Throwable cause, Failure failure) {}

  /**
   * Drivers and pools wrap errors in others that say less, so all of them are looked at: first for
   * a certificate, which drivers report with the codes of a lost connection, then for codes, which
   * are exact, and then for what kind of error it is.
   */
  private static Meaning meaning(Throwable e, SqlDialect dialect) {
    return first(e, DriverErrors::ofTls)
        .or(() -> first(e, cause -> ofCodes(cause, dialect)))
        .or(() -> first(e, cause -> ofType(cause, dialect)))
        .orElseGet(() -> new Meaning(innermostOfDriver(e), Failure.OTHER));
  }

  private static Optional<Meaning> first(
      Throwable e, Function<Throwable, Optional<Failure>> meaning) {
    return causes(e)
        .flatMap(cause -> meaning.apply(cause).stream().map(failure -> new Meaning(cause, failure)))
        .findFirst();
  }

  private static Throwable innermostOfDriver(Throwable e) {
    return causes(e)
        .filter(R2dbcException.class::isInstance)
        .reduce((outer, inner) -> inner)
        .orElse(e);
  }

  private static Stream<Throwable> causes(Throwable e) {
    return Stream.iterate(e, Objects::nonNull, Throwable::getCause).limit(MAX_CAUSES);
  }

  /**
   * Whether the two ends cannot agree, which time does not change. A handshake that was cut or took
   * too long is told by subclasses of Netty, and by the cause of that of the JDK.
   */
  private static Optional<Failure> ofTls(Throwable e) {
    boolean differ =
        e instanceof CertificateException
            || e instanceof CertPathBuilderException
            || e instanceof CertPathValidatorException
            || e instanceof SSLPeerUnverifiedException
            || (e.getClass() == SSLHandshakeException.class
                && causes(e).noneMatch(DriverErrors::isOfNetwork))
            || isRefusedByDriver(e);
    return differ ? Optional.of(Failure.TLS) : Optional.empty();
  }

  private static boolean isOfNetwork(Throwable e) {
    return e instanceof IOException && !(e instanceof SSLException);
  }

  /**
   * Told in words only: by the same types and codes PostgreSQL's driver tells of a cut handshake.
   */
  private static boolean isRefusedByDriver(Throwable e) {
    String message = String.valueOf(e.getMessage());
    return (e instanceof R2dbcPermissionDeniedException || e.getClass() == SSLException.class)
        && (message.startsWith("The hostname ")
            || message.startsWith("Server support for SSL connection is disabled"));
  }

  private static Optional<Failure> ofCodes(Throwable e, SqlDialect dialect) {
    return e instanceof R2dbcException failure
        ? Optional.of(dialect.failure(failure)).filter(meaning -> meaning != Failure.OTHER)
        : Optional.empty();
  }

  private static Optional<Failure> ofType(Throwable e, SqlDialect dialect) {
    if (e instanceof PoolShutdownException) {
      return Optional.of(Failure.OTHER);
    }
    boolean isResource =
        e instanceof R2dbcNonTransientResourceException
            || e instanceof R2dbcTransientResourceException;
    if (isResource && dialect.isOfServer((R2dbcException) e)) {
      return Optional.of(Failure.OTHER);
    }
    if (e instanceof R2dbcPermissionDeniedException) {
      return Optional.of(Failure.DENIED);
    }
    // Not all drivers wrap what their sockets signal. A connection that has ended, or has too much
    // to do, is an IllegalStateException to some.
    boolean mayPass =
        e instanceof R2dbcTransientException
            || e instanceof R2dbcNonTransientResourceException
            || e instanceof IOException
            || e instanceof TimeoutException
            || e instanceof RejectedExecutionException
            || e instanceof PoolAcquirePendingLimitException
            || e instanceof IllegalStateException;
    return mayPass ? Optional.of(Failure.PASSING) : Optional.empty();
  }
}
