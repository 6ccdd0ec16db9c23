package io.asherah.reactive.testaws;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.tuple;

import io.asherah.reactive.testsupport.Await;
import java.net.ConnectException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.awscore.exception.AwsServiceException;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.services.kms.KmsAsyncClient;
import software.amazon.awssdk.services.kms.model.DataKeySpec;
import software.amazon.awssdk.services.kms.model.DecryptResponse;
import software.amazon.awssdk.services.kms.model.DependencyTimeoutException;
import software.amazon.awssdk.services.kms.model.DisabledException;
import software.amazon.awssdk.services.kms.model.EncryptResponse;
import software.amazon.awssdk.services.kms.model.GenerateDataKeyRequest;
import software.amazon.awssdk.services.kms.model.GenerateDataKeyResponse;
import software.amazon.awssdk.services.kms.model.IncorrectKeyException;
import software.amazon.awssdk.services.kms.model.InvalidCiphertextException;
import software.amazon.awssdk.services.kms.model.KeyMetadata;
import software.amazon.awssdk.services.kms.model.KeyState;
import software.amazon.awssdk.services.kms.model.KeyUnavailableException;
import software.amazon.awssdk.services.kms.model.KmsException;
import software.amazon.awssdk.services.kms.model.KmsInternalException;
import software.amazon.awssdk.services.kms.model.KmsInvalidStateException;
import software.amazon.awssdk.services.kms.model.NotFoundException;

class KmsServerIT {
  private static final SdkBytes PLAINTEXT = SdkBytes.fromUtf8String("plaintext");

  private final Clients clients = new Clients();
  private final KmsServer server = KmsServer.start("us-west-2", "us-east-1");
  private final KmsRegion west = server.region("us-west-2");
  private final KmsRegion east = server.region("us-east-1");
  private final KmsKey key = west.createKey();
  private KmsAsyncClient client = clients.kms(west);

  @AfterEach
  void close() {
    clients.close();
    server.close();
  }

  private CompletableFuture<GenerateDataKeyResponse> generate(String keyId) {
    return client.generateDataKey(b -> b.keyId(keyId).keySpec(DataKeySpec.AES_256));
  }

  private CompletableFuture<EncryptResponse> encrypt(String keyId) {
    return client.encrypt(b -> b.keyId(keyId).plaintext(PLAINTEXT));
  }

  private CompletableFuture<DecryptResponse> decrypt(SdkBytes blob) {
    return client.decrypt(b -> b.ciphertextBlob(blob));
  }

  private static AwsServiceException error(CompletableFuture<?> call) {
    Throwable error = Clients.failure(call);
    assertThat(error).isInstanceOf(AwsServiceException.class);
    return (AwsServiceException) error;
  }

  private static void assertError(CompletableFuture<?> call, int status, @Nullable String code) {
    AwsServiceException error = error(call);
    assertThat(error.awsErrorDetails().errorCode()).isEqualTo(code);
    assertThat(error.statusCode()).isEqualTo(status);
    assertThat(error.requestId()).isNotEmpty();
  }

  // The service.

  @Test
  void aDataKey_isGenerated_isWhatItsCiphertextDecryptsTo() {
    assertGeneratesAndDecrypts();
  }

  @Test
  void aDataKey_isGeneratedThroughCrt_isWhatItsCiphertextDecryptsTo() {
    client = clients.kms(west, clients.crt());
    assertGeneratesAndDecrypts();
    key.disable();
    assertThat(Clients.failure(generate(key.arn()))).isInstanceOf(DisabledException.class);
  }

  private void assertGeneratesAndDecrypts() {
    GenerateDataKeyResponse generated = generate(key.arn()).join();

    assertThat(generated.keyId()).isEqualTo(key.arn());
    assertThat(generated.plaintext().asByteArray()).hasSize(32);
    assertThat(generated.responseMetadata().requestId()).isNotEmpty();
    DecryptResponse decrypted = decrypt(generated.ciphertextBlob()).join();
    assertThat(decrypted.plaintext()).isEqualTo(generated.plaintext());
    assertThat(decrypted.keyId()).isEqualTo(key.arn());
    assertThat(decrypted.encryptionAlgorithmAsString()).isEqualTo("SYMMETRIC_DEFAULT");
    assertThat(generate(key.arn()).join().plaintext()).isNotEqualTo(generated.plaintext());
  }

