package io.asherah.reactive.kms.aws;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.exception.AbortedException;
import software.amazon.awssdk.core.exception.ApiCallAttemptTimeoutException;
import software.amazon.awssdk.core.exception.ApiCallTimeoutException;
import software.amazon.awssdk.core.exception.Crc32MismatchException;
import software.amazon.awssdk.core.exception.NonRetryableException;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.core.exception.SdkException;

/**
 * What a failure of the SDK means to us.
 *
 * <p>By codes of the service and not by the SDK's own {@code retryable()}, which is false for
 * nearly everything once an error reaches its caller.
 */
final class KmsErrors {
  /** Against causes that go in a circle. */
  private static final int MAX_CAUSES = 20;

  private static final Map<String, Kind> KINDS =
      Map.ofEntries(
          Map.entry("AccessDeniedException", Kind.ACCESS_DENIED),
          Map.entry("ExpiredTokenException", Kind.ACCESS_DENIED),
          Map.entry("IncompleteSignature", Kind.ACCESS_DENIED),
          Map.entry("IncompleteSignatureException", Kind.ACCESS_DENIED),
          Map.entry("InvalidClientTokenId", Kind.ACCESS_DENIED),
          Map.entry("InvalidGrantTokenException", Kind.ACCESS_DENIED),
          Map.entry("InvalidSignatureException", Kind.ACCESS_DENIED),
          Map.entry("MissingAuthenticationToken", Kind.ACCESS_DENIED),
          Map.entry("MissingAuthenticationTokenException", Kind.ACCESS_DENIED),
          Map.entry("NotAuthorized", Kind.ACCESS_DENIED),
          Map.entry("OptInRequired", Kind.ACCESS_DENIED),
          Map.entry("UnrecognizedClientException", Kind.ACCESS_DENIED),
          Map.entry("DisabledException", Kind.KEY_DISABLED),
          Map.entry("KMSInvalidStateException", Kind.KEY_DISABLED),
          Map.entry("NotFoundException", Kind.KEY_NOT_FOUND),
          Map.entry("InvalidCiphertextException", Kind.INVALID_CIPHERTEXT),
          Map.entry("IncorrectKeyException", Kind.INVALID_CIPHERTEXT),
          Map.entry("DependencyTimeoutException", Kind.UNAVAILABLE),
          Map.entry("KMSInternalException", Kind.UNAVAILABLE),
          Map.entry("KeyUnavailableException", Kind.UNAVAILABLE),
          Map.entry("InternalError", Kind.UNAVAILABLE),
          Map.entry("InternalFailure", Kind.UNAVAILABLE),
          Map.entry("PriorRequestNotComplete", Kind.UNAVAILABLE),
          Map.entry("RequestTimeout", Kind.UNAVAILABLE),
          Map.entry("RequestTimeoutException", Kind.UNAVAILABLE),
          Map.entry("ServiceUnavailable", Kind.UNAVAILABLE));

  private KmsErrors() {}

  /** Maps a failure of a call, as a future or a client gives it. */
  static KmsException of(String region, String operation, Throwable thrown) {
    Throwable e = unwrapped(thrown);
    if (e instanceof KmsException known) {
      return known;
    }
    if (e instanceof AwsServiceException answered) {
      return ofService(region, operation, answered);
    }
    if (e instanceof ApiCallTimeoutException || e instanceof ApiCallAttemptTimeoutException) {
      return new KmsException(
          Kind.TIMEOUT, "%s of %s was not answered in time".formatted(operation, region), e);
    }
    if (e instanceof Crc32MismatchException) {
      return new KmsException(
          Kind.UNAVAILABLE,
          "the answer to %s of %s was damaged on its way".formatted(operation, region),
          null);
    }
    if (isMalformed(e)) {
      return malformed(region, operation);
    }
    if (!(e instanceof SdkClientException) || isOfTheClient(e)) {
      return new KmsException(
          Kind.OTHER,
          "the client for %s failed at %s: look at the cause".formatted(region, operation),
          e);
    }
    return new KmsException(
        Kind.UNAVAILABLE,
        ("%s of %s failed before there was an answer; look at the cause, and at endpoint, proxy and"
                + " network")
            .formatted(operation, region),
        e);
  }

  /** What it means that there is no client, or are no credentials for it. */
  static KmsException notReady(String region, Throwable thrown) {
    Throwable e = unwrapped(thrown);
    if (e instanceof KmsException known) {
      return known;
    }
    if (e instanceof RejectedExecutionException rejected) {
      return overloaded(region, "the request for credentials", rejected);
    }
    if (!(e instanceof SdkException)) {
      return new KmsException(
          Kind.OTHER,
          "there is no client for %s: building it or its credentials provider failed, see the cause"
              .formatted(region),
          e);
    }
    boolean mayPass = causes(e).anyMatch(KmsErrors::mayPass);
    return new KmsException(
        mayPass ? Kind.UNAVAILABLE : Kind.ACCESS_DENIED,
        ("no credentials could be had for %s: look at the cause, and give the service a role, a"
                + " profile or a credentials provider")
            .formatted(region),
        e);
  }

