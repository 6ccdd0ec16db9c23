package io.asherah.reactive.kms.aws;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.kms.aws.KeyEnvelope.Kek;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Objects;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class KeyEnvelopeTest {
  /** Of the tests of Go, see wire-and-behaviour §11.3. */
  private static final String SAMPLE =
      """
      {
        "kmsKeks": [
          {
            "region": "us-west-2",
            "arn": "9b3bedaf-9767-4712-87f9-88befbe0b5c9",
            "encryptedKek": "AQICAHhKCgIzMuTVw/yj2k2mGhpHZJLmI5wUT5P9ZubwmhvkmwH1fGaWfhHEtdofxQogk3RNAAAAfjB8BgkqhkiG9w0BBwagbzBtAgEAMGgGCSqGSIb3DQEHATAeBglghkgBZQMEAS4wEQQMCZgoOYlNTrqC5zXRAgEQgDsLzVF4aCnEY3pp8zCbRhqtYTdtoalRLEMWLATr0P7j3NnIq8nh6IppvF7kMKT8Y1wtIcGAeIzmHHvvfA=="
          },
          {
            "region": "us-east-2",
            "arn": "a7f3c918-8068-4dc5-b323-86377fe70fbe",
            "encryptedKek": "AQICAHiGy//xbN3HLZk9GeEmF1B03AEp2W0c1/SR2e7CK+tFKwFrE80QJ6JNmg4q7H9dLRDnAAAAfjB8BgkqhkiG9w0BBwagbzBtAgEAMGgGCSqGSIb3DQEHATAeBglghkgBZQMEAS4wEQQMjH2F1q3kUmtrhvVfAgEQgDsIsFZdB4DEUKcwqOEtGAkVehHdl8a9vpcAFknm5mql5PRihVLWYQL1c9Hw1cjSIVYy/tlaMPTecLfGUA=="
          }
        ],
        "encryptedKey": "+FEJWwhJA3FDFY0rMjZ9/dLqfW4pbrLZ6b4UdlWCQd2TGQ2slCdVRtBDwQm4vtWCrYiOJV6nmcPrxqjI"
      }
      """;

  private static final String SECRET = "c2VjcmV0LXRoYXQtbXVzdC1ub3QtYmUtcXVvdGVk";
  private static final String KEK = "{\"region\":\"r\",\"arn\":\"a\",\"encryptedKek\":\"AQID\"}";

  private static KeyEnvelope read(String json) {
    return KeyEnvelope.fromJson(json.getBytes(UTF_8));
  }

  @Test
  void sampleOfGo_isRead() {
    KeyEnvelope envelope = read(SAMPLE);

    assertThat(envelope.encryptedKey())
        .isEqualTo(
            Base64.getDecoder()
                .decode(
                    "+FEJWwhJA3FDFY0rMjZ9/dLqfW4pbrLZ6b4UdlWCQd2TGQ2slCdVRtBDwQm4vtWCrYiOJV6nmcPrxqjI"));
    assertThat(envelope.encryptedKey()).hasSize(60);
    assertThat(envelope.keks()).extracting(Kek::region).containsExactly("us-west-2", "us-east-2");
    assertThat(envelope.keks())
        .extracting(Kek::arn)
        .containsExactly(
            "9b3bedaf-9767-4712-87f9-88befbe0b5c9", "a7f3c918-8068-4dc5-b323-86377fe70fbe");
    assertThat(envelope.keks()).allSatisfy(kek -> assertThat(kek.encryptedKek()).hasSize(184));
    assertThat(envelope.keks().get(0).encryptedKek())
        .startsWith(1, 2, 2, 0, 120)
        .isNotEqualTo(envelope.keks().get(1).encryptedKek());
  }

  @Test
  void whatIsWritten_isExactlyTheFormat_andRead() {
    KeyEnvelope envelope =
        new KeyEnvelope(
            new byte[] {(byte) 0xfb, (byte) 0xff, 1},
            List.of(
                new Kek("us-west-2", "arn:aws:kms:us-west-2:1:key/a\"\\", new byte[] {1}),
                new Kek("eu-west-1", "alias/b", new byte[] {2, 3})));

    byte[] json = envelope.toJson();

    assertThat(new String(json, UTF_8))
        .isEqualTo(
            "{\"encryptedKey\":\"+/8B\",\"kmsKeks\":["
                + "{\"region\":\"us-west-2\",\"arn\":\"arn:aws:kms:us-west-2:1:key/a\\\"\\\\\","
                + "\"encryptedKek\":\"AQ==\"},"
                + "{\"region\":\"eu-west-1\",\"arn\":\"alias/b\",\"encryptedKek\":\"AgM=\"}]}");
    assertThat(KeyEnvelope.fromJson(json)).usingRecursiveComparison().isEqualTo(envelope);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{\"region\":\"r\",\"arn\":\"a\",\"encryptedKek\":\"AQID\"}]}",
        "{\"kmsKeks\":[{\"encryptedKek\":\"AQID\",\"arn\":\"a\",\"region\":\"r\"}],\"encryptedKey\":\"BAUG\"}",
        " \r\n\t{ \"kmsKeks\" : [ { \"arn\" : \"a\" , \"region\":\"r\", \"encryptedKek\":\"AQID\" } ] ,\n"
            + "\"encryptedKey\":\"BAUG\" } \n",
        "{\"v\":1,\"x\":{\"kmsKeks\":[1,{\"region\":2}]},\"y\":[[{}]],\"z\":null,\"encryptedKey\":\"BAUG\","
            + "\"kmsKeks\":[{\"more\":{\"arn\":\"no\"},\"region\":\"r\",\"list\":[\"region\"],\"arn\":\"a\","
            + "\"encryptedKek\":\"AQID\",\"n\":1.5e3}],\"KmsKeks\":[],\"EncryptedKey\":7}",
        "{\"encrypted\\u004bey\":\"BAU\\u0047\",\"kmsKeks\":[{\"region\":\"\\u0072\",\"arn\":\"a\","
            + "\"encryptedKek\":\"AQID\"}]}"
      })
  void anyOrder_whiteSpace_andUnknownFields_areRead(String json) {
    assertThat(read(json))
        .usingRecursiveComparison()
        .isEqualTo(
            new KeyEnvelope(
                new byte[] {4, 5, 6}, List.of(new Kek("r", "a", new byte[] {1, 2, 3}))));
  }

  static Stream<String> malformed() {
    String good = "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[" + KEK + "]}";
    Stream<String> cut = IntStream.range(0, good.length()).mapToObj(i -> good.substring(0, i));
    Stream<String> others =
        Stream.of(
            "null",
            "true",
            "7",
            "\"" + SECRET + "\"",
            "[]",
            "[" + good + "]",
            "{}",
            good + "x",
            good + good,
            good + "," + SECRET,
            "\ufeff" + good,
            SECRET,
            "{" + SECRET + "}",
            "{\"encryptedKey\":" + SECRET + "}",
            "{\"encryptedKey\":\"" + SECRET + "\n\",\"kmsKeks\":[]}",
            "{\"encryptedKey\":\"" + SECRET + "\"}",
            "{\"kmsKeks\":[" + KEK + "]}",
            "{\"encryptedKey\":null,\"kmsKeks\":[]}",
            "{\"encryptedKey\":7,\"kmsKeks\":[]}",
            "{\"encryptedKey\":{},\"kmsKeks\":[]}",
            "{\"encryptedKey\":[\"" + SECRET + "\"],\"kmsKeks\":[]}",
            "{\"encryptedKey\":\"" + SECRET + "!\",\"kmsKeks\":[]}",
            "{\"encryptedKey\":\"" + SECRET + "=\",\"kmsKeks\":[]}",
            "{\"encryptedKey\":\"BAU\\n" + SECRET + "\",\"kmsKeks\":[]}",
            "{\"encryptedKey\":\"B-_G" + SECRET + "\",\"kmsKeks\":[]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":null}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":{}}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":\"" + SECRET + "\"}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[null]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[[]]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[\"" + SECRET + "\"]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{}]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[" + KEK + ",{}]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{\"region\":\"" + SECRET + "\"}]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{\"arn\":\"a\",\"encryptedKek\":\"AQID\"}]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{\"region\":\"a\",\"encryptedKek\":\"AQID\"}]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{\"region\":1,\"arn\":\"a\",\"encryptedKek\":\"AQID\"}]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{\"region\":\"a\",\"arn\":null,\"encryptedKek\":\"AQID\"}]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{\"region\":\"a\",\"arn\":\"a\",\"encryptedKek\":\"*"
                + SECRET
                + "\"}]}",
            // Which of two is meant, nobody can tell.
            "{\"encryptedKey\":\"BAUG\",\"encryptedKey\":\"BAUG\",\"kmsKeks\":[" + KEK + "]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[],\"kmsKeks\":[" + KEK + "]}",
            "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{\"region\":\"a\",\"region\":\"b\",\"arn\":\"a\",\"encryptedKek\":\"AQID\"}]}",
            "{\"a\":".repeat(20_000),
            "{\"x\":" + "[".repeat(20_000));
    return Stream.concat(cut, others);
  }

  @ParameterizedTest
  @MethodSource("malformed")
  void whatIsNoEnvelope_isInvalidCiphertext_andNotQuoted(String json) {
    assertIsRefused(json.getBytes(UTF_8));
  }

  @Test
  void otherEncodings_areInvalidCiphertext() {
    String good = "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[" + KEK + "]}";
    assertIsRefused(good.getBytes(java.nio.charset.StandardCharsets.UTF_16));
    assertIsRefused(good.getBytes(java.nio.charset.StandardCharsets.UTF_16LE));
    assertIsRefused(
        "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[{\"region\":\"\u00e4\",\"arn\":\"a\",\"encryptedKek\":\"AQID\"}]}"
            .getBytes(java.nio.charset.StandardCharsets.ISO_8859_1));
    assertIsRefused(new byte[60]);
  }

  @Test
  void size_isBounded() {
    String start = "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":[" + KEK + "]";
    String full = start + " ".repeat(65_536 - start.length() - 1) + "}";

    assertThat(read(full).keks()).hasSize(1);
    assertIsRefused((" " + full).getBytes(UTF_8));
    byte[] huge = new byte[1 << 20];
    Arrays.fill(huge, (byte) ' ');
    assertIsRefused(huge);
  }

  @Test
  void numberOfEntries_isBounded_sinceEachMayCostACall() {
    assertThat(read(entries(64)).keks()).hasSize(64);
    assertIsRefused(entries(65).getBytes(UTF_8));
  }

  private static String entries(int count) {
    return "{\"encryptedKey\":\"BAUG\",\"kmsKeks\":["
        + IntStream.range(0, count).mapToObj(i -> KEK).collect(Collectors.joining(","))
        + "]}";
  }

  @Test
  void text_saysNothing() {
    assertThat(read(SAMPLE).toString()).isEqualTo("KeyEnvelope[****]");
    assertThat(read(SAMPLE).keks().get(0).toString()).doesNotContain("AQIC");
  }

  private static void assertIsRefused(byte[] json) {
    assertThatThrownBy(() -> KeyEnvelope.fromJson(json))
        .isInstanceOfSatisfying(
            KmsException.class,
            e -> {
              assertThat(e.kind()).isEqualTo(KmsException.Kind.INVALID_CIPHERTEXT);
              assertThat(e.isRetryable()).isFalse();
              assertThat(e).hasNoCause();
              assertThat(Objects.requireNonNull(e.getMessage()))
                  .doesNotContain(SECRET, SECRET.substring(0, 6), "BAUG", "AQID")
                  .hasSizeLessThan(300);
            });
  }
}