  @Test
  void aDataKey_isGeneratedOfALength_hasIt() {
    assertThat(generateOf(b -> b.keySpec(DataKeySpec.AES_128)).plaintext().asByteArray())
        .hasSize(16);
    assertThat(generateOf(b -> b.numberOfBytes(1)).plaintext().asByteArray()).hasSize(1);
    assertThat(generateOf(b -> b.numberOfBytes(1024)).plaintext().asByteArray()).hasSize(1024);
  }

  private GenerateDataKeyResponse generateOf(Consumer<GenerateDataKeyRequest.Builder> length) {
    return client.generateDataKey(b -> b.keyId(key.arn()).applyMutation(length)).join();
  }

  @Test
  void requests_areInvalid_areRejected() {
    String id = key.id();
    String invalid = "ValidationException";
    assertError(client.generateDataKey(b -> b.keyId(id)), 400, invalid);
    assertError(
        client.generateDataKey(b -> b.keyId(id).numberOfBytes(32).keySpec(DataKeySpec.AES_256)),
        400,
        invalid);
    assertError(client.generateDataKey(b -> b.keyId(id).numberOfBytes(0)), 400, invalid);
    assertError(client.generateDataKey(b -> b.keyId(id).numberOfBytes(1025)), 400, invalid);
    assertError(client.generateDataKey(b -> b.keyId(id).keySpec("AES_512")), 400, invalid);
    assertError(client.generateDataKey(b -> b.numberOfBytes(32)), 400, invalid);
    assertError(client.encrypt(b -> b.plaintext(PLAINTEXT)), 400, invalid);
    assertError(encryptOf(0), 400, invalid);
    assertError(encryptOf(4097), 400, invalid);
    assertError(client.decrypt(b -> b.keyId(id)), 400, invalid);
    assertError(client.listKeys(), 400, "UnknownOperationException");
  }

  private CompletableFuture<EncryptResponse> encryptOf(int length) {
    return client.encrypt(
        b -> b.keyId(key.id()).plaintext(SdkBytes.fromByteArray(new byte[length])));
  }

  @Test
  void aPlaintext_isOfTheGreatestLength_isDecrypted() {
    SdkBytes blob = encryptOf(4096).join().ciphertextBlob();

    assertThat(decrypt(blob).join().plaintext().asByteArray()).isEqualTo(new byte[4096]);
  }

