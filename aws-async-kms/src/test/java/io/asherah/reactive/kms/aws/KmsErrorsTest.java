package io.asherah.reactive.kms.aws;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.time.Instant;
import java.util.Objects;
import java.util.concurrent.CompletionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProviderChain;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;
import software.amazon.awssdk.auth.credentials.InstanceProfileCredentialsProvider;
import software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider;
import software.amazon.awssdk.awscore.exception.AwsErrorDetails;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkSystemSetting;
import software.amazon.awssdk.core.exception.AbortedException;
import software.amazon.awssdk.core.exception.ApiCallAttemptTimeoutException;
import software.amazon.awssdk.core.exception.ApiCallTimeoutException;
import software.amazon.awssdk.core.exception.Crc32MismatchException;
import software.amazon.awssdk.core.exception.NonRetryableException;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.http.SdkHttpResponse;
import software.amazon.awssdk.profiles.ProfileFile;
import software.amazon.awssdk.services.kms.model.DependencyTimeoutException;
import software.amazon.awssdk.services.kms.model.DisabledException;
import software.amazon.awssdk.services.kms.model.IncorrectKeyException;
import software.amazon.awssdk.services.kms.model.InvalidCiphertextException;
import software.amazon.awssdk.services.kms.model.KeyUnavailableException;
import software.amazon.awssdk.services.kms.model.KmsInternalException;
import software.amazon.awssdk.services.kms.model.KmsInvalidStateException;
import software.amazon.awssdk.services.kms.model.NotFoundException;
import software.amazon.awssdk.utils.DateUtils;

class KmsErrorsTest {
  private static final KmsRegion A = region("us-west-2");
  private static final KmsRegion B = region("us-east-1");
  private static final KmsRegion C = region("eu-west-1");

  private static KmsException of(Throwable e) {
    return KmsErrors.of("us-west-2", "Decrypt", e);
  }

  private static AwsServiceException service(int status, String code) {
    return software.amazon.awssdk.services.kms.model.KmsException.builder()
        .statusCode(status)
        .awsErrorDetails(AwsErrorDetails.builder().errorCode(code).serviceName("Kms").build())
        .build();
  }

  private static SdkClientException client(Throwable cause) {
    return SdkClientException.create("Unable to execute HTTP request", cause);
  }

  @ParameterizedTest
  @CsvSource({
    "400, AccessDeniedException, ACCESS_DENIED",
    "403, AccessDeniedException, ACCESS_DENIED",
    "400, UnrecognizedClientException, ACCESS_DENIED",
    "400, ExpiredTokenException, ACCESS_DENIED",
    "403, InvalidSignatureException, ACCESS_DENIED",
    "400, IncompleteSignature, ACCESS_DENIED",
    "400, IncompleteSignatureException, ACCESS_DENIED",
    "403, IncompleteSignatureException, ACCESS_DENIED",
    "400, MissingAuthenticationToken, ACCESS_DENIED",
    "403, MissingAuthenticationTokenException, ACCESS_DENIED",
    "400, InvalidGrantTokenException, ACCESS_DENIED",
    "403, SomethingNew, ACCESS_DENIED",
    "401, SomethingNew, ACCESS_DENIED",
    "400, RequestTimeTooSkewed, UNAVAILABLE",
    "400, RequestExpired, UNAVAILABLE",
    "403, RequestInTheFuture, UNAVAILABLE",
    "400, DisabledException, KEY_DISABLED",
    "400, KMSInvalidStateException, KEY_DISABLED",
    "400, NotFoundException, KEY_NOT_FOUND",
    "400, InvalidCiphertextException, INVALID_CIPHERTEXT",
    "400, IncorrectKeyException, INVALID_CIPHERTEXT",
    "400, InvalidKeyUsageException, OTHER",
    "400, DryRunOperationException, OTHER",
    "400, ValidationException, OTHER",
    "400, SomethingNew, OTHER",
    "400, ThrottlingException, THROTTLED",
    "400, Throttling, THROTTLED",
    "400, ThrottledException, THROTTLED",
    "400, RequestLimitExceeded, THROTTLED",
    "400, TooManyRequestsException, THROTTLED",
    "400, SlowDown, THROTTLED",
    "429, SomethingNew, THROTTLED",
    "500, KMSInternalException, UNAVAILABLE",
    "500, KeyUnavailableException, UNAVAILABLE",
    "500, DependencyTimeoutException, UNAVAILABLE",
    "500, InternalFailure, UNAVAILABLE",
    "400, InternalError, UNAVAILABLE",
    "503, ServiceUnavailable, UNAVAILABLE",
    "400, RequestTimeout, UNAVAILABLE",
    "400, RequestTimeoutException, UNAVAILABLE",
    "400, PriorRequestNotComplete, UNAVAILABLE",
    "500, SomethingNew, UNAVAILABLE",
    "502, SomethingNew, UNAVAILABLE",
    "504, SomethingNew, UNAVAILABLE"
  })
  void errorOfTheService_hasItsKind(int status, String code, Kind kind) {
    for (Throwable e : new Throwable[] {service(status, code), wrapped(service(status, code))}) {
      KmsException mapped = of(e);

      assertThat(mapped.kind()).isEqualTo(kind);
      assertThat(mapped.isRetryable())
          .isEqualTo(kind == Kind.THROTTLED || kind == Kind.UNAVAILABLE);
      assertThat(mapped).hasMessageStartingWith("us-west-2 refused Decrypt: " + code);
      assertThat(mapped.getCause()).isInstanceOf(AwsServiceException.class);
    }
  }

