package io.asherah.reactive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.spi.CryptoKey;
import java.time.Duration;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Policies, records and keys refuse what makes no sense, and keep what they were given. */
class ValuesTest {
  private static final Instant SECOND = Instant.ofEpochSecond(1);

  @Test
  void policy_hasTheDefaultsOfAsherah() {
    assertThat(CryptoPolicy.defaults())
        .hasToString(
            "CryptoPolicy[keyExpiry=PT2160H, revokeCheckPeriod=PT1H, createdPrecision=PT1M,"
                + " keyRotation=INLINE, maxUsesPerKey=2147483648, cacheSystemKeys=true,"
                + " cacheIntermediateKeys=true, maxCachedIntermediateKeys=1000,"
                + " partitionIdleTime=PT2H]");
  }

  @Test
  void policy_refusesKeysThatAreBornExpired() {
    CryptoPolicy.Builder builder = CryptoPolicy.builder().keyExpiry(Duration.ofSeconds(59));

    assertThatThrownBy(builder::build)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "keyExpiry (PT59S) must not be shorter than createdPrecision (PT1M): a new key may be"
                + " that old when it is made, and would be born expired");
    builder.createdPrecision(Duration.ofSeconds(59));
    assertThat(builder.build().keyExpiry()).isEqualTo(Duration.ofSeconds(59));
    assertThat(builder.build().createdPrecision()).isEqualTo(Duration.ofSeconds(59));
  }

  @Test
  void policy_refusesWhatItCouldNotKeep() {
    CryptoPolicy.Builder builder = CryptoPolicy.builder().cacheNothing();
    assertThat(builder.build().cacheSystemKeys()).isFalse();
    assertThat(builder.build().cacheIntermediateKeys()).isFalse();

    assertThatThrownBy(() -> CryptoPolicy.builder().cacheNothing().maxUsesPerKey(1_000).build())
        .hasMessageStartingWith("maxUsesPerKey needs cacheIntermediateKeys");
    assertThatThrownBy(
            () -> CryptoPolicy.builder().cacheNothing().keyRotation(KeyRotation.QUEUED).build())
        .hasMessageStartingWith("keyRotation QUEUED needs cacheIntermediateKeys");
  }

  @ParameterizedTest
  @ValueSource(strings = {"lru", "LFU", "slru", "tinylfu", "TinyLFU", ""})
  void evictionPolicyOfOtherImplementations_isAccepted(String name) {
    assertThat(CryptoPolicy.builder().evictionPolicy(name).build())
        .hasToString(CryptoPolicy.defaults().toString());
  }

  @Test
  void evictionPolicyWithoutBound_orUnknown_isRefused() {
    assertThatThrownBy(() -> CryptoPolicy.builder().evictionPolicy("Simple"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("set maxCachedIntermediateKeys");
    assertThatThrownBy(() -> CryptoPolicy.builder().evictionPolicy("fifo"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("\"fifo\"; lru, lfu, slru and tinylfu are known");
  }

  @Test
  void policy_refusesWhatMakesNoSense() {
    CryptoPolicy.Builder builder = CryptoPolicy.builder();
    assertThatThrownBy(() -> builder.revokeCheckPeriod(Duration.ZERO))
        .hasMessageStartingWith("revokeCheckPeriod must be between");
    assertThatThrownBy(() -> builder.revokeCheckPeriod(Duration.ofDays(36_501)))
        .hasMessageStartingWith("revokeCheckPeriod must be between");
    assertThatThrownBy(() -> builder.partitionIdleTime(Duration.ofMillis(-1)))
        .hasMessageStartingWith("partitionIdleTime must be between");
    assertThatThrownBy(() -> builder.keyExpiry(Duration.ofMillis(999)))
        .hasMessageStartingWith("keyExpiry must be between");
    assertThatThrownBy(() -> builder.createdPrecision(Duration.ofMillis(1_500)))
        .hasMessage("createdPrecision must be whole seconds, was PT1.5S");
    assertThatThrownBy(() -> builder.createdPrecision(Duration.ofDays(2)))
        .hasMessageStartingWith("createdPrecision must be between");
    assertThatThrownBy(() -> builder.maxUsesPerKey(0))
        .hasMessage("maxUsesPerKey must be between 1 and 2147483648, was 0");
    assertThatThrownBy(() -> builder.maxUsesPerKey((1L << 31) + 1))
        .hasMessage("maxUsesPerKey must be between 1 and 2147483648, was 2147483649");
    assertThatThrownBy(() -> builder.maxCachedIntermediateKeys(0))
        .hasMessage("maxCachedIntermediateKeys must be at least 1, was 0");
  }

  @Test
  void longestPolicy_works() {
    Duration century = Duration.ofDays(36_500);
    CryptoPolicy policy =
        CryptoPolicy.builder()
            .keyExpiry(century)
            .revokeCheckPeriod(century)
            .partitionIdleTime(century)
            .build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "")) {
      DataRowRecord record = Scenario.get(scenario.session().encrypt(new byte[1]));
      scenario.pass(Duration.ofDays(30_000));
      assertThat(Scenario.get(scenario.session().encrypt(new byte[1])).key().parentKeyMeta())
          .isEqualTo(record.key().parentKeyMeta());
    }
  }

  @Test
  void keyMeta_refusesWhatNoRecordCanName() {
    assertThatThrownBy(() -> new KeyMeta("", SECOND)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new KeyMeta("id", SECOND.plusNanos(1)))
        .hasMessage("created must be whole seconds, was 1970-01-01T00:00:01.000000001Z");
    assertThatThrownBy(() -> new EnvelopeKeyRecord(SECOND.plusMillis(1), new byte[1], null, false))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void keyMeta_showsNoPartition() {
    assertThat(new KeyMeta("_IK_alice_orders_shop", SECOND))
        .hasToString("KeyMeta[id=_IK_****, created=1970-01-01T00:00:01Z]");
    assertThat(new KeyMeta("_SK_orders_shop", SECOND))
        .hasToString("KeyMeta[id=_SK_orders_shop, created=1970-01-01T00:00:01Z]");
  }

  @Test
  void records_copyArraysInAndOut_andCompareByContent() {
    byte[] bytes = {1, 2, 3};
    EnvelopeKeyRecord key = new EnvelopeKeyRecord(SECOND, bytes, new KeyMeta("i", SECOND), true);
    DataRowRecord record = new DataRowRecord(key, bytes);
    bytes[0] = 9;

    assertThat(key.encryptedKey()).containsExactly(1, 2, 3);
    assertThat(record.data()).containsExactly(1, 2, 3);
    assertThat(record.key()).isEqualTo(key).hasSameHashCodeAs(key);
    assertThat(DataRowRecord.fromJson(record.toJson())).isNotEqualTo(new Object());
    assertThat(record).isEqualTo(new DataRowRecord(key, new byte[] {1, 2, 3}));
    assertThat(record).hasSameHashCodeAs(new DataRowRecord(key, new byte[] {1, 2, 3}));
    assertThat(record).isNotEqualTo(new DataRowRecord(key, new byte[] {1, 2, 4}));
  }

  @Test
  void cryptoKey_ofAnotherLength_isWipedAndRefused() {
    byte[] bytes = {1, 2, 3};
    assertThatThrownBy(() -> CryptoKey.takeOwnershipOf(bytes))
        .hasMessage("a system key must be 32 bytes long, was 3");
    assertThat(bytes).containsOnly(0);
  }

  @Test
  void cryptoKey_isTakenOnce_orWiped() {
    byte[] bytes = new byte[32];
    bytes[0] = 1;
    CryptoKey taken = CryptoKey.takeOwnershipOf(bytes);
    assertThat(taken).hasToString("CryptoKey[****]");
    assertThat(taken.take()).isSameAs(bytes);
    taken.close();
    assertThat(bytes[0]).isEqualTo((byte) 1);
    assertThatThrownBy(taken::take).isInstanceOf(IllegalStateException.class);

    CryptoKey closed = CryptoKey.takeOwnershipOf(bytes);
    closed.close();
    assertThat(bytes).containsOnly(0);
    assertThatThrownBy(closed::take).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void staticKms_demands32Bytes() {
    assertThatThrownBy(() -> StaticKeyManagementService.of(new byte[16]))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the master key must be 32 bytes long, was 16");
    assertThatThrownBy(() -> StaticKeyManagementService.ofUtf8("tooShort"))
        .hasMessage("the master key must be 32 bytes long, was 8");
    assertThat(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
        .hasToString("StaticKeyManagementService[****]");
  }
}