  /** Whether who gives credentials fails for the moment only. */
  private static boolean mayPass(Throwable e) {
    return e instanceof AwsServiceException answered
        ? answered.isThrottlingException() || answered.statusCode() >= 500
        : e instanceof IOException
            || e instanceof TimeoutException
            || e instanceof ApiCallTimeoutException
            || e instanceof ApiCallAttemptTimeoutException
            || isOfChain(e);
  }

  /** A chain does not tell why: instance metadata that fails for the moment may be among it. */
  private static boolean isOfChain(Throwable e) {
    String message = e.getMessage();
    return e instanceof SdkClientException
        && message != null
        && message.contains("from any of the providers in the chain");
  }

  static KmsException notReadyInTime(String region, Duration limit) {
    return new KmsException(
        Kind.TIMEOUT,
        "there were no credentials for %s within %d ms; look at their provider"
            .formatted(region, limit.toMillis()),
        null);
  }

  static KmsException late(String region, String operation, Duration limit) {
    return new KmsException(
        Kind.TIMEOUT,
        "%s was not answered by %s within %d ms; look at the network, or raise regionTimeout"
            .formatted(operation, region, limit.toMillis()),
        null);
  }

  static KmsException malformed(String region, String operation) {
    // Without the cause: its message quotes the answer, which may be a key.
    return new KmsException(
        Kind.OTHER,
        "what %s answered to %s is no answer of AWS KMS; look at endpoint and proxy"
            .formatted(region, operation),
        null);
  }

  static KmsException wrongKey(String region, String operation, int length) {
    return new KmsException(
        Kind.INVALID_KEY,
        "%s answered to %s with a data key of %d bytes; 32 are needed"
            .formatted(region, operation, length),
        null);
  }

  static KmsException overloaded(String region, String operation, RejectedExecutionException e) {
    return new KmsException(
        Kind.UNAVAILABLE,
        "%s of %s could not be started: Schedulers.boundedElastic() takes no more tasks"
            .formatted(operation, region),
        e);
  }

  private static KmsException ofService(String region, String operation, AwsServiceException e) {
    AwsErrorDetails details = e.awsErrorDetails();
    String code = details == null ? null : details.errorCode();
    Kind kind = kindOf(e, code);
    return new KmsException(
        kind,
        "%s refused %s: %s%s"
            .formatted(
                region,
                operation,
                code == null ? "HTTP " + e.statusCode() : code,
                fixOf(kind, code)),
        e);
  }

  private static Kind kindOf(AwsServiceException e, @Nullable String code) {
    if (e.isClockSkewException()) {
      // The SDK has set its clock after this answer.
      return Kind.UNAVAILABLE;
    }
    Kind known = code == null ? null : KINDS.get(code);
    if (known != null) {
      return known;
    }
    if (e.isThrottlingException()) {
      return Kind.THROTTLED;
    }
    if (e.statusCode() >= 500) {
      return Kind.UNAVAILABLE;
    }
    return e.statusCode() == 401 || e.statusCode() == 403 ? Kind.ACCESS_DENIED : Kind.OTHER;
  }

  private static String fixOf(Kind kind, @Nullable String code) {
    if ("InvalidKeyUsageException".equals(code)) {
      return "; the master key must be symmetric, for encryption (SYMMETRIC_DEFAULT)";
    }
    return switch (kind) {
      case ACCESS_DENIED ->
          "; allow kms:GenerateDataKey, kms:Encrypt and kms:Decrypt on this key, as docs/aws.md"
              + " says, and look at the credentials and the clock";
      case KEY_DISABLED -> "; enable the key, or cancel its deletion";
      case KEY_NOT_FOUND -> "; correct the master key of this region";
      case THROTTLED -> "; ask AWS for a higher quota if it lasts";
      case INVALID_CIPHERTEXT -> "; this is not what that key sealed";
      default -> "; look at the cause";
    };
  }

  /** The SDK fails so on what it cannot read, with parts of it in the message. */
  private static boolean isMalformed(Throwable e) {
    return causes(e)
        .anyMatch(
            next ->
                next instanceof UncheckedIOException
                    || (next instanceof IllegalArgumentException && next != e)
                    || next.getClass()
                        .getName()
                        .startsWith("software.amazon.awssdk.thirdparty.jackson"));
  }

  private static Stream<Throwable> causes(Throwable e) {
    return Stream.iterate(e, Objects::nonNull, Throwable::getCause).limit(MAX_CAUSES);
  }

  /** A client that was closed or is interrupted, and no network, so that it does not pass. */
  private static boolean isOfTheClient(Throwable e) {
    return e instanceof AbortedException
        || e instanceof NonRetryableException
        || e.getCause() instanceof RejectedExecutionException
        || e.getCause() instanceof IllegalStateException;
  }

  private static Throwable unwrapped(Throwable e) {
    Throwable cause = e.getCause();
    return e instanceof CompletionException && cause != null ? cause : e;
  }
}
