package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.done;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import io.asherah.reactive.kms.aws.KeyEnvelope.Kek;
import io.asherah.reactive.kms.aws.KmsScenario.Failed;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testaws.KmsRequest;
import io.asherah.reactive.testsupport.Await;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.test.StepVerifier;

/** Regions that a service had, and has still by the ARNs of their keys. */
class PreviousRegionIT {
  enum Clients {
    OF_THE_USER,
    BUILT_HERE
  }

  /** The first one is kept, the others were removed. */
  private final KmsScenario scenario = new KmsScenario(3);

  private final List<AwsKeyManagementService> services = new ArrayList<>();

  @AfterEach
  void close() {
    services.forEach(kms -> done(kms.close()));
    scenario.close();
  }

  private AwsKeyManagementService kept(Clients clients) {
    AwsKeyManagementService.Builder builder =
        AwsKeyManagementService.builder()
            .region(scenario.name(0), scenario.key(0).arn())
            .previousKeyArns(List.of(scenario.key(1).arn()))
            .previousKeyArns(List.of(scenario.key(2).arn()))
            .regionTimeout(KmsScenario.PATIENCE)
            .metricsRecorder(scenario.recorder);
    AwsKeyManagementService kms =
        clients == Clients.OF_THE_USER
            ? builder.clientFactory(scenario::client).build()
            : builder
                .credentialsProvider(KmsScenario.credentials())
                .clientCustomizer(scenario::customize)
                .build();
    services.add(kms);
    return kms;
  }

  /** A system key that only these regions have wrapped. */
  private byte[] wrappedBy(int... regions) {
    AwsKeyManagementService.Builder builder =
        AwsKeyManagementService.builder()
            .regionTimeout(KmsScenario.PATIENCE)
            .clientFactory(scenario::client);
    for (int region : regions) {
      builder.region(scenario.name(region), scenario.key(region).arn());
    }
    return scenario.wrap(builder.build(), 5);
  }

  private List<String> requestsSince(int before) {
    return scenario.server.requests().stream()
        .skip(before)
        .map(request -> request.region() + " " + request.operation())
        .toList();
  }

  @ParameterizedTest
  @EnumSource
  void regionThatWasRemoved_opensWhatItWrapped_andIsToldTheKey(Clients clients) {
    for (int region = 1; region < 3; region++) {
      byte[] wrapped = wrappedBy(region);
      int before = scenario.server.requests().size();

      assertThat(unwrap(kept(clients), wrapped)).isEqualTo(bytes(5));

      assertThat(requestsSince(before)).containsExactly(scenario.name(region) + " Decrypt");
      assertThat(scenario.server.requests().get(before).keyId())
          .isEqualTo(scenario.key(region).arn());
    }
  }

  @ParameterizedTest
  @EnumSource
  void regionsThatWereRemoved_areAskedLast(Clients clients) {
    byte[] wrapped = wrappedBy(2, 1, 0);
    AwsKeyManagementService kms = kept(clients);
    int before = scenario.server.requests().size();
    unwrap(kms, wrapped);
    assertThat(requestsSince(before)).containsExactly(scenario.name(0) + " Decrypt");

    scenario.key(0).deny();
    scenario.key(1).deny();
    before = scenario.server.requests().size();
    assertThat(unwrap(kms, wrapped)).isEqualTo(bytes(5));

    assertThat(requestsSince(before))
        .containsExactly(
            scenario.name(0) + " Decrypt",
            scenario.name(1) + " Decrypt",
            scenario.name(2) + " Decrypt");
    assertThat(scenario.recorder.take())
        .containsExactly(
            new Failed("aws", scenario.name(0), Kind.ACCESS_DENIED),
            new Failed("aws", scenario.name(1), Kind.ACCESS_DENIED));
  }

  @ParameterizedTest
  @EnumSource
  void regionsThatWereRemoved_neitherMakeNorWrap_norAreWarmedUp(Clients clients) {
    AwsKeyManagementService kms = kept(clients);
    done(kms.warmUp());
    byte[] wrapped = scenario.wrap(kms, 5);
    assertThat(KeyEnvelope.fromJson(wrapped).keks())
        .extracting(Kek::region)
        .containsExactly(scenario.name(0));

    scenario.key(0).deny();
    try (Secret secret = scenario.secret(1)) {
      StepVerifier.create(kms.encryptKey(secret)).verifyError(KmsException.class);
    }

    assertThat(scenario.server.requests())
        .extracting(KmsRequest::region)
        .containsOnly(scenario.name(0));
    assertThat(kms).hasToString("AwsKeyManagementService[" + scenario.name(0) + "]");
  }

