package io.asherah.reactive.securememory.internal;

import java.security.DrbgParameters;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;

/**
 * Random bytes for the scheduler: the JDK's Hash-DRBG (NIST SP 800-90A, 256 bits). Drawing takes a
 * lock and seeding reads the entropy of the system, so nobody else may.
 */
final class Drbg {
  private static final SecureRandom random = newDrbg();

  private Drbg() {}

  static byte[] bytes(int length) {
    byte[] bytes = new byte[length];
    random.nextBytes(bytes);
    return bytes;
  }

  private static SecureRandom newDrbg() {
    try {
      return SecureRandom.getInstance(
          "DRBG", DrbgParameters.instantiation(256, DrbgParameters.Capability.RESEED_ONLY, null));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("this JDK has no DRBG of 256 bits", e);
    }
  }
}
