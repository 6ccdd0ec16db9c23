package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.kms.aws.KeyEnvelope.Kek;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testaws.KmsKey;
import io.asherah.reactive.testaws.KmsRequest;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.test.StepVerifier;

/** Somebody who can write to the metastore, and has a master key that the service may use. */
class PlantedRecordIT {
  private static final byte[] PAYLOAD = "payload".getBytes(UTF_8);

  private final KmsScenario scenario = new KmsScenario(2);
  private final KmsKey foreign = scenario.region(0).createKey();
  private final InMemoryMetastore metastore = new InMemoryMetastore();

  @AfterEach
  void close() {
    scenario.close();
  }

  /** What a service makes whose key is another one. */
  private byte[] planted() {
    return scenario.wrap(
        AwsKeyManagementService.builder()
            .region(scenario.name(0), foreign.arn())
            .regionTimeout(KmsScenario.PATIENCE)
            .clientFactory(scenario::client)
            .build(),
        7);
  }

  private SessionFactory factory(AwsKeyManagementService kms) {
    return SessionFactory.builder("product", "service")
        .metastore(metastore)
        .keyManagementService(kms)
        .callTimeout(KmsScenario.PATIENCE)
        .loadTimeout(KmsScenario.PATIENCE)
        .build();
  }

  private void plant(byte[] systemKey) {
    Instant created = Instant.now().truncatedTo(ChronoUnit.MINUTES).plusSeconds(60);
    assertThat(
            get(
                metastore.store(
                    "_SK_service_product",
                    created,
                    new EnvelopeKeyRecord(created, systemKey, null, false))))
        .isTrue();
  }

  private static void isInvalid(Throwable e) {
    assertThat(e)
        .isInstanceOfSatisfying(
            KmsException.class,
            failure -> {
              assertThat(failure.kind()).isEqualTo(Kind.INVALID_CIPHERTEXT);
              assertThat(failure.isRetryable()).isFalse();
            });
  }

  @Test
  void foreignKey_isRefusedWithoutACall() {
    byte[] planted = planted();
    int before = scenario.server.requests().size();

    StepVerifier.create(scenario.builder().build().decryptKey(planted))
        .verifyErrorSatisfies(
            e -> {
              isInvalid(e);
              assertThat(e)
                  .hasMessageContaining(foreign.arn() + " in us-west-2")
                  .hasMessageContaining("previousKeyArns")
                  .hasMessageContaining("planted");
            });

    assertThat(scenario.server.requests()).hasSize(before);
    assertThat(scenario.recorder.take()).isEmpty();
  }

  @Test
  void newerSystemKeyUnderAForeignKey_isRefusedByASession_andNothingIsSealedUnderIt() {
    plant(planted());
    int before = scenario.server.requests().size();
    SessionFactory factory = factory(scenario.builder().build());

    StepVerifier.create(factory.session("partition").encrypt(PAYLOAD))
        .verifyErrorSatisfies(PlantedRecordIT::isInvalid);

    assertThat(scenario.server.requests()).hasSize(before);
    KmsScenario.done(factory.close());
    assertThat(get(metastore.list(KeySelector.idPrefix("_IK_")).collectList())).isEmpty();
  }

  @Test
  void recordsThatExist_areStillOpened_whereANewerKeyWasPlanted() {
    SessionFactory first = factory(scenario.builder().build());
    byte[] record = get(first.session("partition").encryptToJson(PAYLOAD));
    KmsScenario.done(first.close());
    plant(planted());
    SessionFactory second = factory(scenario.builder().build());

    assertThat(get(second.session("partition").decryptJson(record))).isEqualTo(PAYLOAD);
    KmsScenario.done(second.close());
    // One that has not seen the older key uses no other than the newer.
    SessionFactory third = factory(scenario.builder().build());
    StepVerifier.create(third.session("new").encrypt(PAYLOAD))
        .verifyErrorSatisfies(PlantedRecordIT::isInvalid);
    KmsScenario.done(third.close());
  }

  @Test
  void previousKey_isNamedToKms_andOpens() {
    byte[] wrapped = planted();
    AwsKeyManagementService kms =
        scenario.builder().previousKeyArns(List.of(foreign.arn())).build();

    assertThat(unwrap(kms, wrapped)).isEqualTo(bytes(7));

    assertThat(last().keyId()).isEqualTo(foreign.arn());
    // It is not used for what is new.
    assertThat(KeyEnvelope.fromJson(scenario.wrap(kms, 1)).keks())
        .extracting(Kek::arn)
        .containsExactly(scenario.key(0).arn(), scenario.key(1).arn());
  }

  @Test
  void previousKeysOfASession_open() {
    plant(planted());
    SessionFactory factory =
        factory(scenario.builder().previousKeyArns(List.of(foreign.arn())).build());
    byte[] record = get(factory.session("partition").encryptToJson(PAYLOAD));
    assertThat(get(factory.session("partition").decryptJson(record))).isEqualTo(PAYLOAD);
    KmsScenario.done(factory.close());
  }

