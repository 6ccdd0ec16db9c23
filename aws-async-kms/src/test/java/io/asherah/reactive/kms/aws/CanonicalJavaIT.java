package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import com.godaddy.asherah.appencryption.kms.CanonicalAwsKms;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.kms.aws.KeyEnvelope.Kek;
import io.asherah.reactive.spi.Metastore;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.function.Supplier;
import org.json.JSONObject;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Mono;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.kms.KmsClient;

/**
 * Canonical Java and we open each other's keys, through the same master keys and the same key
 * store. Also what other writers make is opened.
 */
class CanonicalJavaIT {
  private static final byte[] PAYLOAD = "payload".getBytes(UTF_8);

  private final Store store = new Store();

  /** Both sides, on one server. */
  private final class Sides implements AutoCloseable {
    final KmsScenario scenario;
    private final List<KmsClient> opened = new ArrayList<>();
    private final Map<String, String> arns = new LinkedHashMap<>();

    Sides(int regions) {
      scenario = new KmsScenario(regions);
      for (int i = 0; i < regions; i++) {
        arns.put(scenario.name(i), scenario.key(i).arn());
      }
    }

    void alias(int region, String arn) {
      arns.put(scenario.name(region), arn);
    }

    AwsKeyManagementService.Builder ours() {
      AwsKeyManagementService.Builder builder = AwsKeyManagementService.builder();
      arns.forEach(builder::region);
      return builder.regionTimeout(KmsScenario.PATIENCE).clientFactory(scenario::client);
    }