  private static CompletionException wrapped(Throwable e) {
    return new CompletionException(e);
  }

  static Stream<Arguments> modelled() {
    return Stream.of(
        Arguments.of(DisabledException.builder(), "DisabledException", Kind.KEY_DISABLED),
        Arguments.of(
            KmsInvalidStateException.builder(), "KMSInvalidStateException", Kind.KEY_DISABLED),
        Arguments.of(NotFoundException.builder(), "NotFoundException", Kind.KEY_NOT_FOUND),
        Arguments.of(
            InvalidCiphertextException.builder(),
            "InvalidCiphertextException",
            Kind.INVALID_CIPHERTEXT),
        Arguments.of(
            IncorrectKeyException.builder(), "IncorrectKeyException", Kind.INVALID_CIPHERTEXT),
        Arguments.of(KmsInternalException.builder(), "KMSInternalException", Kind.UNAVAILABLE),
        Arguments.of(
            KeyUnavailableException.builder(), "KeyUnavailableException", Kind.UNAVAILABLE),
        Arguments.of(
            DependencyTimeoutException.builder(), "DependencyTimeoutException", Kind.UNAVAILABLE));
  }

  @ParameterizedTest
  @MethodSource("modelled")
  void modelledError_hasItsKind(AwsServiceException.Builder builder, String code, Kind kind) {
    AwsServiceException e =
        builder
            .statusCode(400)
            .awsErrorDetails(AwsErrorDetails.builder().errorCode(code).build())
            .build();

    assertThat(of(e).kind()).isEqualTo(kind);
  }

  @ParameterizedTest
  @CsvSource({
    "400, OTHER, false",
    "401, ACCESS_DENIED, false",
    "403, ACCESS_DENIED, false",
    "404, OTHER, false",
    "429, THROTTLED, true",
    "500, UNAVAILABLE, true",
    "503, UNAVAILABLE, true"
  })
  void errorOfAProxy_hasNoCode(int status, Kind kind, boolean isRetryable) {
    KmsException mapped =
        of(
            software.amazon.awssdk.services.kms.model.KmsException.builder()
                .statusCode(status)
                .build());

    assertThat(mapped.kind()).isEqualTo(kind);
    assertThat(mapped.isRetryable()).isEqualTo(isRetryable);
    assertThat(mapped).hasMessageContaining("HTTP " + status);
  }

