package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testsupport.Await;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Comparator;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.json.JSONObject;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Mono;

/** Reads what canonical Java Asherah writes, and the other way round, through one key store. */
class CanonicalInteropTest {
  private static final String PRODUCT = "product";
  private static final String SERVICE = "service";

  private final SharedStore store = new SharedStore();
  private final SessionFactory ours =
      SessionFactory.builder(PRODUCT, SERVICE)
          .metastore(store.reactive())
          .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
          .build();
  private final com.godaddy.asherah.appencryption.SessionFactory theirs =
      com.godaddy.asherah.appencryption.SessionFactory.newBuilder(PRODUCT, SERVICE)
          .withMetastore(store.canonical())
          .withNeverExpiredCryptoPolicy()
          .withStaticKeyManagementService(Scenario.MASTER_KEY)
          .build();

  @AfterEach
  void close() {
    theirs.close();
    ours.close().block(Await.TIMEOUT);
  }

  static Stream<Arguments> payloadsAndPartitions() {
    String[] partitions = {
      "partition",
      "with spaces and_underscores",
      "späße-\u65e5\u672c\u8a9e-\ud83d\udd11",
      "long ".repeat(40)
    };
    return Stream.of(partitions)
        .flatMap(
            partition ->
                IntStream.of(0, 1, 17, 1_000, 65_536, 1_048_576)
                    .boxed()
                    .flatMap(
                        size ->
                            Stream.of(true, false)
                                .map(oursFirst -> Arguments.of(partition, size, oursFirst))));
  }

  @ParameterizedTest
  @MethodSource("payloadsAndPartitions")
  void bytes_areExchanged_whoeverMadeTheKeys(String partition, int size, boolean oursFirst) {
    byte[] payload = new byte[size];
    for (int i = 0; i < size; i++) {
      payload[i] = (byte) (i * 31);
    }
    Session session = ours.session(partition);
    try (var canonical = theirs.getSessionBytes(partition)) {
      byte[] fromUs;
      byte[] fromThem;
      if (oursFirst) {
        fromUs = get(session.encryptToJson(payload));
        fromThem = canonical.encrypt(payload);
      } else {
        fromThem = canonical.encrypt(payload);
        fromUs = get(session.encryptToJson(payload));
      }

      assertThat(canonical.decrypt(fromUs)).isEqualTo(payload);
      assertThat(get(session.decryptJson(fromThem))).isEqualTo(payload);
      assertThat(get(session.decrypt(DataRowRecord.fromJson(fromThem)))).isEqualTo(payload);
      // One system and one intermediate key, so each side used what the other one made.
      assertThat(store.records).hasSize(2);
      assertThat(DataRowRecord.fromJson(fromUs).key().parentKeyMeta())
          .isEqualTo(DataRowRecord.fromJson(fromThem).key().parentKeyMeta());
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void recordsInTheStore_areFoundByAFreshFactoryOfTheOtherSide(boolean weWrite) {
    byte[] payload = utf8("payload");
    if (weWrite) {
      byte[] json = get(ours.session("partition").encryptToJson(payload));
      try (var fresh =
              com.godaddy.asherah.appencryption.SessionFactory.newBuilder(PRODUCT, SERVICE)
                  .withMetastore(store.canonical())
                  .withNeverExpiredCryptoPolicy()
                  .withStaticKeyManagementService(Scenario.MASTER_KEY)
                  .build();
          var canonical = fresh.getSessionBytes("partition")) {
        assertThat(canonical.decrypt(json)).isEqualTo(payload);
      }
    } else {
      byte[] json;
      try (var canonical = theirs.getSessionBytes("partition")) {
        json = canonical.encrypt(payload);
      }
      assertThat(get(ours.session("partition").decryptJson(json))).isEqualTo(payload);
    }
  }

  @Test
  void jsonSessions_areExchanged() {
    JSONObject document =
        new JSONObject(Map.of("name", "Zoë </b>", "amounts", new int[] {1, 2}, "ok", true));
    Session session = ours.session("partition");
    try (var canonical = theirs.getSessionJson("partition");
        var canonicalToJson = theirs.getSessionJsonAsJson("partition");
        var canonicalBytesToJson = theirs.getSessionBytesAsJson("partition")) {
      byte[] fromUs = get(session.encryptToJson(utf8(document.toString())));
      assertThat(canonical.decrypt(fromUs).similar(document)).isTrue();
      JSONObject fromUsAsJson = new JSONObject(new String(fromUs, StandardCharsets.UTF_8));
      assertThat(canonicalToJson.decrypt(fromUsAsJson).similar(document)).isTrue();
      assertThat(canonicalBytesToJson.decrypt(fromUsAsJson)).isEqualTo(utf8(document.toString()));

      for (byte[] fromThem :
          new byte[][] {
            canonical.encrypt(document),
            utf8(canonicalToJson.encrypt(document).toString()),
            utf8(canonicalToJson.encrypt(document).toString(4)),
            utf8(canonicalBytesToJson.encrypt(utf8(document.toString())).toString())
          }) {
        byte[] opened = get(session.decryptJson(fromThem));
        assertThat(new JSONObject(new String(opened, StandardCharsets.UTF_8)).similar(document))
            .isTrue();
      }
    }
  }

  @Test
  void bothSides_refuseARecordOfAnotherPartition() {
    byte[] fromUs = get(ours.session("shopper123").encryptToJson(utf8("payload")));
    try (var canonical = theirs.getSessionBytes("shopper1234");
        var owner = theirs.getSessionBytes("shopper123")) {
      assertThatThrownBy(() -> canonical.decrypt(fromUs))
          .isInstanceOf(
              com.godaddy.asherah.appencryption.exceptions.MetadataMissingException.class);
      byte[] fromThem = owner.encrypt(utf8("payload"));
      assertThatThrownBy(() -> get(ours.session("shopper1234").decryptJson(fromThem)))
          .isInstanceOf(MetadataMissingException.class);
    }
  }

  /** One table of key records as text, as a database would keep them. */
  private static final class SharedStore {
    private final ConcurrentSkipListMap<KeyMeta, String> records =
        new ConcurrentSkipListMap<>(
            Comparator.comparing(KeyMeta::id).thenComparing(KeyMeta::created));

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
          return Mono.fromSupplier(() -> find(id, created))
              .flatMap(Mono::justOrEmpty)
              .map(json -> EnvelopeKeyRecord.fromJson(utf8(json)));
        }

        @Override
        public Mono<EnvelopeKeyRecord> loadLatest(String id) {
          return Mono.fromSupplier(() -> findLatest(id))
              .flatMap(Mono::justOrEmpty)
              .map(json -> EnvelopeKeyRecord.fromJson(utf8(json)));
        }

        @Override
        public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
          return Mono.fromSupplier(
              () -> add(id, created, new String(record.toJson(), StandardCharsets.UTF_8)));
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
