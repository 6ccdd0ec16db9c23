package io.asherah.reactive.securememory.internal;

import java.nio.ByteBuffer;
import java.security.MessageDigest;

/**
 * Random bytes behind the last slot of each region. Where they have changed, something wrote past
 * the end of what it was given, and nothing in the region can be trusted.
 */
final class Canary {
  static final int LENGTH = GranuleMap.GRANULE;

  private static final byte[] expected = Drbg.bytes(LENGTH);

  private Canary() {}

  static void put(ByteBuffer place) {
    place.put(0, expected);
  }

  static boolean isIntact(ByteBuffer place) {
    byte[] found = new byte[LENGTH];
    place.get(0, found);
    return MessageDigest.isEqual(found, expected);
  }
}