  static Stream<Arguments> failuresOfTheClient() {
    return Stream.of(
        Arguments.of(client(new ConnectException("refused")), Kind.UNAVAILABLE),
        Arguments.of(client(new IOException("read timed out")), Kind.UNAVAILABLE),
        Arguments.of(
            client(new Throwable("acquire", new TimeoutException("acquire"))), Kind.UNAVAILABLE),
        Arguments.of(
            client(new Throwable("too many", new IllegalStateException("queue"))),
            Kind.UNAVAILABLE),
        Arguments.of(ApiCallTimeoutException.create(1), Kind.TIMEOUT),
        Arguments.of(ApiCallAttemptTimeoutException.create(1), Kind.TIMEOUT),
        Arguments.of(
            Crc32MismatchException.create("expected 1", new IOException()), Kind.UNAVAILABLE),
        Arguments.of(client(new RejectedExecutionException("closed")), Kind.OTHER),
        Arguments.of(client(new IllegalStateException("closed")), Kind.OTHER),
        Arguments.of(AbortedException.create("interrupted"), Kind.OTHER),
        Arguments.of(NonRetryableException.create("no"), Kind.OTHER),
        Arguments.of(new IllegalStateException("a client of the user's"), Kind.OTHER));
  }

  @ParameterizedTest
  @MethodSource("failuresOfTheClient")
  void failureOfTheClient_hasItsKind(Throwable e, Kind kind) {
    for (Throwable any : new Throwable[] {e, wrapped(e)}) {
      KmsException mapped = of(any);

      assertThat(mapped.kind()).isEqualTo(kind);
      assertThat(mapped.isRetryable()).isEqualTo(kind == Kind.UNAVAILABLE || kind == Kind.TIMEOUT);
      assertThat(mapped).hasMessageContaining("us-west-2").hasMessageContaining("Decrypt");
    }
  }

  static Stream<Throwable> malformedAnswers() {
    return Stream.of(
        client(new UncheckedIOException(new IOException("Unrecognized token 'secret'"))),
        client(new IllegalArgumentException("Illegal base64 character in secret")),
        client(new RuntimeException("secret", new UncheckedIOException(new IOException("x")))),
        new UncheckedIOException(new IOException("secret")));
  }

  @ParameterizedTest
  @MethodSource("malformedAnswers")
  void malformedAnswer_isNotQuoted(Throwable e) {
    for (Throwable any : new Throwable[] {e, wrapped(e)}) {
      KmsException mapped = of(any);

      assertThat(mapped.kind()).isEqualTo(Kind.OTHER);
      assertThat(mapped.isRetryable()).isFalse();
      assertThat(mapped).hasNoCause();
      assertThat(mapped.getMessage()).contains("no answer of AWS KMS").doesNotContain("secret");
    }
  }

  /** The SDK wraps what it fails at; this was thrown before anything was sent. */
  @Test
  void illegalArgumentOfTheClientItself_isTold() {
    IllegalArgumentException e = new IllegalArgumentException("no such endpoint");
    for (Throwable any : new Throwable[] {e, wrapped(e)}) {
      KmsException mapped = of(any);

      assertThat(mapped.kind()).isEqualTo(Kind.OTHER);
      assertThat(mapped.isRetryable()).isFalse();
      assertThat(mapped).hasCause(e);
      assertThat(mapped)
          .hasMessage("the client for us-west-2 failed at Decrypt: look at the cause");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "400, AccessDeniedException, kms:GenerateDataKey",
    "400, IncompleteSignature, the clock",
    "403, IncompleteSignatureException, the clock",
    "400, InvalidKeyUsageException, must be symmetric",
    "400, NotFoundException, correct the master key",
    "400, DisabledException, enable the key",
    "400, ThrottlingException, quota",
    "400, IncorrectKeyException, not what that key sealed",
    "400, ValidationException, look at the cause",
    "400, SomethingNew, look at the cause",
    "500, KMSInternalException, look at the cause"
  })
  void errorOfTheService_saysWhatToDo(int status, String code, String fix) {
    assertThat(of(service(status, code)))
        .hasMessageContaining(code + "; ")
        .hasMessageContaining(fix);
  }

