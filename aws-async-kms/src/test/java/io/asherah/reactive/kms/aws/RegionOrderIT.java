package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testaws.KmsRequest;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

/** Which region is asked when, and how often. */
class RegionOrderIT {
  private static final int RUNS = 1_000;

  /** The preferred one first, then as they were declared. */
  private static List<String> order(KmsScenario scenario, int preferred) {
    List<String> order = new ArrayList<>();
    order.add(scenario.name(preferred));
    for (int i = 0; i < 3; i++) {
      if (i != preferred) {
        order.add(scenario.name(i));
      }
    }
    return order;
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2})
  void order_isTheSameInEachRun(int preferred) {
    try (KmsScenario scenario = new KmsScenario(3);
        Log log = new Log();
        Secret secret = scenario.secret(1)) {
      AwsKeyManagementService kms =
          scenario.builder().preferredRegion(scenario.name(preferred)).build();
      byte[] wrapped = get(kms.encryptKey(secret));
      assertThat(KeyEnvelope.fromJson(wrapped).keks().stream().map(KeyEnvelope.Kek::region))
          .containsExactlyElementsOf(order(scenario, preferred));
      scenario.keys.forEach(key -> key.deny());
      int before = scenario.server.requests().size();

      Long failed =
          get(
              Flux.range(0, RUNS)
                  .concatMap(
                      i ->
                          (i % 2 == 0
                                  ? kms.encryptKey(secret).then(Mono.<Throwable>empty())
                                  : kms.decryptKey(wrapped).then(Mono.<Throwable>empty()))
                              .onErrorResume(Mono::just))
                  .count());

      assertThat(failed).isEqualTo(RUNS);
      List<KmsRequest> requests = scenario.server.requests();
      assertThat(requests).hasSize(before + 3 * RUNS);
      for (int i = before; i < requests.size(); i += 3) {
        assertThat(requests.subList(i, i + 3).stream().map(KmsRequest::region))
            .containsExactlyElementsOf(order(scenario, preferred));
      }
      assertThat(log.warnings()).hasSize(3 * RUNS);
    }
  }

  @Test
  void entriesInAnyOrder_areTriedInTheOrderOfTheRegions() {
    try (KmsScenario scenario = new KmsScenario(3)) {
      AwsKeyManagementService kms = scenario.builder().build();
      KeyEnvelope envelope = KeyEnvelope.fromJson(scenario.wrap(kms, 1));
      List<KeyEnvelope.Kek> keks = new ArrayList<>(envelope.keks());
      java.util.Collections.reverse(keks);
      byte[] reversed = new KeyEnvelope(envelope.encryptedKey(), keks).toJson();
      int before = scenario.server.requests().size();

      assertThat(unwrap(kms, reversed)).isEqualTo(bytes(1));

      assertThat(scenario.server.requests().subList(before, before + 1))
          .extracting(KmsRequest::region)
          .containsExactly(scenario.name(0));
      assertThat(scenario.server.requests()).hasSize(before + 1);
    }
  }

  @Test
  void healthyRegions_areAskedOnce() {
    try (KmsScenario scenario = new KmsScenario(3)) {
      AwsKeyManagementService kms = scenario.builder().build();

      byte[] wrapped = scenario.wrap(kms, 1);
      assertThat(scenario.server.requests()).hasSize(3);
      assertThat(scenario.region(0).operations()).containsExactly("GenerateDataKey");
      assertThat(scenario.region(1).operations()).containsExactly("Encrypt");
      assertThat(scenario.region(2).operations()).containsExactly("Encrypt");

      unwrap(kms, wrapped);
      assertThat(scenario.server.requests()).hasSize(4);
      assertThat(scenario.region(0).operations()).containsExactly("GenerateDataKey", "Decrypt");
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 16, 31, 33, 64})
  void keyOfAnotherLength_isOneError_andNoLoop(int length) {
    try (KmsScenario scenario = new KmsScenario(2)) {
      AwsKeyManagementService kms = scenario.builder().build();
      byte[] wrapped = scenario.wrap(kms, 1);
      scenario.region(0).keyLength(length);
      scenario.region(1).keyLength(length);
      int before = scenario.server.requests().size();

      try (Secret secret = scenario.secret(2)) {
        StepVerifier.create(kms.encryptKey(secret)).verifyErrorSatisfies(RegionOrderIT::isBadKey);
      }
      assertThat(scenario.server.requests().stream().skip(before).map(KmsRequest::operation))
          .containsExactly("GenerateDataKey", "GenerateDataKey");
      StepVerifier.create(kms.decryptKey(wrapped)).verifyErrorSatisfies(RegionOrderIT::isBadKey);
      assertThat(scenario.server.requests().stream().skip(before + 2).map(KmsRequest::operation))
          .containsExactly("Decrypt", "Decrypt");
    }
  }

  private static void isBadKey(Throwable e) {
    assertThat(e)
        .isInstanceOfSatisfying(
            KmsException.class,
            failure -> {
              assertThat(failure.kind()).isEqualTo(Kind.INVALID_KEY);
              assertThat(failure.isRetryable()).isFalse();
            });
  }

  @Test
  void keyOfAnotherLength_isOneErrorForASession_too() {
    try (KmsScenario scenario = new KmsScenario(2)) {
      scenario.region(0).keyLength(16);
      scenario.region(1).keyLength(16);
      SessionFactory factory =
          SessionFactory.builder("product", "service")
              .metastore(new InMemoryMetastore())
              .keyManagementService(scenario.builder().build())
              .callTimeout(KmsScenario.PATIENCE)
              .loadTimeout(KmsScenario.PATIENCE)
              .build();
      byte[] payload = "payload".getBytes(StandardCharsets.UTF_8);

      StepVerifier.create(factory.session("partition").encrypt(payload))
          .verifyErrorSatisfies(RegionOrderIT::isBadKey);
      assertThat(scenario.server.requests())
          .extracting(KmsRequest::operation)
          .containsExactly("GenerateDataKey", "GenerateDataKey");

      // And goes on when it is over.
      scenario.server.healthy();
      assertThat(get(factory.session("partition").encrypt(payload))).isNotNull();
      KmsScenario.done(factory.close());
    }
  }
}
