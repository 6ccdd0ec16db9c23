package io.asherah.reactive.internal.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.DataRowRecord;
import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.InvalidRecordException;
import io.asherah.reactive.KeyMeta;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Base64;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The formats of wire-and-behaviour §3, and its samples of §11.3. */
class RecordJsonTest {
  private static final String MINIMAL =
      "{\"Key\":{\"Created\":1709913600,\"Key\":\"AQIDBA==\",\"ParentKeyMeta\":"
          + "{\"KeyId\":\"_IK_user1_svc_prod\",\"Created\":1709913540}},\"Data\":\"dGVzdA==\"}";
  private static final String REAL_ROW =
      "{\"Key\":{\"Created\":1610062226,\"Key\":\"Uz4jvKT4EiRMfee7pmgW/r1etnLvu/vChsGGsQ3dJHvm8OXK9ee"
          + "ODxP+mPJoM/0i/yytwA48wP1jsM03\",\"ParentKeyMeta\":{\"KeyId\":\"_IK_partition-1_asherah-samp"
          + "les_lambda-sample-app\",\"Created\":1607473080}},\"Data\":\"gapc/YbQrhAgCAmovpI/Q64ICs3kQS"
          + "v2QVNkcaCtsIFy3fAIV1C4+11ObOHO\"}";
  private static final String REAL_KEY =
      "{\"ParentKeyMeta\":{\"KeyId\":\"_SK_api_ecomm\",\"Created\":1541461380},\"Key\":\"mWT/x4RvIFVFE"
          + "2BEYV1IB9FMM8sWN1sK6YN5bS2UyGR+9RSZVTvp/bcQ6PycW6kxYEqrpA+aV4u04jOr\",\"Created\":15414613"
          + "80}";

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String row(String key, String data) {
    return "{\"Key\":%s,\"Data\":%s}".formatted(key, data);
  }

  private static String key(String fields) {
    return "{" + fields + "}";
  }

  @Test
  void minimalRow_isRead_andWrittenBackByteForByte() {
    DataRowRecord record = DataRowRecord.fromJson(utf8(MINIMAL));

    assertThat(record.data()).isEqualTo(utf8("test"));
    assertThat(record.key())
        .isEqualTo(
            new EnvelopeKeyRecord(
                Instant.ofEpochSecond(1709913600),
                new byte[] {1, 2, 3, 4},
                new KeyMeta("_IK_user1_svc_prod", Instant.ofEpochSecond(1709913540)),
                false));
    assertThat(record.toJson()).isEqualTo(utf8(MINIMAL));
  }

  @Test
  void rowOfTheGoImplementation_isRead_andWrittenBackByteForByte() {
    DataRowRecord record = DataRowRecord.fromJson(utf8(REAL_ROW));

    assertThat(record.data()).hasSize(45);
    assertThat(record.key().encryptedKey()).hasSize(60);
    assertThat(record.toJson()).isEqualTo(utf8(REAL_ROW));
  }

  @Test
  void keyOfTheOtherImplementations_isRead() {
    EnvelopeKeyRecord intermediate = EnvelopeKeyRecord.fromJson(utf8(REAL_KEY));
    assertThat(intermediate.encryptedKey()).hasSize(60);
    assertThat(intermediate.parentKeyMeta())
        .contains(new KeyMeta("_SK_api_ecomm", Instant.ofEpochSecond(1541461380)));
    assertThat(intermediate.isRevoked()).isFalse();

    EnvelopeKeyRecord system =
        EnvelopeKeyRecord.fromJson(
            utf8("{\"Key\":\"mWT/x4RvIFVFE2BEYV1IB9FM\",\"Created\":1541461380}"));
    assertThat(system.parentKeyMeta()).isEmpty();

    EnvelopeKeyRecord pretty =
        EnvelopeKeyRecord.fromJson(
            utf8(
                """
                {
                  "ParentKeyMeta": { "KeyId": "_SK_api_ecomm", "Created": 1551980040 },
                  "Key": "WXSRYxyx6YJgv/gCLuYmZo+tCILhPp+Fklx8rZPBH+56zu2hVoI8N8TVDyvi9u+H7akWLD6cYBvAtO5Z",
                  "Created": 1551980041,
                  "Revoked": false
                }
                """));
    assertThat(pretty.created()).isEqualTo(Instant.ofEpochSecond(1551980041));
  }

