package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Every single bit flipped, every truncation. Nothing but the record's own creation time, which the
 * format does not authenticate, may change without being noticed.
 */
class TamperTest {

  /** What a decryption ended with; warm, so it has ended when subscribe() returns. */
  private record Outcome(byte @Nullable [] payload, @Nullable Throwable error) {}

  private static Outcome decrypt(Session session, byte[] json) {
    AtomicReference<byte[]> payload = new AtomicReference<>();
    AtomicReference<Throwable> error = new AtomicReference<>();
    try {
      byte[] opened =
          session.decryptJson(json).doOnError(error::set).onErrorComplete().block(Await.TIMEOUT);
      payload.set(opened);
    } catch (RuntimeException e) {
      error.set(e);
    }
    return new Outcome(payload.get(), error.get());
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "payload", "seventeen bytes.."})
  void everyFlippedBit_isNoticed(String text) {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.factory.session("tenant \u00e9");
      byte[] json = get(session.encryptToJson(utf8(text)));
      String readable = new String(json, StandardCharsets.ISO_8859_1);
      int createdStart = readable.indexOf("\"Created\":") + "\"Created\":".length();
      int createdEnd = readable.indexOf(',', createdStart);

      for (int position = 0; position < json.length; position++) {
        for (int bit = 0; bit < 8; bit++) {
          byte[] changed = json.clone();
          changed[position] ^= (byte) (1 << bit);
          Outcome outcome = decrypt(session, changed);
          boolean inCreated = createdStart <= position && position < createdEnd;
          if (outcome.error == null) {
            assertThat(inCreated).as("bit %d of byte %d went unnoticed", bit, position).isTrue();
            assertThat(outcome.payload).isEqualTo(utf8(text));
          } else {
            assertThat(outcome.error)
                .as("bit %d of byte %d", bit, position)
                .isInstanceOfAny(InvalidRecordException.class, MetadataMissingException.class);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "payload"})
  void everyTruncation_isNoticed(String text) {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.session();
      byte[] json = get(session.encryptToJson(utf8(text)));

      for (int length = 0; length < json.length; length++) {
        Outcome outcome = decrypt(session, Arrays.copyOf(json, length));
        assertThat(outcome.error)
            .as("truncated to %d bytes", length)
            .isInstanceOf(InvalidRecordException.class);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "payload"})
  void everyFlippedBitAndTruncationOfTheParts_isNoticed(String text) {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.session();
      DataRowRecord record = get(session.encrypt(utf8(text)));
      byte[] data = record.data();
      byte[] key = record.key().encryptedKey();

      for (int bit = 0; bit < 8 * data.length; bit++) {
        assertNoticed(session, record, key, flipped(data, bit));
      }
      for (int bit = 0; bit < 8 * key.length; bit++) {
        assertNoticed(session, record, flipped(key, bit), data);
      }
      for (int length = 0; length < data.length; length++) {
        assertNoticed(session, record, key, Arrays.copyOf(data, length));
        assertNoticed(session, record, key, Arrays.copyOfRange(data, length + 1, data.length));
      }
      for (int length = 0; length < key.length; length++) {
        assertNoticed(session, record, Arrays.copyOf(key, length), data);
      }
      assertNoticed(session, record, key, Arrays.copyOf(data, data.length + 1));
      assertNoticed(session, record, Arrays.copyOf(key, key.length + 1), data);
    }
  }

  private static byte[] flipped(byte[] bytes, int bit) {
    byte[] changed = bytes.clone();
    changed[bit / 8] ^= (byte) (1 << bit % 8);
    return changed;
  }

  private static void assertNoticed(
      Session session, DataRowRecord record, byte[] key, byte[] data) {
    DataRowRecord changed =
        new DataRowRecord(
            new EnvelopeKeyRecord(
                record.key().created(), key, record.key().parentKeyMeta().orElse(null), false),
            data);
    assertThat(decrypt(session, changed.toJson()).error).isInstanceOf(InvalidRecordException.class);
  }
}