    private KmsClient client(String region) {
      KmsClient client =
          KmsClient.builder()
              .httpClient(UrlConnectionHttpClient.create())
              .endpointOverride(scenario.server.region(region).endpoint())
              .region(Region.of(region))
              .credentialsProvider(KmsScenario.credentials())
              .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry()))
              .build();
      opened.add(client);
      return client;
    }

    byte[] theyEncrypt() {
      try (var factory = theirs();
          var session = factory.getSessionBytes("partition")) {
        return session.encrypt(PAYLOAD);
      }
    }

    byte[] theyDecrypt(byte[] record) {
      try (var factory = theirs();
          var session = factory.getSessionBytes("partition")) {
        return session.decrypt(record);
      }
    }

    private com.godaddy.asherah.appencryption.SessionFactory theirs() {
      return com.godaddy.asherah.appencryption.SessionFactory.newBuilder("product", "service")
          .withMetastore(store.canonical())
          .withNeverExpiredCryptoPolicy()
          .withKeyManagementService(CanonicalAwsKms.of(arns, scenario.name(0), this::client))
          .build();
    }

    byte[] weEncrypt() {
      return with(ours().build(), f -> f.session("partition").encryptToJson(PAYLOAD));
    }

    byte[] weDecrypt(AwsKeyManagementService kms, byte[] record) {
      return with(kms, f -> f.session("partition").decryptJson(record));
    }

    private byte[] with(
        AwsKeyManagementService kms,
        java.util.function.Function<SessionFactory, Mono<byte[]>> use) {
      SessionFactory factory =
          SessionFactory.builder("product", "service")
              .metastore(store.reactive())
              .keyManagementService(kms)
              .callTimeout(KmsScenario.PATIENCE)
              .loadTimeout(KmsScenario.PATIENCE)
              .build();
      byte[] result = get(use.apply(factory));
      KmsScenario.done(factory.close());
      return result;
    }

    @Override
    public void close() {
      opened.forEach(KmsClient::close);
      scenario.close();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3})
  void recordsOfOurs_areOpenedByThem_withEveryRegionAlone(int regions) {
    try (Sides sides = new Sides(regions)) {
      byte[] record = sides.weEncrypt();
      assertThat(sides.theyDecrypt(record)).isEqualTo(PAYLOAD);
      forEachRegionAlone(sides, () -> sides.theyDecrypt(record));
      // They make records under our keys, too.
      byte[] theirs = sides.theyEncrypt();
      assertThat(store.records).hasSize(2);
      assertThat(sides.weDecrypt(sides.ours().build(), theirs)).isEqualTo(PAYLOAD);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3})
  void recordsOfTheirs_areOpenedByUs_withEveryRegionAlone(int regions) {
    try (Sides sides = new Sides(regions)) {
      byte[] record = sides.theyEncrypt();
      assertThat(sides.weDecrypt(sides.ours().build(), record)).isEqualTo(PAYLOAD);
      forEachRegionAlone(sides, () -> sides.weDecrypt(sides.ours().build(), record));
      byte[] ours = sides.weEncrypt();
      assertThat(store.records).hasSize(2);
      assertThat(sides.theyDecrypt(ours)).isEqualTo(PAYLOAD);
    }
  }

  private static void forEachRegionAlone(Sides sides, Supplier<byte[]> open) {
    for (int alone = 0; alone < sides.scenario.keys.size(); alone++) {
      for (int i = 0; i < sides.scenario.keys.size(); i++) {
        if (i != alone) {
          sides.scenario.key(i).deny();
        }
      }
      assertThat(open.get()).isEqualTo(PAYLOAD);
      sides.scenario.keys.forEach(key -> key.allow());
    }
  }

  @ParameterizedTest
  @CsvSource({"true", "false"})
  void aliases_areWrittenAndReadByBoth(boolean weWrite) {
    try (Sides sides = new Sides(2)) {
      sides.alias(0, sides.scenario.key(0).alias("alias/one"));
      sides.alias(1, "alias/two");
      sides.scenario.key(1).alias("alias/two");

      byte[] record = weWrite ? sides.weEncrypt() : sides.theyEncrypt();

      assertThat(KeyEnvelope.fromJson(store.systemKey()).keks().stream().map(Kek::arn))
          .containsExactlyInAnyOrder("arn:aws:kms:us-west-2:111122223333:alias/one", "alias/two");
      assertThat(sides.weDecrypt(sides.ours().build(), record)).isEqualTo(PAYLOAD);
      assertThat(sides.theyDecrypt(record)).isEqualTo(PAYLOAD);
    }
  }

  // What others write, see wire-and-behaviour §5.2.

  private static String base64(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }

  /** In the order of the members, and with the white space, of other writers. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        // Go: its structures from top to bottom.
        "{\"encryptedKey\":\"%1$s\",\"kmsKeks\":[{\"region\":\"%2$s\",\"arn\":\"%3$s\",\"encryptedKek\":\"%4$s\"},"
            + "{\"region\":\"%5$s\",\"arn\":\"%6$s\",\"encryptedKek\":\"%7$s\"}]}",
        // Go, in its tests.
        "{\n\t\"kmsKeks\": [\n{\n\"region\": \"%2$s\",\"arn\": \"%3$s\",\n\"encryptedKek\": \"%4$s\"\n}, {"
            + "\"region\": \"%5$s\",\"arn\": \"%6$s\",\"encryptedKek\": \"%7$s\"}],\n\"encryptedKey\": \"%1$s\"\n}",
        // C#.
        "{\"encryptedKey\":\"%1$s\",\"kmsKeks\":[{\"region\":\"%5$s\",\"arn\":\"%6$s\",\"encryptedKek\":\"%7$s\"},"
            + "{\"region\":\"%2$s\",\"arn\":\"%3$s\",\"encryptedKek\":\"%4$s\"}]}",
        // Java: by the hashes of the names.
        "{\"kmsKeks\":[{\"encryptedKek\":\"%4$s\",\"arn\":\"%3$s\",\"region\":\"%2$s\"},"
            + "{\"encryptedKek\":\"%7$s\",\"arn\":\"%6$s\",\"region\":\"%5$s\"}],\"encryptedKey\":\"%1$s\"}"
      })
  void envelopesAsOthersWriteThem_areOpenedInEitherRegion(String format) {
    try (KmsScenario scenario = new KmsScenario(2)) {
      AwsKeyManagementService kms = scenario.builder().build();
      KeyEnvelope made = KeyEnvelope.fromJson(scenario.wrap(kms, 1));
      Kek first = made.keks().get(0);
      Kek second = made.keks().get(1);
      byte[] envelope =
          format
              .formatted(
                  base64(made.encryptedKey()),
                  first.region(),
                  first.arn(),
                  base64(first.encryptedKek()),
                  second.region(),
                  second.arn(),
                  base64(second.encryptedKek()))
              .getBytes(UTF_8);

      assertThat(unwrap(kms, envelope)).isEqualTo(bytes(1));
      assertThat(unwrap(scenario.only(scenario.name(0)), envelope)).isEqualTo(bytes(1));
      assertThat(unwrap(scenario.only(scenario.name(1)), envelope)).isEqualTo(bytes(1));
    }
  }

  /** Rust and C# are told an alias, and write what KMS answers: the key that it stands for. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void fullArnUnderAnAlias_isOpened_asAPreviousKey_orWhereAnyIsAccepted(boolean isPrevious) {
    try (KmsScenario scenario = new KmsScenario(1)) {
      String alias = scenario.key(0).alias("alias/one");
      byte[] envelope = scenario.wrap(scenario.builder().build(), 1);
      AwsKeyManagementService.Builder builder =
          AwsKeyManagementService.builder()
              .region(scenario.name(0), alias)
              .regionTimeout(KmsScenario.PATIENCE)
              .clientFactory(scenario::client);
      reactor.test.StepVerifier.create(builder.build().decryptKey(envelope)).verifyError();

      if (isPrevious) {
        builder.previousKeyArns(List.of(scenario.key(0).arn()));
      } else {
        builder.acceptAnyKeyArn();
      }
      assertThat(unwrap(builder.build(), envelope)).isEqualTo(bytes(1));
    }
  }

  /** Keys as JSON, for both sides. */
  private static final class Store {
    final ConcurrentSkipListMap<KeyMeta, String> records =
        new ConcurrentSkipListMap<>(
            Comparator.comparing(KeyMeta::id).thenComparing(KeyMeta::created));

    byte[] systemKey() {
      return records.entrySet().stream()
          .filter(entry -> entry.getKey().id().startsWith("_SK_"))
          .map(entry -> EnvelopeKeyRecord.fromJson(entry.getValue().getBytes(UTF_8)).encryptedKey())
          .findFirst()
          .orElseThrow();
    }

    private Optional<String> find(String id, Instant created) {
      return Optional.ofNullable(records.get(new KeyMeta(id, created)));
    }

    private Optional<String> findLatest(String id) {
      return records.descendingMap().entrySet().stream()
          .filter(entry -> entry.getKey().id().equals(id))
          .map(Map.Entry::getValue)
          .findFirst();
    }

    private boolean add(String id, Instant created, String json) {
      return records.putIfAbsent(new KeyMeta(id, created), json) == null;
    }

    Metastore reactive() {
      return new Metastore() {
        @Override
        public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
          return Mono.defer(() -> Mono.justOrEmpty(find(id, created)))
              .map(json -> EnvelopeKeyRecord.fromJson(json.getBytes(UTF_8)));
        }

        @Override
        public Mono<EnvelopeKeyRecord> loadLatest(String id) {
          return Mono.defer(() -> Mono.justOrEmpty(findLatest(id)))
              .map(json -> EnvelopeKeyRecord.fromJson(json.getBytes(UTF_8)));
        }

        @Override
        public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
          return Mono.fromSupplier(() -> add(id, created, new String(record.toJson(), UTF_8)));
        }
      };
    }

    com.godaddy.asherah.appencryption.persistence.Metastore<JSONObject> canonical() {
      return new com.godaddy.asherah.appencryption.persistence.Metastore<>() {
        @Override
        public Optional<JSONObject> load(String id, Instant created) {
          return find(id, created).map(JSONObject::new);
        }

        @Override
        public Optional<JSONObject> loadLatest(String id) {
          return findLatest(id).map(JSONObject::new);
        }

        @Override
        public boolean store(String id, Instant created, JSONObject record) {
          return add(id, created, record.toString());
        }
      };
    }
  }
}