  @Test
  void aKey_isNamedInAnyWay_theAnswersNameItsArn() {
    String aliasArn = key.alias("alias/mine");
    assertThat(key.arn()).isEqualTo("arn:aws:kms:us-west-2:111122223333:key/" + key.id());
    assertThat(aliasArn).isEqualTo("arn:aws:kms:us-west-2:111122223333:alias/mine");

    for (String keyId : List.of(key.id(), key.arn(), "alias/mine", aliasArn)) {
      assertThat(generate(keyId).join().keyId()).isEqualTo(key.arn());
      EncryptResponse encrypted = encrypt(keyId).join();
      assertThat(encrypted.keyId()).isEqualTo(key.arn());
      DecryptResponse decrypted =
          client.decrypt(b -> b.keyId(keyId).ciphertextBlob(encrypted.ciphertextBlob())).join();
      assertThat(decrypted.keyId()).isEqualTo(key.arn());
      assertThat(decrypted.plaintext()).isEqualTo(PLAINTEXT);
    }
    assertThatThrownBy(() -> key.alias("mine")).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void anAlias_isGivenToAnotherKey_namesThatOne() {
    key.alias("alias/moved");
    KmsKey other = west.createKey();
    other.alias("alias/moved");

    assertThat(encrypt("alias/moved").join().keyId()).isEqualTo(other.arn());
  }

  @Test
  void aKey_isUnknown_isNotFound() {
    KmsKey elsewhere = east.createKey();
    for (String keyId :
        List.of(
            elsewhere.arn(),
            elsewhere.id(),
            elsewhere.alias("alias/elsewhere"),
            "alias/elsewhere",
            key.arn() + "0",
            "nothing")) {
      assertThat(Clients.failure(generate(keyId))).isInstanceOf(NotFoundException.class);
      assertThat(Clients.failure(encrypt(keyId))).isInstanceOf(NotFoundException.class);
      assertThat(Clients.failure(client.describeKey(b -> b.keyId(keyId))))
          .isInstanceOf(NotFoundException.class);
    }
  }

  @Test
  void aCiphertext_isTamperedWith_isInvalid() {
    byte[] blob = encrypt(key.id()).join().ciphertextBlob().asByteArray();

    for (int i = 0; i < blob.length; i++) {
      byte[] tampered = blob.clone();
      tampered[i] ^= 1;
      assertInvalid(decrypt(SdkBytes.fromByteArray(tampered)));
    }
    assertInvalid(decrypt(SdkBytes.fromByteArray(new byte[1])));
    assertInvalid(decrypt(SdkBytes.fromByteArray(new byte[100])));
  }

  private static void assertInvalid(CompletableFuture<?> call) {
    AwsServiceException error = error(call);
    assertThat(error).isInstanceOf(InvalidCiphertextException.class);
    assertThat(error.statusCode()).isEqualTo(400);
    assertThat(error.awsErrorDetails().errorMessage()).isNull();
  }

  @Test
  void aCiphertext_isOfAnotherKey_isNotThatOfTheOneThatIsNamed() {
    KmsKey other = west.createKey();
    SdkBytes blob = encrypt(other.id()).join().ciphertextBlob();

    assertThat(Clients.failure(client.decrypt(b -> b.keyId(key.arn()).ciphertextBlob(blob))))
        .isInstanceOf(IncorrectKeyException.class);
    assertThat(decrypt(blob).join().keyId()).isEqualTo(other.arn());
  }

  @Test
  void aCiphertext_isOfAnotherRegion_isInvalid() {
    SdkBytes blob = encrypt(key.id()).join().ciphertextBlob();

    assertInvalid(clients.kms(east).decrypt(b -> b.ciphertextBlob(blob)));
  }

  @Test
  void anEncryptionContext_isGiven_onlyTheSameDecrypts() {
    SdkBytes blob =
        client
            .encrypt(
                b ->
                    b.keyId(key.id())
                        .plaintext(PLAINTEXT)
                        .encryptionContext(Map.of("a", "1", "b", "2")))
            .join()
            .ciphertextBlob();

    assertInvalid(decrypt(blob));
    assertInvalid(client.decrypt(b -> b.ciphertextBlob(blob).encryptionContext(Map.of("a", "1"))));
    assertThat(
            client
                .decrypt(b -> b.ciphertextBlob(blob).encryptionContext(Map.of("b", "2", "a", "1")))
                .join()
                .plaintext())
        .isEqualTo(PLAINTEXT);
  }

  @Test
  void aKey_changesItsState_itsCallsFailAccordingly() {
    SdkBytes blob = encrypt(key.id()).join().ciphertextBlob();

    key.disable();
    assertKeyFails(DisabledException.class, blob);
    assertThat(describe().keyState()).isEqualTo(KeyState.DISABLED);
    key.scheduleDeletion();
    assertKeyFails(KmsInvalidStateException.class, blob);
    assertThat(describe().keyState()).isEqualTo(KeyState.PENDING_DELETION);
    key.enable();
    assertThat(decrypt(blob).join().plaintext()).isEqualTo(PLAINTEXT);
    assertThat(describe().enabled()).isTrue();
    assertThat(describe().arn()).isEqualTo(key.arn());
    key.delete();
    assertKeyFails(NotFoundException.class, blob);
    assertThatThrownBy(key::enable).isInstanceOf(IllegalStateException.class);
  }

  private void assertKeyFails(Class<? extends KmsException> type, SdkBytes blob) {
    assertThat(Clients.failure(generate(key.id()))).isInstanceOf(type);
    assertThat(Clients.failure(encrypt(key.id()))).isInstanceOf(type);
    assertThat(Clients.failure(decrypt(blob))).isInstanceOf(type);
  }

  private KeyMetadata describe() {
    return client.describeKey(b -> b.keyId(key.id())).join().keyMetadata();
  }

  @Test
  void aKey_deniesAnOperation_onlyThatIsDenied() {
    SdkBytes blob = encrypt(key.id()).join().ciphertextBlob();
    key.deny("Decrypt");

    AwsServiceException error = error(decrypt(blob));

    assertThat(error.statusCode()).isEqualTo(400);
    assertThat(error.awsErrorDetails().errorCode()).isEqualTo("AccessDeniedException");
    assertThat(error.awsErrorDetails().errorMessage())
        .startsWith("User: arn:aws:iam::111122223333:user/test")
        .contains("is not authorized to perform: kms:Decrypt on resource: " + key.arn());
    encrypt(key.id()).join();
    key.deny();
    assertError(encrypt(key.id()), 400, "AccessDeniedException");
    assertError(client.describeKey(b -> b.keyId(key.id())), 400, "AccessDeniedException");
    key.allow();
    assertThat(decrypt(blob).join().plaintext()).isEqualTo(PLAINTEXT);
  }

  @Test
  void aRequest_isNotSignedForTheRegion_isRejected() {
    client = clients.anonymousKms(west);
    assertError(generate(key.id()), 403, "MissingAuthenticationTokenException");
    client = clients.kmsSignedFor("us-east-1", west);
    assertError(generate(key.id()), 403, "InvalidSignatureException");
  }

  // Recording.

  @Test
  void requests_arrive_areRecordedInOrder() {
    SdkBytes blob = generate("alias/none").handle((r, e) -> PLAINTEXT).join();
    encrypt(key.arn()).join();
    KmsAsyncClient eastern = clients.kms(east);
    Clients.failure(eastern.decrypt(b -> b.ciphertextBlob(blob)));

    assertThat(server.requests())
        .extracting(KmsRequest::region, KmsRequest::operation, KmsRequest::keyId)
        .containsExactly(
            tuple("us-west-2", "GenerateDataKey", "alias/none"),
            tuple("us-west-2", "Encrypt", key.arn()),
            tuple("us-east-1", "Decrypt", null));
    assertThat(server.requests()).allMatch(request -> request.call().isAnswered());
    assertThat(west.operations()).containsExactly("GenerateDataKey", "Encrypt");
    assertThat(west.calls("Encrypt")).isEqualTo(1);
    assertThat(east.calls("Encrypt")).isZero();
    assertThat(server.calls("Encrypt")).isEqualTo(1);
    assertThat(server.calls("Decrypt")).isEqualTo(1);
    assertThat(west.lastRequest("Encrypt")).contains(key.arn());
    assertThat(server.underWay()).isZero();
    assertThatThrownBy(() -> server.region("none")).isInstanceOf(IllegalArgumentException.class);
  }

  // Faults; those that a front of DynamoDB has, too, are shown there.

  @Test
  void aRegion_fails_itsErrorsAreThoseOfAwsAndAnotherRegionSucceeds() {
    west.fail(500, "KeyUnavailableException", null);
    assertThat(Clients.failure(generate(key.id()))).isInstanceOf(KeyUnavailableException.class);
    west.fail(500, "DependencyTimeoutException", null);
    assertThat(Clients.failure(generate(key.id()))).isInstanceOf(DependencyTimeoutException.class);
    west.fail(500, "KMSInternalException", null);
    assertThat(Clients.failure(generate(key.id()))).isInstanceOf(KmsInternalException.class);
    west.fail(400, "ThrottlingException", "Rate exceeded");
    AwsServiceException throttled = error(generate(key.id()));
    assertThat(throttled.isThrottlingException()).isTrue();
    assertThat(throttled.awsErrorDetails().rawResponse().asUtf8String())
        .isEqualTo("{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}");

    KmsAsyncClient eastern = clients.kms(east);
    eastern.generateDataKey(b -> b.keyId(east.createKey().id()).numberOfBytes(32)).join();
    server.healthy();
    generate(key.id()).join();
  }

  @Test
  void aRegion_failsOneOperationOnce_thenSucceeds() {
    SdkBytes blob = encrypt(key.id()).join().ciphertextBlob();
    west.on("Decrypt").times(1).fail(400, "AccessDeniedException", "no");

    encrypt(key.id()).join();
    assertError(decrypt(blob), 400, "AccessDeniedException");
    decrypt(blob).join();
  }

  @Test
  void answers_areMalformed_theClientFailsOrFindsNothing() {
    west.garbage();
    assertThat(Clients.failure(generate(key.id()))).isInstanceOf(SdkClientException.class);
    west.raw(503, "text/html", "<html>unavailable</html>");
    assertError(generate(key.id()), 503, null);
    west.truncate();
    assertThat(Clients.failure(generate(key.id()))).isInstanceOf(SdkClientException.class);
    west.emptyAnswer();
    assertThat(generate(key.id()).join().plaintext()).isNull();
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 16, 31, 33, 64})
  void plaintexts_areOfAnotherLength_bothOperationsAnswerWithIt(int length) {
    SdkBytes blob = generate(key.id()).join().ciphertextBlob();
    west.keyLength(length);

    assertThat(generate(key.id()).join().plaintext().asByteArray()).hasSize(length);
    assertThat(decrypt(blob).join().plaintext().asByteArray()).hasSize(length);
    assertInvalid(decrypt(PLAINTEXT));
    west.healthy();
    west.on("Decrypt").times(1).edit(KmsRegion.plaintextOf(length));
    assertThat(decrypt(blob).join().plaintext().asByteArray()).hasSize(length);
    assertThat(decrypt(blob).join().plaintext().asByteArray()).hasSize(32);
  }