  @Test
  void anyKeyArn_isNotNamedToKms_andOpens() {
    byte[] wrapped = planted();

    assertThat(unwrap(scenario.builder().acceptAnyKeyArn().build(), wrapped)).isEqualTo(bytes(7));

    assertThat(last().operation()).isEqualTo("Decrypt");
    assertThat(last().keyId()).isNull();
  }

  @Test
  void configuredKey_isNamedToKms() {
    AwsKeyManagementService kms = scenario.builder().build();
    unwrap(kms, scenario.wrap(kms, 1));
    assertThat(last().keyId()).isEqualTo(scenario.key(0).arn());
  }

  private KmsRequest last() {
    List<KmsRequest> all = scenario.server.requests();
    return all.get(all.size() - 1);
  }

  @Test
  void foreignBlobUnderTheNameOfOurKey_isRefusedByKms() {
    KeyEnvelope planted = KeyEnvelope.fromJson(planted());
    byte[] disguised =
        new KeyEnvelope(
                planted.encryptedKey(),
                List.of(
                    new Kek(
                        scenario.name(0),
                        scenario.key(0).arn(),
                        planted.keks().get(0).encryptedKek())))
            .toJson();

    StepVerifier.create(scenario.builder().build().decryptKey(disguised))
        .verifyErrorSatisfies(
            e -> {
              isInvalid(e);
              assertThat(e).hasMessageContaining("IncorrectKeyException");
            });
  }

  @Test
  void keyOfOneRegion_isNotAccepted_underTheNameOfAnother() {
    AwsKeyManagementService kms = scenario.builder().build();
    KeyEnvelope made = KeyEnvelope.fromJson(scenario.wrap(kms, 1));
    int before = scenario.server.requests().size();
    Kek kek = made.keks().get(0);
    byte[] moved =
        new KeyEnvelope(
                made.encryptedKey(),
                List.of(new Kek(scenario.name(1), kek.arn(), kek.encryptedKek())))
            .toJson();

    StepVerifier.create(kms.decryptKey(moved)).verifyErrorSatisfies(PlantedRecordIT::isInvalid);

    assertThat(scenario.server.requests()).hasSize(before);
  }

  @Test
  void dataKeyOfAnotherEnvelope_opensInTheNextRegion() {
    AwsKeyManagementService kms = scenario.builder().build();
    KeyEnvelope one = KeyEnvelope.fromJson(scenario.wrap(kms, 1));
    KeyEnvelope other = KeyEnvelope.fromJson(scenario.wrap(kms, 2));
    byte[] mixed =
        new KeyEnvelope(one.encryptedKey(), List.of(other.keks().get(0), one.keks().get(1)))
            .toJson();
    byte[] wrong = new KeyEnvelope(one.encryptedKey(), other.keks()).toJson();

    assertThat(unwrap(kms, mixed)).isEqualTo(bytes(1));
    assertThat(scenario.recorder.take())
        .containsExactly(new KmsScenario.Failed("aws", scenario.name(0), Kind.INVALID_CIPHERTEXT));
    StepVerifier.create(kms.decryptKey(wrong)).verifyErrorSatisfies(PlantedRecordIT::isInvalid);
  }

  /** Nobody writes such records; whoever plants one has no more than the calls of an honest one. */
  @Test
  void keyThatIsNamedManyTimes_isAskedOnce() {
    AwsKeyManagementService kms = scenario.builder().build();
    KeyEnvelope made = KeyEnvelope.fromJson(scenario.wrap(kms, 1));
    KeyEnvelope other = KeyEnvelope.fromJson(scenario.wrap(kms, 2));
    List<Kek> wrong = new ArrayList<>();
    for (int i = 0; i < 32; i++) {
      wrong.addAll(other.keks());
    }
    assertThat(wrong).hasSize(64);
    int before = scenario.server.requests().size();

    StepVerifier.create(
            kms.decryptKey(new KeyEnvelope(made.encryptedKey(), List.copyOf(wrong)).toJson()))
        .verifyErrorSatisfies(PlantedRecordIT::isInvalid);

    assertThat(scenario.server.requests().stream().skip(before))
        .extracting(KmsRequest::region)
        .containsExactly(scenario.name(0), scenario.name(1));

    wrong.add(made.keks().get(0));
    StepVerifier.create(kms.decryptKey(new KeyEnvelope(made.encryptedKey(), wrong).toJson()))
        .verifyErrorSatisfies(
            e -> {
              isInvalid(e);
              assertThat(e).hasMessageContaining("more than 64 entries");
            });
    assertThat(scenario.server.requests()).hasSize(before + 2);
  }

  @Test
  void regionThatIsNamedManyTimes_isAskedOnce_whereAnyKeyIsAccepted() {
    AwsKeyManagementService kms = scenario.builder().acceptAnyKeyArn().build();
    KeyEnvelope made = KeyEnvelope.fromJson(scenario.wrap(kms, 1));
    KeyEnvelope other = KeyEnvelope.fromJson(scenario.wrap(kms, 2));
    List<Kek> keks = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      keks.add(new Kek(scenario.name(0), "alias/" + i, other.keks().get(0).encryptedKek()));
    }
    keks.add(made.keks().get(1));
    int before = scenario.server.requests().size();