  @Test
  void ourOwn_staysAsItIs() {
    KmsException ours = new KmsException(Kind.INVALID_KEY, "ours", null);
    assertThat(of(ours)).isSameAs(ours);
    assertThat(of(wrapped(ours))).isSameAs(ours);
    assertThat(KmsErrors.notReady("us-west-2", wrapped(ours))).isSameAs(ours);
  }

  @Test
  void noCredentials_isAccessDenied_andNamesTheRegion() {
    Throwable e = SdkClientException.create("Unable to load credentials");
    KmsException mapped = KmsErrors.notReady("us-west-2", wrapped(e));
    assertThat(mapped.kind()).isEqualTo(Kind.ACCESS_DENIED);
    assertThat(mapped).hasMessageContaining("us-west-2").hasCause(e);
  }

  /** The SDK has set its clock by the answer, so the next call may be right. */
  @ParameterizedTest
  @CsvSource({
    "InvalidSignatureException, 3600, UNAVAILABLE",
    "InvalidSignatureException, -3600, UNAVAILABLE",
    "InvalidSignatureException, 0, ACCESS_DENIED",
    "SomethingNew, 3600, UNAVAILABLE",
    "SomethingNew, 0, ACCESS_DENIED"
  })
  void refusalWhereTheClocksDiffer_mayPass(String code, long seconds, Kind kind) {
    AwsServiceException e =
        software.amazon.awssdk.services.kms.model.KmsException.builder()
            .statusCode(403)
            .clockSkew(Duration.ZERO)
            .awsErrorDetails(
                AwsErrorDetails.builder()
                    .errorCode(code)
                    .sdkHttpResponse(
                        SdkHttpResponse.builder()
                            .statusCode(403)
                            .putHeader(
                                "Date",
                                DateUtils.formatRfc822Date(Instant.now().plusSeconds(seconds)))
                            .build())
                    .build())
            .build();
    assertThat(of(e).kind()).isEqualTo(kind);
    assertThat(of(e).isRetryable()).isEqualTo(kind == Kind.UNAVAILABLE);
  }

  static Stream<Arguments> failuresToGetReady() {
    return Stream.of(
        // Who gives credentials is out of order, or was asked too much.
        Arguments.of(client(new ConnectException("refused")), Kind.UNAVAILABLE),
        Arguments.of(
            client(new RuntimeException("deeper", new IOException("reset"))), Kind.UNAVAILABLE),
        Arguments.of(client(new UncheckedIOException(new IOException("x"))), Kind.UNAVAILABLE),
        Arguments.of(client(new TimeoutException("late")), Kind.UNAVAILABLE),
        Arguments.of(client(ApiCallTimeoutException.create(1)), Kind.UNAVAILABLE),
        Arguments.of(client(ApiCallAttemptTimeoutException.create(1)), Kind.UNAVAILABLE),
        Arguments.of(ApiCallTimeoutException.create(1), Kind.UNAVAILABLE),
        Arguments.of(client(service(400, "ThrottlingException")), Kind.UNAVAILABLE),
        Arguments.of(client(service(500, "InternalFailure")), Kind.UNAVAILABLE),
        Arguments.of(service(400, "Throttling"), Kind.UNAVAILABLE),
        Arguments.of(service(429, "SomethingNew"), Kind.UNAVAILABLE),
        Arguments.of(service(503, "SomethingNew"), Kind.UNAVAILABLE),
        Arguments.of(new RejectedExecutionException("full"), Kind.UNAVAILABLE),
        // There are none.
        Arguments.of(SdkClientException.create("Unable to load credentials"), Kind.ACCESS_DENIED),
        Arguments.of(client(new IllegalStateException("no role")), Kind.ACCESS_DENIED),
        Arguments.of(service(403, "AccessDenied"), Kind.ACCESS_DENIED),
        Arguments.of(client(service(400, "ExpiredToken")), Kind.ACCESS_DENIED),
        // Something is wrong with the program.
        Arguments.of(new IllegalStateException("no client"), Kind.OTHER),
        Arguments.of(new IllegalStateException("x", new IOException("y")), Kind.OTHER),
        Arguments.of(new IOException("no file"), Kind.OTHER),
        Arguments.of(new NoClassDefFoundError("sts"), Kind.OTHER),
        Arguments.of(new NullPointerException(), Kind.OTHER));
  }

