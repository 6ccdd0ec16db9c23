package io.asherah.reactive.metastore.dynamodb;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import com.godaddy.asherah.appencryption.persistence.DynamoDbMetastoreImpl;
import com.godaddy.asherah.crypto.NeverExpiredCryptoPolicy;
import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.DataRowRecord;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import java.util.Base64;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import org.json.JSONObject;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import software.amazon.awssdk.http.SdkHttpClient;
import software.amazon.awssdk.http.urlconnection.UrlConnectionHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;

/** Shares a table with canonical Java: keys and records of either side are the other's too. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class CanonicalJavaIT {
  private static final String MASTER_KEY = "thisIsAStaticMasterKeyForTesting";
  private static final String PRODUCT = "product";
  private static final List<String> PARTITIONS =
      List.of("partition", " with  spaces and_underscores ", "sp\u00e4\u00dfe-\u65e5\ud83d\udd11");

  private final Aws aws = new Aws();
  private final SdkHttpClient http = UrlConnectionHttpClient.create();
  private DynamoDbAsyncClient client;
  private DynamoDbClient theirClient;
  private String table;

  @BeforeAll
  void createTable() {
    client = aws.client();
    table = Aws.newTable(client);
    theirClient =
        DynamoDbClient.builder()
            .httpClient(http)
            .endpointOverride(Aws.server())
            .region(Region.US_WEST_2)
            .credentialsProvider(Aws.credentials())
            .build();
  }

  @AfterAll
  void close() {
    aws.close();
    theirClient.close();
    http.close();
  }

  private DynamoDbMetastoreImpl theirs(String suffix) {
    var builder =
        DynamoDbMetastoreImpl.newBuilder(suffix.isEmpty() ? "us-west-2" : suffix)
            .withClientOverride(theirClient)
            .withTableName(table);
    return (suffix.isEmpty() ? builder : builder.withKeySuffix()).build();
  }

  private DynamoDbMetastore ours(String suffix) {
    return Aws.patient(client, table).keySuffix(suffix).build();
  }

  @Test
  void records_areExchanged() {
    KeyMeta parent = new KeyMeta("_SK_service_product", Aws.at(7));
    for (EnvelopeKeyRecord record :
        List.of(
            new EnvelopeKeyRecord(Aws.CREATED, Aws.bytes(60, 1), null, false),
            new EnvelopeKeyRecord(Aws.CREATED, Aws.bytes(61, 2), parent, false),
            new EnvelopeKeyRecord(Aws.CREATED, Aws.bytes(62, 3), parent, true))) {
      String id = Aws.freshId();
      assertThat(Aws.get(ours("").store(id, Aws.CREATED, record))).isTrue();
      assertThat(theirs("").load(id, Aws.CREATED).orElseThrow().similar(json(record))).isTrue();
      assertThat(theirs("").loadLatest(id).orElseThrow().similar(json(record))).isTrue();
      assertThat(theirs("").store(id, Aws.CREATED, json(record))).isFalse();

      String other = Aws.freshId();
      assertThat(theirs("").store(other, Aws.CREATED, json(record))).isTrue();
      assertThat(Aws.get(ours("").load(other, Aws.CREATED))).isEqualTo(record);
      assertThat(Aws.get(ours("").loadLatest(other))).isEqualTo(record);
      assertThat(Aws.get(ours("").store(other, Aws.CREATED, record))).isFalse();
    }
  }

  /** As they write it: with numbers that are Long, and without a mark where it is not revoked. */
  private static JSONObject json(EnvelopeKeyRecord record) {
    JSONObject json =
        new JSONObject()
            .put("Created", (Object) record.created().getEpochSecond())
            .put("Key", Base64.getEncoder().encodeToString(record.encryptedKey()));
    if (record.isRevoked()) {
      json.put("Revoked", true);
    }
    record
        .parentKeyMeta()
        .ifPresent(
            parent ->
                json.put(
                    "ParentKeyMeta",
                    new JSONObject()
                        .put("KeyId", parent.id())
                        .put("Created", (Object) parent.created().getEpochSecond())));
    return json;
  }

  /** They have a record that says whether it is revoked; we leave out what is not so. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void markThatIsExplicit_isRead(boolean isRevoked) {
    String id = Aws.freshId();
    EnvelopeKeyRecord record =
        new EnvelopeKeyRecord(Aws.CREATED, Aws.bytes(60, 1), null, isRevoked);
    JSONObject theirRecord =
        new com.godaddy.asherah.appencryption.envelope.EnvelopeKeyRecord(
                Aws.CREATED, null, Aws.bytes(60, 1), isRevoked)
            .toJson();
    assertThat(theirRecord.getBoolean("Revoked")).isEqualTo(isRevoked);
    assertThat(theirs("").store(id, Aws.CREATED, theirRecord)).isTrue();
    assertThat(mark(id)).isEqualTo(AttributeValue.fromBool(isRevoked));

    assertThat(Aws.get(ours("").load(id, Aws.CREATED))).isEqualTo(record);
    assertThat(Aws.get(ours("").loadLatest(id))).isEqualTo(record);
    assertThat(Aws.get(ours("").list(KeySelector.id(id)).next()).isRevoked()).isEqualTo(isRevoked);
    assertThat(Aws.get(ours("").revoke(KeySelector.id(id)))).isEqualTo(isRevoked ? 0 : 1);

    assertThat(mark(id)).isEqualTo(AttributeValue.fromBool(true));
    assertThat(theirs("").load(id, Aws.CREATED).orElseThrow().getBoolean("Revoked")).isTrue();
  }

  private @Nullable AttributeValue mark(String id) {
    return Objects.requireNonNull(Aws.item(client, table, id, Aws.CREATED).get("KeyRecord"))
        .m()
        .get("Revoked");
  }

  @Test
  void revocation_isSeenByThem() {
    String id = Aws.freshId();
    assertThat(theirs("").store(id, Aws.CREATED, json(Aws.record(Aws.CREATED, 1)))).isTrue();

    assertThat(Aws.get(ours("").revoke(KeySelector.id(id)))).isOne();

    assertThat(theirs("").load(id, Aws.CREATED).orElseThrow().getBoolean("Revoked")).isTrue();
  }

  /** Whoever is first makes the keys, and the other one uses them. */
  @ParameterizedTest
  @CsvSource({"'', true", "'', false", "us-west-2, true", "us-west-2, false"})
  void data_isExchanged(String suffix, boolean areWeFirst) {
    String service = "service" + UUID.randomUUID();
    SessionFactory ours = ourFactory(service, suffix);
    try (var theirs = theirFactory(service, suffix)) {
      for (String partition : PARTITIONS) {
        byte[] payload = ("payload of " + partition).getBytes(UTF_8);
        try (var session = theirs.getSessionBytes(partition)) {
          byte[] our = new byte[0];
          if (areWeFirst) {
            our = Aws.get(ours.session(partition).encryptToJson(payload));
          }
          byte[] their = session.encrypt(payload);
          if (!areWeFirst) {
            our = Aws.get(ours.session(partition).encryptToJson(payload));
          }

          assertThat(session.decrypt(our)).isEqualTo(payload);
          assertThat(Aws.get(ours.session(partition).decryptJson(their))).isEqualTo(payload);
          assertThat(intermediateKey(our).id())
              .isEqualTo(
                  "_IK_%s_%s_%s%s"
                      .formatted(
                          partition, service, PRODUCT, suffix.isEmpty() ? "" : "_" + suffix));
          assertThat(intermediateKey(their).id()).isEqualTo(intermediateKey(our).id());
        }
      }
    }
    ours.close().block(Aws.TIMEOUT);
  }

  private SessionFactory ourFactory(String service, String suffix) {
    return SessionFactory.builder(PRODUCT, service)
        .metastore(ours(suffix))
        .keyManagementService(StaticKeyManagementService.ofUtf8(MASTER_KEY))
        .cryptoPolicy(CryptoPolicy.builder().cacheNothing().build())
        .callTimeout(Aws.TIMEOUT)
        .loadTimeout(Aws.TIMEOUT)
        .build();
  }

  private com.godaddy.asherah.appencryption.SessionFactory theirFactory(
      String service, String suffix) {
    return com.godaddy.asherah.appencryption.SessionFactory.newBuilder(PRODUCT, service)
        .withMetastore(theirs(suffix))
        .withCryptoPolicy(
            new NeverExpiredCryptoPolicy() {
              @Override
              public boolean canCacheSystemKeys() {
                return false;
              }

              @Override
              public boolean canCacheIntermediateKeys() {
                return false;
              }
            })
        .withStaticKeyManagementService(MASTER_KEY)
        .build();
  }

  private static KeyMeta intermediateKey(byte[] json) {
    return DataRowRecord.fromJson(json).key().parentKeyMeta().orElseThrow();
  }
}
