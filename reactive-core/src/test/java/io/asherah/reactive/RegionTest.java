package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testsupport.Await;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Optional;
import org.json.JSONObject;
import org.junit.jupiter.api.Test;
import reactor.test.StepVerifier;

/** Two regions that replicate one table to each other, with keys that were made in one minute. */
class RegionTest {
  private static final String WEST = "us-west-2";
  private static final String EAST = "us-east-1";

  private final InMemoryMetastore table = new InMemoryMetastore();

  private Scenario region(String suffix) {
    return new Scenario(table, CryptoPolicy.defaults(), suffix);
  }

  @Test
  void eachRegion_opensWhatTheOtherSealed_andWritesUnderItsOwnKeys() {
    try (Scenario west = region(WEST);
        Scenario east = region(EAST)) {
      DataRowRecord fromWest = get(west.session().encrypt(utf8("west")));
      DataRowRecord fromEast = get(east.session().encrypt(utf8("east")));
      assertThat(keyOf(fromWest).created()).isEqualTo(keyOf(fromEast).created());

      // In this order, so that each has the other's key in its cache when it writes again.
      assertThat(get(west.session().decrypt(fromEast))).isEqualTo(utf8("east"));
      assertThat(get(east.session().decrypt(fromWest))).isEqualTo(utf8("west"));
      DataRowRecord againFromWest = get(west.session().encrypt(utf8("west again")));
      DataRowRecord againFromEast = get(east.session().encrypt(utf8("east again")));

      assertThat(keyOf(againFromWest)).isEqualTo(keyOf(fromWest));
      assertThat(keyOf(againFromWest).id()).endsWith(WEST);
      assertThat(keyOf(againFromEast)).isEqualTo(keyOf(fromEast));
      for (Scenario region : List.of(west, east)) {
        assertThat(get(region.session().decrypt(fromWest))).isEqualTo(utf8("west"));
        assertThat(get(region.session().decrypt(fromEast))).isEqualTo(utf8("east"));
        assertThat(get(region.session().decrypt(againFromWest))).isEqualTo(utf8("west again"));
        assertThat(get(region.session().decrypt(againFromEast))).isEqualTo(utf8("east again"));
      }
      try (Scenario fresh = region(EAST)) {
        assertThat(get(fresh.session().decrypt(againFromWest))).isEqualTo(utf8("west again"));
        assertThat(get(fresh.session().decrypt(againFromEast))).isEqualTo(utf8("east again"));
      }
    }
  }

  @Test
  void readingTheOtherRegionFirst_doesNotMakeItsKeyTheOneToWriteWith() {
    try (Scenario west = region(WEST);
        Scenario east = region(EAST)) {
      DataRowRecord fromEast = get(east.session().encrypt(utf8("east")));
      assertThat(get(west.session().decrypt(fromEast))).isEqualTo(utf8("east"));

      DataRowRecord fromWest = get(west.session().encrypt(utf8("west")));

      assertThat(keyOf(fromWest).id()).endsWith(WEST);
      EnvelopeKeyRecord key = get(table.load(keyOf(fromWest).id(), keyOf(fromWest).created()));
      assertThat(key.parentKeyMeta().orElseThrow().id()).isEqualTo("_SK_service_product_" + WEST);
      assertThat(get(east.session().decrypt(fromWest))).isEqualTo(utf8("west"));
    }
  }

  @Test
  void parentOfARecord_isFollowed_whateverItsSuffix() {
    // A key that was copied under another id keeps the parent it was sealed under.
    try (Scenario west = region(WEST);
        Scenario east = region(EAST)) {
      DataRowRecord fromWest = get(west.session().encrypt(utf8("west")));
      EnvelopeKeyRecord copied = get(table.load(keyOf(fromWest).id(), keyOf(fromWest).created()));
      String eastId = "_IK_partition_service_product_" + EAST;
      get(table.store(eastId, copied.created(), copied));

      DataRowRecord record = get(east.session().encrypt(utf8("east")));

      assertThat(keyOf(record)).isEqualTo(new KeyMeta(eastId, copied.created()));
      assertThat(get(table.list(KeySelector.idPrefix("_SK_")).collectList()))
          .extracting(KeyInfo::meta)
          .extracting(KeyMeta::id)
          .containsExactly("_SK_service_product_" + WEST);
      assertThat(get(west.session().decrypt(record))).isEqualTo(utf8("east"));
    }
  }

