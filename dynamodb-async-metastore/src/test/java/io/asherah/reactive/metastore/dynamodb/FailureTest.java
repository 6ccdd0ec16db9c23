package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.CompletionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.core.exception.ApiCallTimeoutException;
import software.amazon.awssdk.core.exception.Crc32MismatchException;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.services.dynamodb.model.DynamoDbException;

class FailureTest {

  @ParameterizedTest
  @CsvSource({
    "ProvisionedThroughputExceededException, 400, THROTTLED",
    "ThrottlingException, 400, THROTTLED",
    "RequestLimitExceeded, 400, THROTTLED",
    "LimitExceededException, 400, THROTTLED",
    "SomethingNew, 429, THROTTLED",
    "InternalServerError, 500, PASSING",
    "SomethingNew, 500, PASSING",
    "SomethingNew, 504, PASSING",
    "TransactionConflictException, 400, PASSING",
    "ReplicatedWriteConflictException, 400, WRITE_CONFLICT",
    "ResourceNotFoundException, 400, TABLE_MISSING",
    "AccessDeniedException, 400, DENIED",
    "ExpiredTokenException, 400, DENIED",
    "InvalidSignatureException, 400, DENIED",
    "UnrecognizedClientException, 400, DENIED",
    "SomethingNew, 403, DENIED",
    "SomethingNew, 401, DENIED",
    "ValidationException, 400, INVALID",
    "ItemCollectionSizeLimitExceededException, 400, INVALID",
    "SomethingNew, 400, OTHER"
  })
  void answersOfTheService_areKnownByTheirCode(String code, int status, Failure failure) {
    Throwable e =
        DynamoDbException.builder()
            .statusCode(status)
            .awsErrorDetails(AwsErrorDetails.builder().errorCode(code).build())
            .build();

    assertThat(Failure.of(e)).isEqualTo(failure);
    assertThat(Failure.codeOf(e)).isEqualTo(code);
  }

  @Test
  void answerWithoutCode_isKnownByItsStatus() {
    Throwable e = DynamoDbException.builder().statusCode(503).build();

    assertThat(Failure.of(e)).isEqualTo(Failure.PASSING);
    assertThat(Failure.codeOf(e)).isEqualTo("HTTP 503");
  }

  static Stream<Arguments> errorsOfTheClient() {
    return Stream.of(
        Arguments.of(new IOException("reset"), Failure.PASSING),
        Arguments.of(new Throwable("acquire", new TimeoutException()), Failure.PASSING),
        // Too many wait for a connection.
        Arguments.of(new Throwable("pool", new IllegalStateException()), Failure.PASSING),
        Arguments.of(new IllegalStateException("shut down"), Failure.CLOSED),
        // It never worked, however long it is kept open.
        Arguments.of(
            new IllegalStateException("no module", new ClassNotFoundException("sts")),
            Failure.OTHER),
        Arguments.of(new RejectedExecutionException(), Failure.CLOSED),
        Arguments.of(new UncheckedIOException(new IOException("token")), Failure.MALFORMED),
        Arguments.of(new IllegalArgumentException("base64"), Failure.MALFORMED));
  }

  @ParameterizedTest
  @MethodSource("errorsOfTheClient")
  void errorsOfTheClient_areKnownByTheirCause(Throwable cause, Failure failure) {
    assertThat(Failure.of(SdkClientException.builder().cause(cause).build())).isEqualTo(failure);
  }

  @Test
  void otherErrors() {
    assertThat(Failure.of(SdkClientException.create("no cause"))).isEqualTo(Failure.PASSING);
    assertThat(Failure.of(ApiCallTimeoutException.create(1))).isEqualTo(Failure.PASSING);
    assertThat(Failure.of(Crc32MismatchException.builder().build())).isEqualTo(Failure.PASSING);
    assertThat(Failure.of(new IllegalStateException())).isEqualTo(Failure.OTHER);
    assertThat(Failure.codeOf(new IllegalStateException())).isEqualTo("IllegalStateException");
  }

  @Test
  void causesThatGoRound_haveAnEnd() {
    IOException first = new IOException();
    IOException second = new IOException(first);
    first.initCause(second);

    assertThat(Failure.of(SdkClientException.builder().cause(first).build()))
        .isEqualTo(Failure.PASSING);
  }

  @Test
  void unwrapped_isWhatWasThrown() {
    Throwable e = new IOException();

    assertThat(Failure.unwrapped(new CompletionException(e))).isSameAs(e);
    assertThat(Failure.unwrapped(e)).isSameAs(e);
    CompletionException bare = new CompletionException("bare", null);
    assertThat(Failure.unwrapped(bare)).isSameAs(bare);
  }
}
