package io.asherah.reactive;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Samples;
import java.io.IOException;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

/** The sample of the README is the code between the two marks below, which runs here. */
class ReadmeTest {

  @Test
  void sample_works() {
    byte[] masterKey = new byte[32];
    byte[] payload = Scenario.utf8("payload");

    // sample
    SessionFactory factory =
        SessionFactory.builder("shop", "orders")
            .metastore(new InMemoryMetastore())
            .keyManagementService(StaticKeyManagementService.of(masterKey))
            .build();

    Session session = factory.session("customer-42"); // a handle: nothing to close

    Mono<byte[]> json = session.encryptToJson(payload); // a record, to be stored anywhere
    Mono<byte[]> opened = json.flatMap(session::decryptJson);

    Mono<Void> closed = factory.close(); // once, when the program ends: wipes all keys
    // end

    StepVerifier.create(opened)
        .assertNext(bytes -> assertThat(bytes).isEqualTo(payload))
        .verifyComplete();
    StepVerifier.create(closed).verifyComplete();
    assertThat(factory.stats().memory().lockedBytes()).isZero();
  }

  @Test
  void readme_showsTheSample() throws IOException {
    assertThat(Samples.inDocument("README.md", "java"))
        .containsExactly(Samples.inTest(ReadmeTest.class, "sample"));
  }
}
