package io.asherah.reactive;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
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
    // end of sample

    StepVerifier.create(opened)
        .assertNext(bytes -> assertThat(bytes).isEqualTo(payload))
        .verifyComplete();
    StepVerifier.create(closed).verifyComplete();
    assertThat(factory.stats().memory().lockedBytes()).isZero();
  }

  @Test
  void readme_showsTheSample() throws IOException {
    Path project = Path.of("").toAbsolutePath();
    while (!Files.exists(project.resolve("README.md"))) {
      project = Objects.requireNonNull(project.getParent(), "no README.md above this module");
    }
    String source =
        Files.readString(
            Path.of("src", "test", "java")
                .resolve(ReadmeTest.class.getName().replace('.', '/') + ".java"));
    String sample =
        between(source, "    // sample\n", "    // end of sample").replaceAll("(?m)^    ", "");

    assertThat(between(Files.readString(project.resolve("README.md")), "```java\n", "```"))
        .isEqualTo(sample);
  }

  private static String between(String text, String start, String end) {
    Matcher matcher =
        Pattern.compile(Pattern.quote(start) + "(.*?)" + Pattern.quote(end), Pattern.DOTALL)
            .matcher(text);
    assertThat(matcher.find()).as("there is a text between %s and %s", start, end).isTrue();
    return matcher.group(1);
  }
}
