package io.asherah.reactive;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.Samples;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.Test;
import reactor.core.Exceptions;
import reactor.core.publisher.Mono;

/** The sample of docs/secure-memory.md. */
class SecureMemoryGuideTest {

  @Test
  void sample_signsWithASecret() {
    byte[] key = Scenario.utf8("key");
    byte[] message = Scenario.utf8("The quick brown fox jumps over the lazy dog");

    // sample
    SecretFactory secrets = SecretFactory.builder().build();

    Mono<byte[]> signature =
        Mono.usingWhen(
            secrets.create(key), // the array is wiped when the secret is there
            secret -> secret.withBytes(copy -> hmac(copy, message)), // and the copy after its use
            secret -> Mono.fromRunnable(secret::close));

    Mono<Void> closed = secrets.close(); // once, when the program ends
    // end

    // The example of RFC 2104 implementations everywhere.
    assertThat(HexFormat.of().formatHex(Scenario.get(signature)))
        .isEqualTo("f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
    assertThat(key).containsOnly(0);
    closed.block(Await.TIMEOUT);
    assertThat(secrets.stats().liveSecrets()).isZero();
  }

  @Test
  void sample_isThatOfTheGuide() throws IOException {
    assertThat(Samples.inDocument("docs/secure-memory.md", "java"))
        .containsExactly(Samples.inTest(SecureMemoryGuideTest.class, "sample"));
  }

  private static byte[] hmac(byte[] key, byte[] message) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(key, "HmacSHA256"));
      return mac.doFinal(message);
    } catch (GeneralSecurityException e) {
      throw Exceptions.propagate(e);
    }
  }
}
