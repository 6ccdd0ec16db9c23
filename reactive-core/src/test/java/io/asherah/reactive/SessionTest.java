package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.testsupport.Await;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;
import reactor.test.publisher.PublisherProbe;

class SessionTest {

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 17, 1_000, 65_536, 1_048_576})
  void payload_comesBack_asRecordAndAsJson(int length) {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.session();
      byte[] payload = new byte[length];
      for (int i = 0; i < length; i++) {
        payload[i] = (byte) i;
      }

      DataRowRecord record = get(session.encrypt(payload));
      byte[] json = get(session.encryptToJson(payload));

      assertThat(record.data()).hasSize(length + 28);
      assertThat(get(session.decrypt(record))).isEqualTo(payload);
      assertThat(get(session.decryptJson(json))).isEqualTo(payload);
      assertThat(get(session.decryptJson(record.toJson()))).isEqualTo(payload);
      assertThat(get(session.decrypt(DataRowRecord.fromJson(json)))).isEqualTo(payload);
      assertThat(get(session.decrypt(new DataRowRecord(record.key(), record.data()))))
          .isEqualTo(payload);
    }
  }

  @Test
  void json_isTheRecordOfTheOtherImplementations() {
    try (Scenario scenario = new Scenario()) {
      String json =
          new String(
              get(scenario.session().encryptToJson(utf8("payload"))), StandardCharsets.UTF_8);

      assertThat(json)
          .matches(
              "\\{\"Key\":\\{\"Created\":1773320300,\"Key\":\"[A-Za-z0-9+/]{80}\","
                  + "\"ParentKeyMeta\":\\{\"KeyId\":\"_IK_partition_service_product\","
                  + "\"Created\":1773320280}},\"Data\":\"[A-Za-z0-9+/=]{48}\"}");
    }
  }

  @Test
  void everySubscription_sealsAnew() {
    try (Scenario scenario = new Scenario()) {
      Mono<DataRowRecord> encrypt = scenario.session().encrypt(utf8("payload"));

      DataRowRecord first = get(encrypt);
      DataRowRecord second = get(encrypt);

      assertThat(first.data()).isNotEqualTo(second.data());
      assertThat(first.key().encryptedKey()).isNotEqualTo(second.key().encryptedKey());
    }
  }

  @Test
  void buffers_heapDirectReadOnlyAndSliced_areReadWithoutBeingMoved() {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.session();
      byte[] bytes = utf8("--payload--");
      ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
      for (ByteBuffer buffer :
          new ByteBuffer[] {
            ByteBuffer.wrap(bytes),
            ByteBuffer.wrap(bytes).slice(1, 9).slice(1, 7).position(0),
            ByteBuffer.wrap(bytes).asReadOnlyBuffer(),
            direct
          }) {
        if (buffer.remaining() == bytes.length) {
          buffer.position(2).limit(9);
        }
        ByteBuffer before = buffer.duplicate();

        DataRowRecord record = get(session.encrypt(buffer));
        byte[] json = get(session.encryptToJson(buffer));

        assertThat(buffer).isEqualTo(before);
        assertThat(buffer.position()).isEqualTo(before.position());
        assertThat(get(session.decrypt(record))).isEqualTo(utf8("payload"));
        ByteBuffer jsonBuffer = ByteBuffer.wrap(json).asReadOnlyBuffer();
        assertThat(get(session.decryptJson(jsonBuffer))).isEqualTo(utf8("payload"));
        assertThat(jsonBuffer.position()).isZero();
      }
      assertThat(bytes).isEqualTo(utf8("--payload--"));
    }
  }

  @Test
  void outputs_belongToTheCaller() {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.session();
      DataRowRecord record = get(session.encrypt(utf8("payload")));

      record.data()[0]++;
      record.key().encryptedKey()[0]++;
      record.toJson()[0]++;

      assertThat(get(session.decrypt(record))).isEqualTo(utf8("payload"));
    }
  }

  @Test
  void input_isNotModified() {
    try (Scenario scenario = new Scenario()) {
      byte[] payload = utf8("payload");
      byte[] json = get(scenario.session().encryptToJson(payload));
      byte[] before = json.clone();
      get(scenario.session().decryptJson(json));

      assertThat(payload).isEqualTo(utf8("payload"));
      assertThat(json).isEqualTo(before);
    }
  }

  // The input contract of wire-and-behaviour §9.2.

  @Test
  @SuppressWarnings({"NullAway", "DataFlowIssue"}) // that is what is tested
  void nullArguments_areThrownAtOnce() {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.session();
      assertThatThrownBy(() -> scenario.factory.session(null))
          .isInstanceOf(NullPointerException.class);
      assertThatThrownBy(() -> session.encrypt((byte[]) null))
          .isInstanceOf(NullPointerException.class);
      assertThatThrownBy(() -> session.encrypt((ByteBuffer) null))
          .isInstanceOf(NullPointerException.class);
      assertThatThrownBy(() -> session.encryptToJson((byte[]) null))
          .isInstanceOf(NullPointerException.class);
      assertThatThrownBy(() -> session.encryptToJson((ByteBuffer) null))
          .isInstanceOf(NullPointerException.class);
      assertThatThrownBy(() -> session.decrypt(null)).isInstanceOf(NullPointerException.class);
      assertThatThrownBy(() -> session.decryptJson((byte[]) null))
          .isInstanceOf(NullPointerException.class);
      assertThatThrownBy(() -> session.decryptJson((ByteBuffer) null))
          .isInstanceOf(NullPointerException.class);
      assertThatThrownBy(() -> SessionFactory.builder(null, "service"))
          .isInstanceOf(NullPointerException.class);
      assertThatThrownBy(() -> SessionFactory.builder("product", "service").metastore(null))
          .isInstanceOf(NullPointerException.class);
      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void emptyPartition_isRefusedAtOnce() {
    try (Scenario scenario = new Scenario()) {
      assertThatThrownBy(() -> scenario.factory.session(""))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("partition must not be empty");
      assertThatThrownBy(() -> scenario.factory.session("a\ud800b"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessage("partition has a surrogate without its pair");
      assertThatThrownBy(() -> SessionFactory.builder("", "service"))
          .hasMessage("product must not be empty");
      assertThatThrownBy(() -> SessionFactory.builder("product", ""))
          .hasMessage("service must not be empty");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {" ", "\t", " a ", "a_b", "\"quoted\\\"", "späße €\ud83d\ude00", "\u0000"})
  void oddPartition_isTakenLiterally(String partition) {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.factory.session(partition);
      byte[] json = get(session.encryptToJson(utf8("payload")));

      assertThat(get(session.decryptJson(json))).isEqualTo(utf8("payload"));
      assertThat(DataRowRecord.fromJson(json).key().parentKeyMeta().orElseThrow().id())
          .isEqualTo("_IK_" + partition + "_service_product");
      StepVerifier.create(scenario.factory.session(partition + " ").decryptJson(json))
          .verifyError(MetadataMissingException.class);
    }
  }

  @Test
  void emptyPayload_isReallyEncrypted() {
    try (Scenario scenario = new Scenario()) {
      DataRowRecord record = get(scenario.session().encrypt(new byte[0]));

      assertThat(record.data()).hasSize(28);
      assertThat(get(scenario.session().decrypt(record))).isEmpty();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        "not json",
        "null",
        "[]",
        "{}",
        "{\"Data\":\"dGVzdA==\"}",
        "{\"Key\":null,\"Data\":\"dGVzdA==\"}",
        "{\"Key\":{\"Created\":1,\"Key\":\"\"}}"
      })
  void whatIsNotARecord_isInvalid(String json) {
    try (Scenario scenario = new Scenario()) {
      StepVerifier.create(scenario.session().decryptJson(utf8(json)))
          .verifyError(InvalidRecordException.class);
      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void recordWithoutParent_missesMetadata() {
    try (Scenario scenario = new Scenario()) {
      DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));
      scenario.calls.take();
      EnvelopeKeyRecord key = record.key();

      StepVerifier.create(
              scenario
                  .session()
                  .decrypt(
                      new DataRowRecord(
                          new EnvelopeKeyRecord(key.created(), key.encryptedKey(), null, false),
                          record.data())))
          .verifyError(MetadataMissingException.class);
      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void recordOfTheYear1970_isInvalid() {
    try (Scenario scenario = new Scenario()) {
      KeyMeta parent = new KeyMeta("_IK_partition_service_product", Instant.EPOCH);
      DataRowRecord record =
          new DataRowRecord(
              new EnvelopeKeyRecord(Scenario.START, new byte[60], parent, false), new byte[28]);

      StepVerifier.create(scenario.session().decrypt(record))
          .verifyError(InvalidRecordException.class);
    }
  }

  @Test
  void recordOfAnotherPartition_isRefused_withoutASingleCall() {
    try (Scenario scenario = new Scenario()) {
      byte[] json = get(scenario.factory.session("shopper123").encryptToJson(utf8("payload")));
      scenario.calls.take();

      StepVerifier.create(scenario.factory.session("shopper1234").decryptJson(json))
          .verifyErrorSatisfies(
              e -> {
                assertThat(e).isInstanceOf(MetadataMissingException.class);
                assertThat(e.getMessage()).doesNotContain("shopper");
                assertThat(((MetadataMissingException) e).keyMeta().orElseThrow().id())
                    .isEqualTo("_IK_shopper123_service_product");
              });
      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void suffix_isPartOfWrittenIds_andOtherRegionsAreRead() {
    InMemoryMetastore shared = new InMemoryMetastore();
    try (Scenario west = new Scenario(shared, CryptoPolicy.defaults(), "us-west-2");
        Scenario east = new Scenario(shared, CryptoPolicy.defaults(), "us-east-2");
        Scenario none = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      DataRowRecord fromWest = get(west.session().encrypt(utf8("west")));
      DataRowRecord fromEast = get(east.session().encrypt(utf8("east")));
      DataRowRecord fromNone = get(none.session().encrypt(utf8("none")));

      assertThat(fromWest.key().parentKeyMeta().orElseThrow())
          .isEqualTo(
              new KeyMeta(
                  "_IK_partition_service_product_us-west-2",
                  Instant.parse("2026-03-12T12:58:00Z")));
      assertThat(get(west.session().decrypt(fromEast))).isEqualTo(utf8("east"));
      assertThat(get(east.session().decrypt(fromWest))).isEqualTo(utf8("west"));
      assertThat(get(east.session().decrypt(fromNone))).isEqualTo(utf8("none"));
      assertThat(get(west.session().encrypt(utf8("again"))).key().parentKeyMeta())
          .isEqualTo(fromWest.key().parentKeyMeta());
      StepVerifier.create(none.session().decrypt(fromWest))
          .verifyError(MetadataMissingException.class);
    }
  }

  @Test
  void storeAndLoad_goThroughThePersistence() {
    try (Scenario scenario = new Scenario()) {
      Map<String, DataRowRecord> rows = new ConcurrentHashMap<>();
      Persistence persistence =
          Persistence.of(
              key -> Mono.justOrEmpty(rows.get(key)),
              (key, record) -> Mono.fromRunnable(() -> rows.put(key, record)));
      Session session = scenario.session();

      String chosen =
          get(session.store(utf8("one"), persistence).subscribeOn(Schedulers.parallel()));
      session.store("mine", utf8("two"), persistence).block(Await.TIMEOUT);

      assertThat(rows).containsOnlyKeys(chosen, "mine");
      assertThat(chosen).hasSize(36);
      assertThat(get(session.load(chosen, persistence))).isEqualTo(utf8("one"));
      assertThat(get(session.load("mine", persistence))).isEqualTo(utf8("two"));
      StepVerifier.create(session.load("none", persistence)).verifyComplete();
    }
  }

  @Test
  void errorsOfThePersistence_arePassedOnUnchanged() {
    try (Scenario scenario = new Scenario()) {
      IllegalStateException error = new IllegalStateException("full");
      Persistence persistence =
          Persistence.of(key -> Mono.error(error), (key, record) -> Mono.error(error));

      StepVerifier.create(scenario.session().store(utf8("one"), persistence))
          .verifyErrorSatisfies(e -> assertThat(e).isSameAs(error));
      StepVerifier.create(scenario.session().load("key", persistence))
          .verifyErrorSatisfies(e -> assertThat(e).isSameAs(error));
    }
  }

  @Test
  void nothing_happensBeforeASubscription() {
    try (Scenario scenario = new Scenario()) {
      PublisherProbe<DataRowRecord> probe = PublisherProbe.empty();
      Persistence persistence = Persistence.of(key -> probe.mono(), (key, record) -> Mono.empty());
      for (int i = 0; i < 1_000; i++) {
        Session session = scenario.factory.session("partition" + i);
        assertThat(session.encrypt(utf8("payload"))).isNotNull();
        assertThat(session.decryptJson(utf8("payload"))).isNotNull();
        assertThat(session.load("key", persistence)).isNotNull();
        assertThat(session.forget()).isNotNull();
      }

      probe.assertWasNotSubscribed();
      assertThat(scenario.calls.take()).isEmpty();
      assertThat(scenario.nativeCalls.get()).isZero();
    }
  }

  @Test
  void callersContext_isIntactAfterAColdLoad() {
    try (Scenario scenario = new Scenario()) {
      Mono<String> seen =
          scenario
              .session()
              .encrypt(utf8("payload"))
              .flatMap(record -> Mono.deferContextual(context -> Mono.just(context.get("tenant"))));

      StepVerifier.create(seen.contextWrite(context -> context.put("tenant", "t1")))
          .expectNext("t1")
          .verifyComplete();
    }
  }

  @Test
  void toString_hidesPartitionAndContent() {
    try (Scenario scenario = new Scenario()) {
      DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));

      assertThat(scenario.session()).hasToString("Session[****]");
      assertThat(record).hasToString("DataRowRecord[created=2026-03-12T12:58:20Z, 35 bytes]");
      assertThat(record.key().toString()).doesNotContain("partition");
    }
  }
}
