package io.asherah.reactive;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/** Code in documents, which is code of tests that run. */
final class Samples {
  private static final Pattern BLOCK = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);

  private Samples() {}

  /** The blocks of Java in a document of this project. */
  static List<String> inDocument(String path) throws IOException {
    Path project = Path.of("").toAbsolutePath();
    while (!Files.exists(project.resolve("README.md"))) {
      project = Objects.requireNonNull(project.getParent(), "no README.md above this module");
    }
    return BLOCK
        .matcher(Files.readString(project.resolve(path)))
        .results()
        .map(block -> block.group(1))
        .toList();
  }

  /** What a test has between a comment with that mark and one that says end, moved to the left. */
  static String inTest(Class<?> test, String mark) throws IOException {
    String source =
        Files.readString(
            Path.of("src", "test", "java").resolve(test.getName().replace('.', '/') + ".java"));
    List<MatchResult> found =
        Pattern.compile(
                "^( *)// " + Pattern.quote(mark) + "\n(.*?)^\\1// end\n",
                Pattern.DOTALL | Pattern.MULTILINE)
            .matcher(source)
            .results()
            .toList();
    assertThat(found).as("places marked %s", mark).hasSize(1);
    return found.get(0).group(2).replaceAll("(?m)^" + found.get(0).group(1), "");
  }
}
