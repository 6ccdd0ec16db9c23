package io.asherah.reactive.internal.wire;

import java.util.Base64;

/**
 * Base64 of RFC 4648 §4, padded. Decoding accepts exactly what encoding produces: no white space,
 * no URL alphabet, full padding, and no bits set that the padding discards. So no two texts decode
 * to the same bytes, and a change to any character of a record is noticed.
 */
final class StrictBase64 {
  private static final String ALPHABET =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

  private StrictBase64() {}

  static byte[] encode(byte[] bytes) {
    return Base64.getEncoder().encode(bytes);
  }

  /**
   * Decodes a text.
   *
   * @throws IllegalArgumentException if it is not canonical base64; the message has none of it
   */
  static byte[] decode(String text) {
    int length = text.length();
    if (length % 4 != 0) {
      throw new IllegalArgumentException("its length is not a multiple of four");
    }
    byte[] bytes;
    try {
      bytes = Base64.getDecoder().decode(text);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("it has a character outside the standard alphabet");
    }
    int unusedBits = bytes.length % 3 == 1 ? 0b1111 : bytes.length % 3 == 2 ? 0b11 : 0;
    if (unusedBits != 0) {
      int padding = bytes.length % 3 == 1 ? 2 : 1;
      int lastDigit = ALPHABET.indexOf(text.charAt(length - padding - 1));
      if ((lastDigit & unusedBits) != 0) {
        throw new IllegalArgumentException("bits are set that the padding discards");
      }
    }
    return bytes;
  }
}
