package io.asherah.reactive.benchmarks;

import java.util.Random;
import java.util.function.Function;

/** What the secrets of all benchmarks hold, and what is done with it. */
final class Bytes {
  static final int KEY_LENGTH = 32;
  static final int MEBIBYTE = 1 << 20;
  static final int CHUNK = 1 << 14;

  /** What both implementations apply to the bytes of a key; its result is not allocated. */
  static final Function<byte[], Byte> LAST = bytes -> bytes[bytes.length - 1];

  private Bytes() {}

  static byte[] random(int length) {
    byte[] bytes = new byte[length];
    new Random(length).nextBytes(bytes);
    return bytes;
  }
}