  @ParameterizedTest
  @MethodSource("failuresToGetReady")
  void failureToGetReady_hasItsKind(Throwable e, Kind kind) {
    for (Throwable any : new Throwable[] {e, wrapped(e)}) {
      KmsException mapped = KmsErrors.notReady("us-west-2", any);

      assertThat(mapped.kind()).isEqualTo(kind);
      assertThat(mapped.isRetryable()).isEqualTo(kind == Kind.UNAVAILABLE);
      assertThat(mapped).hasMessageContaining("us-west-2").hasCause(e);
    }
  }

  private static Throwable failureOf(AwsCredentialsProvider provider) {
    return Objects.requireNonNull(catchThrowable(provider::resolveCredentials));
  }

  private static ProfileCredentialsProvider noProfile() {
    return ProfileCredentialsProvider.builder()
        .profileFile(ProfileFile.aggregator().build())
        .profileName("none")
        .build();
  }

  private static void isOfCredentials(Throwable e, Kind kind) {
    for (Throwable any : new Throwable[] {e, wrapped(e)}) {
      KmsException mapped = KmsErrors.notReady("us-west-2", any);

      assertThat(mapped.kind()).isEqualTo(kind);
      assertThat(mapped.isRetryable()).isEqualTo(kind == Kind.UNAVAILABLE);
      assertThat(mapped).hasMessageContaining("us-west-2").hasCause(e);
    }
  }

  /** The SDK drops why each of them failed, of which one may be an instance that is busy. */
  @Test
  void chainThatFails_mayPass() {
    Throwable e =
        failureOf(
            AwsCredentialsProviderChain.of(
                noProfile(),
                () -> {
                  throw SdkClientException.create("busy", new IOException("refused"));
                }));
    assertThat(causes(e)).noneMatch(IOException.class::isInstance);

    isOfCredentials(e, Kind.UNAVAILABLE);
    isOfCredentials(client(e), Kind.UNAVAILABLE);
  }

  @Test
  void chainWithAnInstanceThatRefuses_mayPass() throws IOException {
    try (InstanceProfileCredentialsProvider instance =
            InstanceProfileCredentialsProvider.builder().endpoint(refusing()).build();
        AwsCredentialsProviderChain chain = AwsCredentialsProviderChain.of(noProfile(), instance)) {
      isOfCredentials(failureOf(chain), Kind.UNAVAILABLE);
    }
  }