  @Test
  void key_isWrittenCompact_withoutNullAndWithoutFalse() {
    EnvelopeKeyRecord system =
        new EnvelopeKeyRecord(Instant.ofEpochSecond(1), new byte[] {1, 2}, null, false);
    EnvelopeKeyRecord intermediate =
        new EnvelopeKeyRecord(
            Instant.ofEpochSecond(2),
            new byte[] {(byte) 0xfb, (byte) 0xff},
            new KeyMeta("_SK_\"s\"_p\u00e9/", Instant.ofEpochSecond(1)),
            true);

    assertThat(new String(system.toJson(), StandardCharsets.UTF_8))
        .isEqualTo("{\"Created\":1,\"Key\":\"AQI=\"}");
    assertThat(new String(intermediate.toJson(), StandardCharsets.UTF_8))
        .isEqualTo(
            "{\"Created\":2,\"Key\":\"+/8=\",\"ParentKeyMeta\":{\"KeyId\":"
                + "\"_SK_\\\"s\\\"_p\u00e9/\",\"Created\":1},\"Revoked\":true}");
    assertThat(EnvelopeKeyRecord.fromJson(intermediate.toJson())).isEqualTo(intermediate);
    assertThat(EnvelopeKeyRecord.fromJson(system.toJson())).isEqualTo(system);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        // any order, white space, unknown fields also nested ones
        "{\"Data\":\"dGVzdA==\",\"Key\":{\"ParentKeyMeta\":{\"Created\":1,\"KeyId\":\"i\"},\"Key\":\"AQ==\",\"Created\":2}}",
        " { \"Key\" : { \"Created\" : 2 , \"Key\" : \"AQ==\" } , \"Data\" : \"dGVzdA==\" }\n",
        "{\"New\":{\"Data\":[1,{}]},\"Key\":{\"X\":null,\"Created\":2,\"Key\":\"AQ==\",\"Y\":[[]]},\"Data\":\"dGVzdA==\"}",
        // optional fields absent, null or false
        "{\"Key\":{\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":null,\"Revoked\":null},\"Data\":\"dGVzdA==\"}",
        "{\"Key\":{\"Created\":2,\"Key\":\"AQ==\",\"Revoked\":false},\"Data\":\"dGVzdA==\"}",
        "{\"Key\":{\"Created\":2,\"Key\":\"AQ==\",\"Revoked\":true},\"Data\":\"dGVzdA==\"}",
        // escapes, as org.json writes them
        "{\"Key\":{\"Created\":2,\"Key\":\"AQ==\"},\"D\\u0061ta\":\"dGVzdA\\u003d=\"}",
        // an empty wrapped key is for decryption to refuse
        "{\"Key\":{\"Created\":2,\"Key\":\"\"},\"Data\":\"dGVzdA==\"}"
      })
  void variants_areAccepted(String json) {
    assertThat(DataRowRecord.fromJson(utf8(json)).data()).isEqualTo(utf8("test"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "null",
        "1",
        "1.0",
        "true",
        "\"\"",
        "\"dGVz dA==\"",
        "\"dGVzdA==\\n\"",
        "\" dGVzdA==\"",
        "\"dGVzdA\"",
        "\"dGVzdA=\"",
        "\"dGVzdB==\"",
        "\"dGVzdGH=\"",
        "\"-_-_\"",
        "\"dGVzdA==A\"",
        "\"dGVzdA==AAAA\"",
        "\"====\"",
        "\"\u00e9\u00e9\u00e9\u00e9\"",
        "[\"dGVzdA==\"]",
        "{}"
      })
  void data_thatIsNotCanonicalBase64_isRefused(String data) {
    String json = row(key("\"Created\":2,\"Key\":\"AQ==\""), data);
    if (data.equals("\"\"")) {
      assertThat(DataRowRecord.fromJson(utf8(json)).data()).isEmpty();
    } else {
      assertInvalid(json);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "\"Key\":\"AQ==\"",
        "\"Created\":\"2\",\"Key\":\"AQ==\"",
        "\"Created\":true,\"Key\":\"AQ==\"",
        "\"Created\":2.0,\"Key\":\"AQ==\"",
        "\"Created\":2e3,\"Key\":\"AQ==\"",
        "\"Created\":null,\"Key\":\"AQ==\"",
        "\"Created\":9223372036854775807,\"Key\":\"AQ==\"",
        "\"Created\":9223372036854775808,\"Key\":\"AQ==\"",
        "\"Created\":02,\"Key\":\"AQ==\"",
        "\"Created\":2",
        "\"created\":2,\"key\":\"AQ==\"",
        "\"Created\":2,\"Key\":null",
        "\"Created\":2,\"Key\":\"AQ==\",\"Revoked\":\"true\"",
        "\"Created\":2,\"Key\":\"AQ==\",\"Revoked\":1",
        "\"Created\":2,\"Key\":\"AQ==\",\"Key\":\"AQ==\"",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":\"i\"",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{}",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{\"KeyId\":\"i\"}",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{\"Created\":1}",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{\"KeyID\":\"i\",\"Created\":1}",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{\"KeyId\":\"\",\"Created\":1}",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{\"KeyId\":1,\"Created\":1}",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{\"KeyId\":\"\\ud800\",\"Created\":1}",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{\"KeyId\":\"i\",\"Created\":0}",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{\"KeyId\":\"i\",\"Created\":-1}",
        "\"Created\":2,\"Key\":\"AQ==\",\"ParentKeyMeta\":{\"KeyId\":\"i\",\"Created\":\"1\"}"
      })
  void key_withWrongOrMissingFields_isRefused(String fields) {
    assertInvalid(row(key(fields), "\"dGVzdA==\""));
    assertThatThrownBy(() -> EnvelopeKeyRecord.fromJson(utf8(key(fields))))
        .isInstanceOf(InvalidRecordException.class);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        "{",
        "{\"ParentKeyMeta\":{\"KeyId\"",
        "[]",
        "\"\"",
        "null",
        "{} {}",
        "{}x",
        "\u0000",
        "{\"Key\":{\"Created\":2,\"Key\":\"AQ==\"},\"Data\":\"dGVzdA==\"} x",
        "{\"Key\":{\"Created\":2,\"Key\":\"AQ==\"},\"Data\":\"dGVzdA==\"}{}",
        "{'Key':{\"Created\":2,\"Key\":\"AQ==\"},\"Data\":\"dGVzdA==\"}",
        "{\"Key\":[],\"Data\":\"dGVzdA==\"}",
        "{\"Data\":\"dGVzdA==\"}"
      })
  void whatIsNotARecord_isRefused(String json) {
    assertInvalid(json);
  }

  @Test
  void otherCharsets_areRefused() {
    assertThatThrownBy(() -> DataRowRecord.fromJson(MINIMAL.getBytes(StandardCharsets.UTF_16)))
        .isInstanceOf(InvalidRecordException.class);
    assertThatThrownBy(() -> DataRowRecord.fromJson(MINIMAL.getBytes(StandardCharsets.UTF_16LE)))
        .isInstanceOf(InvalidRecordException.class);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        // overlong forms of d, of a quote and of NUL; a surrogate; a lone continuation; a cut one
        "c1a4",
        "e081a4",
        "f08081a4",
        "c0a2",
        "c080",
        "eda080",
        "80",
        "c3",
        "f5808080",
        "ff"
      })
  void malformedUtf8_isRefused_whereverItIs(String hex) {
    byte[] wrong = java.util.HexFormat.of().parseHex(hex);
    for (String place : new String[] {"dGVz", "AQID", "_IK_user1", "Data", "KeyId"}) {
      byte[] json = utf8(MINIMAL);
      int at = MINIMAL.indexOf(place);
      byte[] changed = new byte[json.length - 1 + wrong.length];
      System.arraycopy(json, 0, changed, 0, at);
      System.arraycopy(wrong, 0, changed, at, wrong.length);
      System.arraycopy(json, at + 1, changed, at + wrong.length, json.length - at - 1);

      assertThatThrownBy(() -> DataRowRecord.fromJson(changed))
          .isInstanceOf(InvalidRecordException.class);
    }
  }

  @Test
  void deepNesting_isRefused_notAStackOverflow() {
    assertInvalid("{\"X\":" + "[".repeat(1_000_000));
  }

  @Test
  void largePayload_isRead() {
    byte[] data = new byte[32 << 20];
    Row row = new Row(2, new byte[1], false, null, data);
    assertThat(RecordJson.readRow(RecordJson.writeRow(row)).data()).hasSize(data.length);
  }

  @Test
  void message_saysWhatIsWrong_andQuotesNothing() {
    assertThatThrownBy(() -> DataRowRecord.fromJson(utf8("{\"Key\": topsecret}")))
        .hasMessage("this is not a data row record: malformed JSON at byte 8")
        .hasNoCause();
    assertThatThrownBy(
            () ->
                DataRowRecord.fromJson(
                    utf8(row(key("\"Created\":2,\"Key\":\"AQ==\""), "\"topsecret#==\""))))
        .hasMessage(
            "this is not a data row record: Data is not base64: it has a character outside the"
                + " standard alphabet")
        .hasNoCause();
    assertThatThrownBy(() -> EnvelopeKeyRecord.fromJson(utf8("{}")))
        .hasMessage("this is not a key record: Created is missing");
  }

  @Test
  void base64_decodesExactlyWhatItEncodes() {
    for (int length = 0; length < 20; length++) {
      byte[] bytes = new byte[length];
      for (int value = 0; value < 256; value++) {
        java.util.Arrays.fill(bytes, (byte) value);
        String text = Base64.getEncoder().encodeToString(bytes);
        assertThat(StrictBase64.decode(text)).isEqualTo(bytes);
      }
    }
  }

  private static void assertInvalid(String json) {
    assertThatThrownBy(() -> DataRowRecord.fromJson(utf8(json)))
        .isInstanceOf(InvalidRecordException.class)
        .hasMessageStartingWith("this is not a data row record: ")
        .hasNoCause();
  }
}
