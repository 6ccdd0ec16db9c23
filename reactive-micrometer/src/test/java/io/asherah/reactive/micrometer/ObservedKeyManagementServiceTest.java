package io.asherah.reactive.micrometer;

import static io.asherah.reactive.micrometer.ObservedMetastoreTest.KEY;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.testsupport.Await;
import io.micrometer.observation.Observation;
import io.micrometer.observation.ObservationHandler;
import io.micrometer.observation.tck.TestObservationRegistry;
import java.util.Arrays;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

class ObservedKeyManagementServiceTest {
  private static final byte[] WRAPPED = {1, 2, 3};

  private final TestObservationRegistry observations = TestObservationRegistry.create();

  private KeyManagementService observed(Mono<byte[]> wrapped, Mono<CryptoKey> unwrapped) {
    return ObservedKeyManagementService.create(
        new KeyManagementService() {
          @Override
          public Mono<byte[]> encryptKey(Secret systemKey) {
            return wrapped;
          }

          @Override
          public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
            assertThat(encryptedKey).isSameAs(WRAPPED);
            return unwrapped;
          }

          @Override
          public String name() {
            return "test";
          }
        },
        observations);
  }

  private static Secret withSecret(SecretFactory secrets) {
    return Objects.requireNonNull(secrets.create(new byte[32]).block(Await.TIMEOUT));
  }

  @Test
  void name_isThatOfTheService() {
    assertThat(observed(Mono.empty(), Mono.empty()).name()).isEqualTo("test");
  }

  @Test
  void encryptKey_isObserved() {
    SecretFactory secrets = SecretFactory.builder().build();
    Secret secret = withSecret(secrets);
    Observation parent = Observation.start("caller", observations);
    Mono<byte[]> encrypt = observed(Mono.just(WRAPPED), Mono.empty()).encryptKey(secret);
    assertThat(observations).hasNumberOfObservationsEqualTo(1);

    StepVerifier.create(encrypt.contextWrite(context -> context.put(KEY, parent)))
        .expectNext(WRAPPED)
        .verifyComplete();

    assertThat(observations)
        .hasObservationWithNameEqualTo("asherah.kms.encryptkey")
        .that()
        .hasBeenStopped()
        .hasLowCardinalityKeyValue("kms", "test")
        .hasLowCardinalityKeyValue("reactor.status", "completed")
        .hasOnlyKeys("kms", "reactor.status", "reactor.type")
        .hasParentObservationEqualTo(parent);
    secrets.close().block(Await.TIMEOUT);
  }

  @Test
  void decryptKey_isObserved_andTheKeyBelongsToTheSubscriber() {
    byte[] bytes = new byte[32];
    Arrays.fill(bytes, (byte) 7);
    Observation parent = Observation.start("caller", observations);
    Mono<CryptoKey> decrypt =
        observed(Mono.empty(), Mono.fromSupplier(() -> CryptoKey.takeOwnershipOf(bytes)))
            .decryptKey(WRAPPED);
    assertThat(observations).hasNumberOfObservationsEqualTo(1);

    CryptoKey key =
        Objects.requireNonNull(
            decrypt.contextWrite(context -> context.put(KEY, parent)).block(Await.TIMEOUT));

    assertThat(key.take()).isSameAs(bytes).containsOnly(7);
    assertThat(observations)
        .hasObservationWithNameEqualTo("asherah.kms.decryptkey")
        .that()
        .hasBeenStopped()
        .hasLowCardinalityKeyValue("kms", "test")
        .hasLowCardinalityKeyValue("reactor.status", "completed")
        .hasOnlyKeys("kms", "reactor.status", "reactor.type")
        .hasParentObservationEqualTo(parent);
  }

  @Test
  void error_isReportedAndPassedOn() {
    KmsException error = new KmsException(KmsException.Kind.OTHER, "down", null);

    StepVerifier.create(observed(Mono.empty(), Mono.error(error)).decryptKey(WRAPPED))
        .verifyErrorSatisfies(e -> assertThat(e).isSameAs(error));

    assertThat(observations)
        .hasSingleObservationThat()
        .hasBeenStopped()
        .hasLowCardinalityKeyValue("reactor.status", "error")
        .hasError(error);
  }

  @Test
  void cancel_endsTheObservation() {
    StepVerifier.create(observed(Mono.empty(), Mono.never()).decryptKey(WRAPPED))
        .thenCancel()
        .verify();

    assertThat(observations)
        .hasSingleObservationThat()
        .hasBeenStopped()
        .doesNotHaveError()
        .hasLowCardinalityKeyValue("reactor.status", "cancelled");
  }

  @Test
  void handlerThatThrows_failsTheCall_andTheKeyIsWiped() {
    byte[] bytes = new byte[32];
    Arrays.fill(bytes, (byte) 7);
    observations
        .observationConfig()
        .observationHandler(
            new ObservationHandler<Observation.Context>() {
              @Override
              public void onStop(Observation.Context context) {
                throw new IllegalStateException("thrown on purpose");
              }

              @Override
              public boolean supportsContext(Observation.Context context) {
                return true;
              }
            });

    StepVerifier.create(
            observed(Mono.empty(), Mono.fromSupplier(() -> CryptoKey.takeOwnershipOf(bytes)))
                .decryptKey(WRAPPED))
        .verifyErrorMessage("thrown on purpose");

    assertThat(bytes).containsOnly(0);
  }
}