  @Test
  void aRegion_refuses_untilItAccepts() {
    west.refuse();
    assertThat(Clients.failure(generate(key.id()))).hasRootCauseInstanceOf(ConnectException.class);
    assertThat(west.operations()).isEmpty();

    west.accept();

    generate(key.id()).join();
  }

  @Test
  void aRegion_isSilent_callsAreUnderWayUntilTheServerIsClosed() {
    west.times(1).silent();
    CompletableFuture<GenerateDataKeyResponse> silent = generate(key.id());
    Await.until(() -> server.underWay() == 1);
    assertThat(silent).isNotDone();
    generate(key.id()).join();

    server.close();

    assertThat(Clients.failure(silent)).isInstanceOf(SdkClientException.class);
    assertThat(server.requests().get(0).call().isAnswered()).isFalse();
    assertThat(server.requests().get(1).call().isAnswered()).isTrue();
  }

  @Test
  void aCall_isCancelled_isNoLongerUnderWay() {
    west.delay(Duration.ofDays(1));
    CompletableFuture<GenerateDataKeyResponse> cancelled = generate(key.id());
    Await.until(() -> west.underWay() == 1);

    cancelled.cancel(true);

    Await.until(() -> west.underWay() == 0);
    assertThat(server.requests().get(0).call().isAnswered()).isFalse();
  }

