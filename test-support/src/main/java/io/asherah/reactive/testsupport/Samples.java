package io.asherah.reactive.testsupport;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/** Code in documents, which is code of tests that run. */
public final class Samples {
  private Samples() {}

  /**
   * The blocks of a language in a document of this project.
   *
   * @param path where it is in the project
   * @param language what the fences say, for instance {@code java}
   * @return the text between the fences, each line with its end
   * @throws IOException if it cannot be read
   */
  public static List<String> inDocument(String path, String language) throws IOException {
    Path project = Path.of("").toAbsolutePath();
    while (!Files.exists(project.resolve("README.md"))) {
      project = Objects.requireNonNull(project.getParent(), "no README.md above this module");
    }
    return Pattern.compile("```" + language + "\n(.*?)```", Pattern.DOTALL)
        .matcher(Files.readString(project.resolve(path)))
        .results()
        .map(block -> block.group(1))
        .toList();
  }

  /**
   * What a test has between a comment with a mark and one that says end, moved to the left.
   *
   * @param test a test of the module whose tests run
   * @param mark the text of the comment
   * @return the code
   * @throws IOException if it cannot be read
   */
  public static String inTest(Class<?> test, String mark) throws IOException {
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
    if (found.size() != 1) {
      throw new AssertionError(found.size() + " places are marked " + mark);
    }
    return found.get(0).group(2).replaceAll("(?m)^" + found.get(0).group(1), "");
  }
}