  /** What is used where nobody sets credentials. */
  @Test
  void defaultProvider_whereTheInstanceRefuses_mayPass() throws IOException {
    // Where the environment has credentials, they are found.
    assumeThat(System.getenv().keySet())
        .doesNotContain(
            "AWS_ACCESS_KEY_ID",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_WEB_IDENTITY_TOKEN_FILE");
    String property = SdkSystemSetting.AWS_EC2_METADATA_SERVICE_ENDPOINT.property();
    String before = System.getProperty(property);
    System.setProperty(property, refusing());
    try (DefaultCredentialsProvider provider =
        DefaultCredentialsProvider.builder()
            .profileFile(ProfileFile.aggregator().build())
            .profileName("none")
            .build()) {
      isOfCredentials(failureOf(provider), Kind.UNAVAILABLE);
    } finally {
      if (before == null) {
        System.clearProperty(property);
      } else {
        System.setProperty(property, before);
      }
    }
  }

  @Test
  void providerThatHasNone_isAccessDenied() {
    Throwable e = failureOf(noProfile());
    assertThat(e).isInstanceOf(SdkClientException.class).hasNoCause();
    isOfCredentials(e, Kind.ACCESS_DENIED);
  }

  private static String refusing() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return "http://127.0.0.1:" + socket.getLocalPort();
    }
  }

  private static Stream<Throwable> causes(Throwable e) {
    return Stream.iterate(e, Objects::nonNull, Throwable::getCause);
  }

  @Test
  void causesThatGoInACircle_areLookedAtForAWhileOnly() {
    RuntimeException first = new RuntimeException("first");
    first.initCause(new RuntimeException("second", first));
    assertThat(KmsErrors.notReady("us-west-2", client(first)).kind()).isEqualTo(Kind.ACCESS_DENIED);
    assertThat(of(client(first)).kind()).isEqualTo(Kind.UNAVAILABLE);
  }

  @Test
  void timeout_namesItsLimit() {
    KmsException mapped = KmsErrors.late("us-west-2", "Encrypt", Duration.ofMillis(1_500));
    assertThat(mapped.kind()).isEqualTo(Kind.TIMEOUT);
    assertThat(mapped)
        .hasMessage(
            "Encrypt was not answered by us-west-2 within 1500 ms; look at the network, or raise"
                + " regionTimeout");
  }

  @Test
  void timeoutOfCredentials_namesThem_andTheirLimit() {
    KmsException mapped = KmsErrors.notReadyInTime("us-west-2", Duration.ofMillis(1_500));
    assertThat(mapped.kind()).isEqualTo(Kind.TIMEOUT);
    assertThat(mapped.isRetryable()).isTrue();
    assertThat(mapped)
        .hasMessage(
            "there were no credentials for us-west-2 within 1500 ms; look at their provider");
  }

  // Of several regions.

  private static KmsRegion region(String name) {
    return new KmsRegion(
        name,
        "alias/key",
        KmsClient.ofUser(name, any -> FakeClient.ready()),
        Duration.ofMillis(1_500));
  }

  private static KmsException failure(Kind kind, String message) {
    return new KmsException(kind, message, new IOException(message));
  }

  @Test
  void severalFailures_haveTheKindOfTheFirst() {
    KmsException first = failure(Kind.KEY_DISABLED, "first");
    KmsException second = failure(Kind.ACCESS_DENIED, "second");

    KmsException all = RegionFailures.none().and(A, first).and(B, second).toException("what");

    assertThat(all.kind()).isEqualTo(Kind.KEY_DISABLED);
    assertThat(all.isRetryable()).isFalse();
    assertThat(all).hasMessage("what: first (KEY_DISABLED); second (ACCESS_DENIED)");
    assertThat(all).hasCause(first.getCause());
    assertThat(all.getSuppressed()).containsExactly(second);
  }

  @Test
  void severalFailures_haveTheKindOfTheFirstThatMayPass() {
    KmsException first = failure(Kind.KEY_DISABLED, "first");
    KmsException second = failure(Kind.THROTTLED, "second");
    KmsException third = failure(Kind.TIMEOUT, "third");

    KmsException all =
        RegionFailures.none().and(A, first).and(B, second).and(C, third).toException("what");

    assertThat(all.kind()).isEqualTo(Kind.THROTTLED);
    assertThat(all.isRetryable()).isTrue();
    assertThat(all).hasMessage("what: first (KEY_DISABLED); second (THROTTLED); third (TIMEOUT)");
    assertThat(all).hasCause(second.getCause());
    assertThat(all.getSuppressed()).containsExactly(first, third);
  }

  @Test
  void timeout_isThatOfItsRegion_andOfNoOtherKind() {
    KmsException late = failure(Kind.TIMEOUT, "late");
    RegionFailures all =
        RegionFailures.none().and(A, failure(Kind.UNAVAILABLE, "refused")).and(B, late);
    assertThat(all.timeoutOf(A)).isEmpty();
    assertThat(all.timeoutOf(B)).containsSame(late);
    assertThat(all.timeoutOf(C)).isEmpty();
  }

  @Test
  void failures_areNotChanged_whereAnotherIsAdded() {
    RegionFailures one = RegionFailures.none().and(A, failure(Kind.TIMEOUT, "first"));
    one.and(B, failure(Kind.OTHER, "second"));
    assertThat(one.toException("what")).hasMessage("what: first (TIMEOUT)");
    assertThat(one.toException("what").getSuppressed()).isEmpty();
  }
}
