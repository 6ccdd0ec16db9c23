package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testaws.DynamoDbFront;
import io.asherah.reactive.testaws.DynamoDbServer;
import java.time.Instant;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.test.StepVerifier;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;

/** What is in the table, byte by byte, and what others may have put there. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ItemIT {
  private static final String TENANT = "tenant-4711";
  private static final KeyMeta PARENT = new KeyMeta("_SK_svc_prod", Aws.at(1_541_461_320));

  private final Aws aws = new Aws();
  private DynamoDbFront front;
  private DynamoDbAsyncClient client;
  private String table;
  private DynamoDbMetastore metastore;

  @BeforeAll
  void createTable() {
    front = DynamoDbFront.to(DynamoDbServer.shared());
    client = aws.client(front.endpoint());
    table = Aws.newTable(client);
    metastore = Aws.patient(client, table).build();
  }

  @AfterAll
  void close() {
    aws.close();
    front.close();
  }

  // What we write.

  @Test
  void intermediateKey_isWrittenAsOthersDo() {
    byte[] key = Aws.bytes(60, 1);
    assertThat(
            Aws.get(
                metastore.store(
                    "_IK_p_svc_prod",
                    Aws.CREATED,
                    new EnvelopeKeyRecord(Aws.CREATED, key, PARENT, false))))
        .isTrue();

    String base64 = Base64.getEncoder().encodeToString(key);
    assertThat(front.lastRequest("PutItem"))
        .contains(
            ("\"Item\":{\"Id\":{\"S\":\"_IK_p_svc_prod\"},\"Created\":{\"N\":\"1541461380\"},"
                    + "\"KeyRecord\":{\"M\":{\"Created\":{\"N\":\"1541461380\"},"
                    + "\"Key\":{\"S\":\"%s\"},"
                    + "\"ParentKeyMeta\":{\"M\":{\"KeyId\":{\"S\":\"_SK_svc_prod\"},"
                    + "\"Created\":{\"N\":\"1541461320\"}}}}}}")
                .formatted(base64))
        .contains("\"ConditionExpression\":\"attribute_not_exists(Id)\"")
        .contains("\"TableName\":\"%s\"".formatted(table));
    assertThat(Aws.item(client, table, "_IK_p_svc_prod", Aws.CREATED))
        .isEqualTo(
            Map.of(
                "Id",
                AttributeValue.fromS("_IK_p_svc_prod"),
                "Created",
                AttributeValue.fromN("1541461380"),
                "KeyRecord",
                AttributeValue.fromM(
                    Map.of(
                        "Created",
                        AttributeValue.fromN("1541461380"),
                        "Key",
                        AttributeValue.fromS(base64),
                        "ParentKeyMeta",
                        AttributeValue.fromM(
                            Map.of(
                                "KeyId",
                                AttributeValue.fromS("_SK_svc_prod"),
                                "Created",
                                AttributeValue.fromN("1541461320")))))));
  }

  @Test
  void systemKey_hasNeitherParentNorRevoked() {
    String id = Aws.freshId();
    Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)));

    assertThat(Aws.item(client, table, id, Aws.CREATED).get("KeyRecord"))
        .isEqualTo(
            AttributeValue.fromM(
                Map.of(
                    "Created",
                    AttributeValue.fromN("1541461380"),
                    "Key",
                    AttributeValue.fromS(Base64.getEncoder().encodeToString(Aws.bytes(60, 1))))));
    assertThat(front.lastRequest("PutItem")).doesNotContain("NULL").doesNotContain("Revoked");
  }

  @Test
  void revokedKey_isWrittenAsBool() {
    String id = Aws.freshId();
    Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1).asRevoked()));

    assertThat(Aws.item(client, table, id, Aws.CREATED).get("KeyRecord"))
        .satisfies(
            fields ->
                assertThat(fields == null ? Map.of() : fields.m())
                    .containsEntry("Revoked", AttributeValue.fromBool(true)));
  }

  @Test
  void reads_areConsistentAndNarrow() {
    String id = Aws.freshId();
    metastore.load(id, Aws.CREATED).block(Aws.TIMEOUT);
    metastore.loadLatest(id).block(Aws.TIMEOUT);

    assertThat(front.lastRequest("GetItem"))
        .contains("\"ConsistentRead\":true", "\"ProjectionExpression\":\"KeyRecord\"");
    assertThat(front.lastRequest("Query"))
        .contains(
            "\"ConsistentRead\":true",
            "\"ProjectionExpression\":\"KeyRecord\"",
            "\"Limit\":1",
            "\"ScanIndexForward\":false");
  }

  // What others write.

  enum Writer {
    GO(fields -> fields),
    RUST(fields -> fields),
    JAVA(fields -> with(fields, "Revoked", AttributeValue.fromBool(false))),
    C_SHARP(fields -> with(fields, "Revoked", AttributeValue.fromBool(false))),
    WITH_NULL_REVOKED(fields -> with(fields, "Revoked", AttributeValue.fromNul(true))),
    WITH_UNKNOWN(
        fields ->
            with(
                with(fields, "Extra", AttributeValue.fromL(List.of(AttributeValue.fromS("x")))),
                "Blob",
                AttributeValue.fromB(SdkBytes.fromUtf8String("x")))),
    WITH_NUMBERS_OF_ANOTHER_FORM(
        fields -> with(fields, "Created", AttributeValue.fromN("1541461380.000")));

    private final UnaryOperator<Map<String, AttributeValue>> own;

    Writer(UnaryOperator<Map<String, AttributeValue>> own) {
      this.own = own;
    }
  }

  @ParameterizedTest
  @EnumSource
  void itemsOfOthers_areRead(Writer writer) {
    String id = Aws.freshId();
    put(id, writer.own.apply(fields()));

    assertIsRead(id, new EnvelopeKeyRecord(Aws.CREATED, Aws.bytes(60, 1), PARENT, false));
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void itemsOfOthersWithoutParent_areRead(boolean isNull) {
    String id = Aws.freshId();
    put(
        id,
        isNull
            ? with(fields(), "ParentKeyMeta", AttributeValue.fromNul(true))
            : without(fields(), "ParentKeyMeta"));

    assertIsRead(id, Aws.record(Aws.CREATED, 1));
  }

  @Test
  void itemRevokedByOthers_isReadAsRevoked() {
    String id = Aws.freshId();
    put(id, with(fields(), "Revoked", AttributeValue.fromBool(true)));

    assertIsRead(id, new EnvelopeKeyRecord(Aws.CREATED, Aws.bytes(60, 1), PARENT, true));
  }

  @Test
  void itemWithOtherAttributes_isRead() {
    String id = Aws.freshId();
    Map<String, AttributeValue> item = item(id, fields());
    item.put("ttl", AttributeValue.fromN("1.5"));
    item.put("KeyRecord2", AttributeValue.fromNul(true));
    Aws.put(client, table, item);

    assertIsRead(id, new EnvelopeKeyRecord(Aws.CREATED, Aws.bytes(60, 1), PARENT, false));
  }

  private void assertIsRead(String id, EnvelopeKeyRecord record) {
    assertThat(Aws.get(metastore.load(id, Aws.CREATED))).isEqualTo(record);
    assertThat(Aws.get(metastore.loadLatest(id))).isEqualTo(record);
    assertThat(Aws.get(metastore.list(KeySelector.id(id)).collectList()))
        .containsExactly(
            new KeyInfo(new KeyMeta(id, Aws.CREATED), record.isRevoked(), record.parentKeyMeta()));
    assertThat(Aws.get(metastore.store(id, Aws.CREATED, record))).isFalse();
  }

  // What nobody writes.

  enum Malformed {
    NO_CREATED(fields -> without(fields, "Created")),
    CREATED_TEXT(fields -> with(fields, "Created", AttributeValue.fromS("1541461380"))),
    CREATED_NULL(fields -> with(fields, "Created", AttributeValue.fromNul(true))),
    CREATED_DECIMAL(fields -> with(fields, "Created", AttributeValue.fromN("1541461380.5"))),
    CREATED_HUGE(fields -> with(fields, "Created", AttributeValue.fromN("1E125"))),
    CREATED_TINY(fields -> with(fields, "Created", AttributeValue.fromN("1E-130"))),
    CREATED_BEYOND_TIME(
        fields -> with(fields, "Created", AttributeValue.fromN("9000000000000000000"))),
    NO_KEY(fields -> without(fields, "Key")),
    KEY_NULL(fields -> with(fields, "Key", AttributeValue.fromNul(true))),
    KEY_BINARY(
        fields -> with(fields, "Key", AttributeValue.fromB(SdkBytes.fromUtf8String(TENANT)))),
    KEY_NUMBER(fields -> with(fields, "Key", AttributeValue.fromN("12"))),
    KEY_NOT_BASE64(fields -> with(fields, "Key", AttributeValue.fromS("!" + TENANT))),
    KEY_URL_SAFE(fields -> with(fields, "Key", AttributeValue.fromS("-_-_"))),
    KEY_WITH_LINES(fields -> with(fields, "Key", AttributeValue.fromS("AAAA\nAAAA"))),
    PARENT_TEXT(fields -> with(fields, "ParentKeyMeta", AttributeValue.fromS(TENANT))),
    PARENT_EMPTY(fields -> with(fields, "ParentKeyMeta", AttributeValue.fromM(Map.of()))),
    PARENT_WITHOUT_ID(
        fields ->
            with(
                fields,
                "ParentKeyMeta",
                AttributeValue.fromM(Map.of("Created", AttributeValue.fromN("1"))))),
    PARENT_WITH_EMPTY_ID(fields -> with(fields, "ParentKeyMeta", parent("", "1"))),
    PARENT_WITH_DECIMAL(fields -> with(fields, "ParentKeyMeta", parent(TENANT, "1.5"))),
    REVOKED_TEXT(fields -> with(fields, "Revoked", AttributeValue.fromS("true"))),
    REVOKED_NUMBER(fields -> with(fields, "Revoked", AttributeValue.fromN("1"))),
    NOTHING(fields -> Map.of());

    private final UnaryOperator<Map<String, AttributeValue>> spoiled;

    Malformed(UnaryOperator<Map<String, AttributeValue>> spoiled) {
      this.spoiled = spoiled;
    }
  }

  @ParameterizedTest
  @EnumSource
  void malformedItem_isAnError(Malformed malformed) {
    String id = freshPartition();
    put(id, malformed.spoiled.apply(fields()));

    assertIsMalformed(id);
  }

  @ParameterizedTest
  @ValueSource(strings = {"S", "L", "NULL", "BOOL", "B"})
  void keyRecordOfAnotherType_isAnError(String type) {
    String id = freshPartition();
    Map<String, AttributeValue> item = new HashMap<>(Aws.key(id, Aws.CREATED));
    item.put(
        "KeyRecord",
        switch (type) {
          case "S" -> AttributeValue.fromS("{\"Key\":\"%s\"}".formatted(TENANT));
          case "L" -> AttributeValue.fromL(List.of());
          case "NULL" -> AttributeValue.fromNul(true);
          case "B" -> AttributeValue.fromB(SdkBytes.fromUtf8String(TENANT));
          default -> AttributeValue.fromBool(true);
        });
    Aws.put(client, table, item);

    assertIsMalformed(id);
  }

  @Test
  void itemWithoutKeyRecord_isAnError() {
    String id = freshPartition();
    Aws.put(client, table, Aws.key(id, Aws.CREATED));

    assertIsMalformed(id);
    assertThat(Aws.get(metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)))).isFalse();
  }

  /** Whoever wants to get rid of such a key can. */
  @Test
  void malformedItem_canBeDeleted() {
    String id = freshPartition();
    Aws.put(client, table, Aws.key(id, Aws.CREATED));

    assertThat(Aws.get(metastore.delete(KeySelector.id(id)))).isOne();

    assertThat(metastore.load(id, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();
  }

  /** It has no place for a mark, and does not keep others from getting theirs. */
  @Test
  void itemWithoutKeyRecord_isNotRevoked_andOthersAre() {
    String id = freshPartition();
    Aws.put(client, table, Aws.key(id, Aws.CREATED));
    Instant later = Aws.CREATED.plusSeconds(60);
    Aws.get(metastore.store(id, later, Aws.record(later, 1)));

    assertThat(Aws.get(metastore.revoke(KeySelector.id(id)))).isOne();

    assertThat(Aws.get(metastore.load(id, later)).isRevoked()).isTrue();
  }

  private void assertIsMalformed(String id) {
    List<Publisher<?>> reads =
        List.of(
            metastore.load(id, Aws.CREATED),
            metastore.loadLatest(id),
            metastore.list(KeySelector.id(id)),
            metastore.list(KeySelector.idPrefix(id)));
    for (Publisher<?> read : reads) {
      StepVerifier.create(Flux.from(read))
          .expectErrorSatisfies(
              e -> {
                assertThat(e)
                    .isInstanceOf(MetastoreException.class)
                    .hasMessageContaining("malformed")
                    .hasMessageContaining(table)
                    .hasMessageContaining("Restore it");
                assertThat(e.getMessage()).doesNotContain(TENANT);
                assertThat(((MetastoreException) e).isRetryable()).isFalse();
              })
          .verify(Aws.TIMEOUT);
    }
  }

  /** Of answers that DynamoDB would not give. */
  @ParameterizedTest
  @ValueSource(strings = {"\"x\"", "\"\"", "\"0x10\"", "\"NaN\"", "\"1,5\""})
  void numberThatIsNone_isAnError(String number) {
    String id = freshPartition();
    put(id, fields());
    front
        .on("GetItem")
        .times(1)
        .edit(
            json ->
                json.replaceAll(
                    "\"Created\":\\{\"N\":\"1541461380\"", "\"Created\":{\"N\":" + number));

    StepVerifier.create(metastore.load(id, Aws.CREATED))
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(MetastoreException.class)
                    .hasMessageContaining("malformed"))
        .verify(Aws.TIMEOUT);
  }

  private static String freshPartition() {
    return "_IK_" + TENANT + Aws.freshId();
  }

  private void put(String id, Map<String, AttributeValue> fields) {
    Aws.put(client, table, item(id, fields));
  }

  private static Map<String, AttributeValue> item(String id, Map<String, AttributeValue> fields) {
    Map<String, AttributeValue> item = new LinkedHashMap<>(Aws.key(id, Aws.CREATED));
    item.put("KeyRecord", AttributeValue.fromM(fields));
    return item;
  }

  private static Map<String, AttributeValue> fields() {
    Map<String, AttributeValue> fields = new LinkedHashMap<>();
    fields.put("Created", AttributeValue.fromN("1541461380"));
    fields.put("Key", AttributeValue.fromS(Base64.getEncoder().encodeToString(Aws.bytes(60, 1))));
    fields.put("ParentKeyMeta", parent("_SK_svc_prod", "1541461320"));
    return fields;
  }

  private static AttributeValue parent(String id, String created) {
    return AttributeValue.fromM(
        Map.of("KeyId", AttributeValue.fromS(id), "Created", AttributeValue.fromN(created)));
  }

  private static Map<String, AttributeValue> with(
      Map<String, AttributeValue> fields, String name, AttributeValue value) {
    Map<String, AttributeValue> changed = new LinkedHashMap<>(fields);
    changed.put(name, value);
    return changed;
  }

  private static Map<String, AttributeValue> without(
      Map<String, AttributeValue> fields, String name) {
    Map<String, AttributeValue> changed = new LinkedHashMap<>(fields);
    changed.remove(name);
    return changed;
  }
}