  private static KeyMeta keyOf(DataRowRecord record) {
    return record.key().parentKeyMeta().orElseThrow();
  }

  /**
   * Canonical Java 0.3.3 caches intermediate keys by creation time alone. A session that has opened
   * a record of the other region takes that region's key for its own if both were made in the same
   * minute, and writes records that nobody can open.
   */
  @Test
  void canonicalJava_writesRecordsThatNobodyCanOpen_whereWeDoNot() {
    Instant minute = Instant.now().truncatedTo(ChronoUnit.MINUTES);
    SessionFactory east = fixed(EAST, minute);
    SessionFactory west = fixed(WEST, minute);
    byte[] fromEast = get(east.session("partition").encryptToJson(utf8("east")));
    byte[] fromWest = get(west.session("partition").encryptToJson(utf8("west")));

    byte[] broken;
    try (var canonical = canonical(WEST);
        var session = canonical.getSessionBytes("partition")) {
      assertThat(session.decrypt(fromEast)).isEqualTo(utf8("east"));
      broken = session.encrypt(utf8("lost"));
    }

    assertThat(keyOf(DataRowRecord.fromJson(broken)))
        .isEqualTo(keyOf(DataRowRecord.fromJson(fromWest)));
    try (var canonical = canonical(WEST);
        var session = canonical.getSessionBytes("partition")) {
      assertThatThrownBy(() -> session.decrypt(broken))
          .isInstanceOf(com.godaddy.asherah.appencryption.exceptions.AppEncryptionException.class);
    }
    StepVerifier.create(west.session("partition").decryptJson(broken))
        .verifyError(InvalidRecordException.class);

    // The same steps here.
    assertThat(get(west.session("partition").decryptJson(fromEast))).isEqualTo(utf8("east"));
    byte[] sound = get(west.session("partition").encryptToJson(utf8("kept")));
    SessionFactory fresh = fixed(WEST, minute);
    assertThat(get(fresh.session("partition").decryptJson(sound))).isEqualTo(utf8("kept"));
    try (var canonical = canonical(WEST);
        var session = canonical.getSessionBytes("partition")) {
      assertThat(session.decrypt(sound)).isEqualTo(utf8("kept"));
    }
    for (SessionFactory factory : List.of(east, west, fresh)) {
      factory.close().block(Await.TIMEOUT);
    }
  }

  private SessionFactory fixed(String suffix, Instant minute) {
    return SessionFactory.builder("product", "service")
        .metastore(new SuffixedMetastore(table, suffix))
        .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
        .clock(Clock.fixed(minute, ZoneOffset.UTC))
        .build();
  }

  private com.godaddy.asherah.appencryption.SessionFactory canonical(String suffix) {
    return com.godaddy.asherah.appencryption.SessionFactory.newBuilder("product", "service")
        .withMetastore(canonicalMetastore(suffix))
        .withNeverExpiredCryptoPolicy()
        .withStaticKeyManagementService(Scenario.MASTER_KEY)
        .build();
  }

  private com.godaddy.asherah.appencryption.persistence.Metastore<JSONObject> canonicalMetastore(
      String suffix) {
    return new com.godaddy.asherah.appencryption.persistence.Metastore<>() {
      @Override
      public Optional<JSONObject> load(String id, Instant created) {
        return table.load(id, created).map(RegionTest::json).blockOptional();
      }

      @Override
      public Optional<JSONObject> loadLatest(String id) {
        return table.loadLatest(id).map(RegionTest::json).blockOptional();
      }

      @Override
      public boolean store(String id, Instant created, JSONObject record) {
        return get(table.store(id, created, EnvelopeKeyRecord.fromJson(utf8(record.toString()))));
      }

      @Override
      public String getKeySuffix() {
        return suffix;
      }
    };
  }

  private static JSONObject json(EnvelopeKeyRecord record) {
    return new JSONObject(new String(record.toJson(), StandardCharsets.UTF_8));
  }
}
