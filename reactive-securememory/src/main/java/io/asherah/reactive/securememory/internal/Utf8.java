package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.SecureMemoryException;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CharsetEncoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Turns characters into bytes and back, leaving no copy but the result. */
final class Utf8 {
  private static final int MOST_BYTES_PER_CHAR = 3;

  private Utf8() {}

  /**
   * Encodes characters.
   *
   * @throws IllegalArgumentException where half of a surrogate pair is missing
   */
  static byte[] encode(char[] chars) {
    CharsetEncoder encoder = StandardCharsets.UTF_8.newEncoder();
    if (chars.length > Integer.MAX_VALUE / MOST_BYTES_PER_CHAR) {
      throw new IllegalArgumentException(
          "%d characters are too many for one secret".formatted(chars.length));
    }
    ByteBuffer bytes = ByteBuffer.allocate(chars.length * MOST_BYTES_PER_CHAR);
    try {
      CharBuffer source = CharBuffer.wrap(chars);
      CoderResult result = encoder.encode(source, bytes, true);
      if (result.isError()) {
        throw new IllegalArgumentException(
            "the characters are not text: the surrogate at index %d has no partner"
                .formatted(source.position()));
      }
      encoder.flush(bytes);
      return Arrays.copyOf(bytes.array(), bytes.position());
    } finally {
      Arrays.fill(bytes.array(), (byte) 0);
    }
  }

  /**
   * Decodes bytes.
   *
   * @throws SecureMemoryException where they are not UTF-8
   */
  static char[] decode(byte[] bytes) {
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    CharBuffer chars = CharBuffer.allocate(bytes.length);
    try {
      ByteBuffer source = ByteBuffer.wrap(bytes);
      CoderResult result = decoder.decode(source, chars, true);
      if (result.isError()) {
        throw new SecureMemoryException(
            "the secret is not UTF-8: there is no character at byte %d; read it with withBytes"
                .formatted(source.position()),
            null);
      }
      decoder.flush(chars);
      return Arrays.copyOf(chars.array(), chars.position());
    } finally {
      Arrays.fill(chars.array(), '\0');
    }
  }
}
