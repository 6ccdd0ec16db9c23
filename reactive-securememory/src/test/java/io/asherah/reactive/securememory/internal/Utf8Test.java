package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.SecureMemoryException;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class Utf8Test {

  @ParameterizedTest
  @ValueSource(strings = {"a", "hunter2", "äöüß", "€", "😀", "a_b", "_", "\ufeffx", "a😀ß€"})
  void text_comesBackAsItWas(String name) {
    String text = name.replace('_', '\0'); // which would make the report a binary file
    byte[] bytes = Utf8.encode(text.toCharArray());

    assertThat(bytes).isEqualTo(text.getBytes(StandardCharsets.UTF_8));
    assertThat(Utf8.decode(bytes)).isEqualTo(text.toCharArray());
  }

  @Test
  void everyCodePoint_comesBackAsItWas() {
    int[] codePoints =
        IntStream.rangeClosed(0, Character.MAX_CODE_POINT)
            .filter(c -> c < Character.MIN_SURROGATE || c > Character.MAX_SURROGATE)
            .toArray();
    char[] chars = new String(codePoints, 0, codePoints.length).toCharArray();

    byte[] bytes = Utf8.encode(chars.clone());

    assertThat(bytes).hasSize(0x80 + 0x780 * 2 + (0xF800 - 0x800) * 3 + 0x100000 * 4);
    assertThat(Utf8.decode(bytes)).isEqualTo(chars);
  }

  @ParameterizedTest
  @CsvSource({
    "80, 0", // a continuation without a start
    "61ff, 1", // no byte of UTF-8
    "6161c3, 2", // ends too early
    "e282, 0",
    "61f09f98, 1",
    "61c361, 1",
    "c080, 0", // NUL in two bytes
    "61e08080, 1",
    "6162eda080, 2", // half of a surrogate pair
    "61f4908080, 1", // beyond the last code point
    "c3a4f8, 2"
  })
  void malformedBytes_areRefused_withTheirPositionAndNothingElse(String hex, int position) {
    byte[] bytes = HexFormat.of().parseHex(hex);

    assertThatThrownBy(() -> Utf8.decode(bytes))
        .isInstanceOf(SecureMemoryException.class)
        .hasMessage(
            "the secret is not UTF-8: there is no character at byte %d; read it with withBytes",
            position)
        .hasNoCause();
  }

  @ParameterizedTest
  @CsvSource({"d800, 0", "0061dc00, 1", "00610062d83d, 2", "dc00d800, 0", "0061d8000062, 1"})
  void loneSurrogates_areRefused_withTheirPositionAndNothingElse(String hex, int position) {
    char[] chars = new char[hex.length() / 4];
    for (int i = 0; i < chars.length; i++) {
      chars[i] = (char) HexFormat.fromHexDigits(hex, i * 4, i * 4 + 4);
    }
    char[] before = chars.clone();

    assertThatThrownBy(() -> Utf8.encode(chars))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "the characters are not text: the surrogate at index %d has no partner", position)
        .hasNoCause();
    assertThat(chars).isEqualTo(before);
  }
}