  @Test
  void aThousandCalls_areHeld_areAllAnsweredOnceTheyAreReleased() {
    west.hold();
    List<CompletableFuture<GenerateDataKeyResponse>> held =
        Stream.generate(() -> generate(key.id())).limit(1000).toList();
    Await.until(() -> west.underWay() == 1000);
    assertThat(held).noneMatch(CompletableFuture::isDone);
    assertThat(server.requests()).noneMatch(request -> request.call().isAnswered());
    long threads =
        Thread.getAllStackTraces().keySet().stream()
            .filter(thread -> thread.getName().startsWith("kms-"))
            .count();
    assertThat(threads).isLessThanOrEqualTo(2);

    west.release();

    held.forEach(CompletableFuture::join);
    assertThat(west.underWay()).isZero();
    generate(key.id()).join();
  }

  @Test
  void tenThousandCalls_areDelayed_areAllAnsweredNotBefore() {
    west.delay(Duration.ofMillis(300));

    for (int lot = 0; lot < 20; lot++) {
      long before = System.nanoTime();
      IntStream.range(0, 500)
          .mapToObj(i -> generate(key.id()))
          .toList()
          .forEach(CompletableFuture::join);
      assertThat(Duration.ofNanos(System.nanoTime() - before))
          .isGreaterThanOrEqualTo(Duration.ofMillis(300));
    }

    assertThat(west.calls("GenerateDataKey")).isEqualTo(10_000);
    assertThat(west.underWay()).isZero();
  }
}
