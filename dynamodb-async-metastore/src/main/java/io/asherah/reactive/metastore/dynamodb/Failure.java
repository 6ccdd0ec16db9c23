package io.asherah.reactive.metastore.dynamodb;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.exception.ApiCallAttemptTimeoutException;
import software.amazon.awssdk.core.exception.ApiCallTimeoutException;
import software.amazon.awssdk.core.exception.Crc32MismatchException;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.core.exception.SdkException;

/**
 * What an error of the SDK means to us. By codes of the service and not by the SDK's own {@code
 * retryable()}, which is false for nearly everything once an error reaches its caller.
 */
enum Failure {
  /** The same call may succeed later. */
  PASSING(true, "try again later; if it lasts, look at the cause, and at endpoint and network"),
  THROTTLED(
      true, "the table or the account has no capacity left: try again later, or give it more"),
  /** Two regions of a table that is strongly consistent in all of them wrote at the same time. */
  WRITE_CONFLICT(true, "another region is writing the same item: try again"),
  TABLE_MISSING(
      false,
      "the table does not exist in this region and account: create it, as docs/aws.md says, or"
          + " correct table, region and credentials"),
  DENIED(
      false,
      "the credentials do not allow it: allow %s on the table, as docs/aws.md says, and look at the"
          + " clock"),
  INVALID(
      false,
      "the table has another key than Id (S) and Created (N), or the item is too large: see the"
          + " cause"),
  CLOSED(
      false, "the client is closed, or its HTTP client: keep both open as long as the metastore"),
  MALFORMED(false, "the answer is not one of DynamoDB: look at endpoint and proxy"),
  OTHER(false, "see the cause");

  private static final Map<String, Failure> CODES =
      Map.ofEntries(
          Map.entry("AccessDeniedException", DENIED),
          Map.entry("ExpiredTokenException", DENIED),
          Map.entry("IncompleteSignature", DENIED),
          Map.entry("IncompleteSignatureException", DENIED),
          Map.entry("InvalidSignatureException", DENIED),
          Map.entry("MissingAuthenticationToken", DENIED),
          Map.entry("MissingAuthenticationTokenException", DENIED),
          Map.entry("OptInRequired", DENIED),
          Map.entry("UnrecognizedClientException", DENIED),
          Map.entry("ResourceNotFoundException", TABLE_MISSING),
          Map.entry("TableNotFoundException", TABLE_MISSING),
          Map.entry("ReplicatedWriteConflictException", WRITE_CONFLICT),
          Map.entry("TransactionConflictException", PASSING),
          Map.entry("InternalServerError", PASSING),
          Map.entry("ServiceUnavailable", PASSING),
          Map.entry("LimitExceededException", THROTTLED),
          Map.entry("RequestLimitExceeded", THROTTLED),
          Map.entry("ItemCollectionSizeLimitExceededException", INVALID),
          Map.entry("ValidationException", INVALID));

  private static final int MAX_CAUSES = 20;

  final boolean isRetryable;
  private final String fix;

  Failure(boolean isRetryable, String fix) {
    this.isRetryable = isRetryable;
    this.fix = fix;
  }

  /** What to do about it. */
  String fix(Calls.Action action) {
    return fix.formatted(action.permission);
  }

  /** What was thrown, without the wrapping of a future. */
  static Throwable unwrapped(Throwable e) {
    Throwable cause = e.getCause();
    return e instanceof CompletionException && cause != null ? cause : e;
  }

  static Failure of(Throwable e) {
    if (e instanceof AwsServiceException answered) {
      return ofService(answered);
    }
    if (e instanceof Crc32MismatchException) {
      return PASSING;
    }
    if (!(e instanceof SdkClientException)) {
      return OTHER;
    }
    if (causes(e).anyMatch(ClassNotFoundException.class::isInstance)) {
      return OTHER;
    }
    if (isOfClosing(e)) {
      return CLOSED;
    }
    return causes(e).anyMatch(Failure::isOfParsing) ? MALFORMED : PASSING;
  }

  /** Deeper down, an illegal state is that of a pool with too many who wait. */
  private static boolean isOfClosing(Throwable e) {
    return e.getCause() instanceof IllegalStateException
        || causes(e).anyMatch(RejectedExecutionException.class::isInstance);
  }

  /** Whether who gives credentials, or builds a client, fails for the moment only. */
  static boolean mayPass(Throwable e) {
    return e instanceof RejectedExecutionException
        || (e instanceof SdkException && causes(e).anyMatch(Failure::isPassing));
  }

  private static boolean isPassing(Throwable e) {
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

  private static Failure ofService(AwsServiceException e) {
    if (e.isClockSkewException()) {
      // The SDK has set its clock after this answer.
      return PASSING;
    }
    Failure known = CODES.get(codeOf(e));
    if (known != null) {
      return known;
    }
    if (e.isThrottlingException()) {
      return THROTTLED;
    }
    if (e.statusCode() >= 500) {
      return PASSING;
    }
    return e.statusCode() == 401 || e.statusCode() == 403 ? DENIED : OTHER;
  }

  /** What the service calls an error, or the class of one that is not of the service. */
  static String codeOf(Throwable e) {
    if (e instanceof AwsServiceException answered) {
      String code =
          answered.awsErrorDetails() == null ? null : answered.awsErrorDetails().errorCode();
      return code == null ? "HTTP " + answered.statusCode() : code;
    }
    return e.getClass().getSimpleName();
  }

  private static boolean isOfParsing(Throwable e) {
    return e instanceof UncheckedIOException
        || e instanceof IllegalArgumentException
        || e.getClass().getName().startsWith("software.amazon.awssdk.thirdparty.jackson");
  }

  private static Stream<Throwable> causes(Throwable e) {
    return Stream.iterate(e, Objects::nonNull, Throwable::getCause).limit(MAX_CAUSES);
  }
}