  @Test
  void clientOfARegionThatWasRemoved_isGotWhenItIsNeeded() {
    Set<String> built = ConcurrentHashMap.newKeySet();
    AwsKeyManagementService kms =
        AwsKeyManagementService.builder()
            .region(scenario.name(0), scenario.key(0).arn())
            .previousKeyArns(List.of(scenario.key(1).arn()))
            .regionTimeout(KmsScenario.PATIENCE)
            .clientFactory(
                region -> {
                  built.add(region);
                  return scenario.client(region);
                })
            .build();
    done(kms.warmUp());
    unwrap(kms, scenario.wrap(kms, 1));
    assertThat(built).containsExactly(scenario.name(0));
    unwrap(kms, wrappedBy(1));
    assertThat(built).containsExactlyInAnyOrder(scenario.name(0), scenario.name(1));
  }

  @Test
  void close_closesTheClientsOfRegionsThatWereRemoved() {
    AwsKeyManagementService kms = kept(Clients.BUILT_HERE);
    byte[] wrapped = wrappedBy(1);
    assertThat(unwrap(kms, wrapped)).isEqualTo(bytes(5));
    int before = scenario.server.requests().size();

    done(kms.close());

    StepVerifier.create(kms.decryptKey(wrapped))
        .verifyErrorSatisfies(e -> assertThat(e).hasMessageContaining("closed"));
    assertThat(requestsSince(before)).isEmpty();
  }

  @Test
  void severalKeysOfARegionThatWasRemoved_areOneClient() {
    AwsKeyManagementService.Builder builder =
        AwsKeyManagementService.builder()
            .region(scenario.name(1), scenario.region(1).createKey().arn())
            .regionTimeout(KmsScenario.PATIENCE)
            .clientFactory(scenario::client);
    byte[] first = wrappedBy(1);
    byte[] second = scenario.wrap(builder.build(), 6);
    Set<String> built = ConcurrentHashMap.newKeySet();
    AwsKeyManagementService kms =
        AwsKeyManagementService.builder()
            .region(scenario.name(0), scenario.key(0).arn())
            .previousKeyArns(
                List.of(scenario.key(1).arn(), KeyEnvelope.fromJson(second).keks().get(0).arn()))
            .regionTimeout(KmsScenario.PATIENCE)
            .clientFactory(
                region -> {
                  assertThat(built.add(region)).isTrue();
                  return scenario.client(region);
                })
            .build();

    assertThat(unwrap(kms, first)).isEqualTo(bytes(5));
    assertThat(unwrap(kms, second)).isEqualTo(bytes(6));

    assertThat(built).containsExactly(scenario.name(1));
  }

  /** It has no key of its own, so no name is that of its key. */
  @ParameterizedTest
  @ValueSource(strings = {"", " ", "alias/planted"})
  void recordThatNamesNoneOfItsKeys_isRefusedWithoutACall(String arn) {
    KeyEnvelope made = KeyEnvelope.fromJson(wrappedBy(1));
    byte[] planted =
        new KeyEnvelope(
                made.encryptedKey(),
                List.of(new Kek(scenario.name(1), arn, made.keks().get(0).encryptedKek())))
            .toJson();
    int before = scenario.server.requests().size();

    StepVerifier.create(kept(Clients.OF_THE_USER).decryptKey(planted))
        .verifyErrorSatisfies(
            e -> {
              assertThat(((KmsException) e).kind()).isEqualTo(Kind.INVALID_CIPHERTEXT);
              assertThat(e).hasMessageContaining("not configured");
            });

    assertThat(requestsSince(before)).isEmpty();
    assertThat(scenario.recorder.take()).isEmpty();
  }

  @Test
  void anyKeyArn_doesNotAddRegions_thatNoArnNames() {
    AwsKeyManagementService kms =
        AwsKeyManagementService.builder()
            .region(scenario.name(0), scenario.key(0).arn())
            .acceptAnyKeyArn()
            .regionTimeout(KmsScenario.PATIENCE)
            .clientFactory(scenario::client)
            .build();
    byte[] wrapped = wrappedBy(1);
    int before = scenario.server.requests().size();
    StepVerifier.create(kms.decryptKey(wrapped)).verifyError(KmsException.class);
    assertThat(requestsSince(before)).isEmpty();
    Await.until(() -> scenario.server.underWay() == 0);
  }
}
