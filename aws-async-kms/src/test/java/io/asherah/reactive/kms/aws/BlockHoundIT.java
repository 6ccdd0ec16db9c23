package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.done;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.kms.aws.KmsScenario.Http;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.blockhound.BlockingOperationError;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;

/** Nothing blocks a thread that must not be, whatever credentials do. */
class BlockHoundIT {
  /** A service as it is on an instance: it waits, and what it answered is good for a while. */
  private static final class SlowCredentials implements AwsCredentialsProvider {
    final AtomicInteger fetched = new AtomicInteger();
    private boolean isValid;

    @Override
    public synchronized AwsCredentials resolveCredentials() {
      if (!isValid) {
        sleep(Duration.ofSeconds(1));
        fetched.incrementAndGet();
        isValid = true;
      }
      return KmsScenario.credentials().resolveCredentials();
    }

    synchronized void expire() {
      isValid = false;
    }
  }

  private static void sleep(Duration duration) {
    try {
      assertThat(new CountDownLatch(1).await(duration.toMillis(), TimeUnit.MILLISECONDS)).isFalse();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  /** So that the silence of the others means something. */
  @Test
  void slowCredentials_onAThreadThatMustNotBlock_areDetected() {
    SlowCredentials credentials = new SlowCredentials();
    StepVerifier.create(
            Mono.fromSupplier(credentials::resolveCredentials).subscribeOn(Schedulers.parallel()))
        .verifyError(BlockingOperationError.class);
    assertThat(credentials.fetched).hasValue(0);
  }

  /** The SDK itself waits for them where it is called. */
  @Test
  void clientCalledDirectly_isDetected() {
    try (KmsScenario scenario = new KmsScenario(1)) {
      SlowCredentials credentials = new SlowCredentials();
      try (var client =
          scenario
              .anonymousClientBuilder(scenario.name(0))
              .credentialsProvider(credentials)
              .build()) {
        StepVerifier.create(
                Mono.defer(
                        () ->
                            Mono.fromFuture(
                                client.generateDataKey(
                                    b -> b.keyId(scenario.key(0).arn()).keySpec("AES_256"))))
                    .subscribeOn(Schedulers.parallel()))
            .verifyErrorSatisfies(
                e ->
                    assertThat(e)
                        .satisfiesAnyOf(
                            any -> assertThat(any).isInstanceOf(BlockingOperationError.class),
                            any ->
                                assertThat(any)
                                    .hasRootCauseInstanceOf(BlockingOperationError.class)));
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void slowCredentialsThatExpire_blockNobody(Http http) {
    try (KmsScenario scenario = new KmsScenario(2, http);
        Secret secret = scenario.secret(1)) {
      SlowCredentials credentials = new SlowCredentials();
      AwsKeyManagementService kms = scenario.ownClients().credentialsProvider(credentials).build();
      AtomicInteger done = new AtomicInteger();

      Long opened =
          get(
              Flux.range(0, 600)
                  .flatMap(
                      i ->
                          kms.encryptKey(secret)
                              .flatMap(kms::decryptKey)
                              .map(CryptoKey::take)
                              .doOnNext(key -> assertThat(key).isEqualTo(bytes(1)))
                              .doOnNext(
                                  key -> {
                                    if (done.incrementAndGet() % 200 == 100) {
                                      // Not here, where a lock may be held for a second.
                                      Schedulers.boundedElastic().schedule(credentials::expire);
                                    }
                                  })
                              .subscribeOn(Schedulers.parallel()),
                      20)
                  .count());

      assertThat(opened).isEqualTo(600);
      assertThat(credentials.fetched.get()).isBetween(2, 4);
      assertThat(scenario.recorder.take()).isEmpty();
      done(kms.close());
    }
  }

  /** All the ways in which it can fail, on a thread that must not block. */
  @Test
  void failuresAndWarnings_blockNobody() {
    try (KmsScenario scenario = new KmsScenario(3);
        Secret secret = scenario.secret(1)) {
      AwsKeyManagementService kms =
          scenario.ownClients().credentialsProvider(KmsScenario.credentials()).build();
      byte[] wrapped = get(kms.encryptKey(secret).subscribeOn(Schedulers.parallel()));
      scenario.key(0).deny();
      scenario.region(1).garbage();
      scenario.region(2).refuse();
      for (Mono<?> call :
          new Mono<?>[] {
            kms.encryptKey(secret),
            kms.decryptKey(wrapped),
            kms.decryptKey(new byte[7]),
            kms.decryptKey(
                "{\"encryptedKey\":\"\",\"kmsKeks\":[]}"
                    .getBytes(java.nio.charset.StandardCharsets.UTF_8))
          }) {
        StepVerifier.create(call.subscribeOn(Schedulers.parallel()))
            .verifyErrorSatisfies(
                e -> {
                  for (Throwable any = e; any != null; any = any.getCause()) {
                    assertThat(any).isNotInstanceOf(BlockingOperationError.class);
                  }
                });
      }
      done(kms.close().subscribeOn(Schedulers.parallel()));
      StepVerifier.create(kms.warmUp().subscribeOn(Schedulers.parallel())).verifyError();
    }
  }
}