    assertThat(unwrap(kms, new KeyEnvelope(made.encryptedKey(), keks).toJson()))
        .isEqualTo(bytes(1));

    assertThat(scenario.server.requests().stream().skip(before))
        .extracting(KmsRequest::region)
        .containsExactly(scenario.name(0), scenario.name(1));
  }

  @Test
  void previousKeyOfTheSameRegion_isAskedBesidesTheKeyOfTheRegion() {
    byte[] planted = planted();
    AwsKeyManagementService kms =
        scenario.builder().previousKeyArns(List.of(foreign.arn())).build();
    KeyEnvelope made = KeyEnvelope.fromJson(scenario.wrap(kms, 1));
    KeyEnvelope old = KeyEnvelope.fromJson(planted);
    byte[] both =
        new KeyEnvelope(old.encryptedKey(), List.of(made.keks().get(0), old.keks().get(0)))
            .toJson();
    int before = scenario.server.requests().size();

    assertThat(unwrap(kms, both)).isEqualTo(bytes(7));

    assertThat(scenario.server.requests().stream().skip(before))
        .extracting(KmsRequest::keyId)
        .containsExactly(scenario.key(0).arn(), foreign.arn());
  }

  @Test
  void envelopeWithoutEntries_isRefused() {
    byte[] empty = new KeyEnvelope(new byte[60], List.of()).toJson();
    StepVerifier.create(scenario.builder().build().decryptKey(empty))
        .verifyErrorSatisfies(PlantedRecordIT::isInvalid);
    assertThat(scenario.server.requests()).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "us-west-2\n2026-01-01 WARN all is well",
        "\r\nfake",
        "us-west-2\u0085fake",
        "us-west-2\u2028fake",
        "\u001b[31mred",
        "${jndi:ldap://example.org/a}",
        "{}",
        "%s%n",
        "",
        " "
      })
  void textOfARecord_isNotPrinted(String text) {
    KeyEnvelope made = KeyEnvelope.fromJson(planted());
    byte[] blob = made.keks().get(0).encryptedKek();
    String arn = scenario.key(0).arn();
    List<Kek> keks = new ArrayList<>();
    keks.add(new Kek(text, arn, blob));
    keks.add(new Kek(scenario.name(0), text, blob));
    keks.add(new Kek(text + "x".repeat(1_000), text, blob));
    byte[] envelope = new KeyEnvelope(made.encryptedKey(), keks).toJson();
    SessionFactory factory = factory(scenario.builder().build());
    plant(envelope);
    try (Log log = new Log()) {
      StepVerifier.create(factory.session("partition").encrypt(PAYLOAD))
          .verifyErrorSatisfies(
              e -> {
                isInvalid(e);
                for (Throwable any = e; any != null; any = any.getCause()) {
                  String message = Objects.requireNonNull(any.getMessage());
                  assertThat(message)
                      .matches("[ -~]{1,1500}")
                      .doesNotContain("fake", "jndi", "xxx");
                }
              });
      assertThat(log.text()).doesNotContain("fake", "jndi", "\u001b", "%s", "xxx");
    }
    KmsScenario.done(factory.close());
  }

  @Test
  void manyForeignNames_areNotAllPrinted() {
    List<Kek> keks = new ArrayList<>();
    for (int i = 0; i < 60; i++) {
      keks.add(new Kek("r-" + i, "arn:" + "a".repeat(250), new byte[1]));
    }
    StepVerifier.create(
            scenario.builder().build().decryptKey(new KeyEnvelope(new byte[60], keks).toJson()))
        .verifyErrorSatisfies(
            e -> assertThat(Objects.requireNonNull(e.getMessage())).hasSizeLessThan(4_000));
  }

  /** With limits in the proportion that a session factory and this have of themselves. */
  @Test
  void preferredRegionStalled_decryptCompletesFromTheSecond_withinTheCallTimeout() {
    SessionFactory first = factory(scenario.builder().build());
    byte[] record = get(first.session("partition").encryptToJson(PAYLOAD));
    KmsScenario.done(first.close());
    scenario.region(0).silent();
    // The stalled region may have a part of the time that the session factory gives.
    SessionFactory second =
        SessionFactory.builder("product", "service")
            .metastore(metastore)
            .keyManagementService(scenario.builder().regionTimeout(Duration.ofSeconds(4)).build())
            .callTimeout(Duration.ofSeconds(30))
            .loadTimeout(Duration.ofSeconds(60))
            .callAttempts(1)
            .build();

    assertThat(get(second.session("partition").decryptJson(record))).isEqualTo(PAYLOAD);

    assertThat(scenario.recorder.take())
        .containsExactly(new KmsScenario.Failed("aws", scenario.name(0), Kind.TIMEOUT));
    KmsScenario.done(second.close());
  }
}
