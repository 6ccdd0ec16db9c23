package io.asherah.reactive.architecture;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What the documents name is there: tests, and files of the repository. */
class DocumentationTest {
  private static final Path PROJECT = Path.of("..").toAbsolutePath().normalize();
  private static final Pattern TEST = Pattern.compile("`(\\w+(?:Test|IT))(?:\\.(\\w+))?(…?)`");
  private static final Pattern LINK = Pattern.compile("]\\((?!https?:)([^)#]+)");

  @Test
  void testsThatAreNamed_exist() throws IOException {
    Map<String, List<String>> tests = sourcesOfTests();
    Set<String> missing = new TreeSet<>();
    int named = 0;
    for (Path document : documents()) {
      Matcher name = TEST.matcher(Files.readString(document));
      while (name.find()) {
        named++;
        String method = name.group(2);
        String declaration =
            method == null ? "class " : "void " + method + (name.group(3).isEmpty() ? "(" : "");
        boolean exists =
            tests.getOrDefault(name.group(1), List.of()).stream()
                .anyMatch(source -> source.contains(declaration));
        if (!exists) {
          missing.add(PROJECT.relativize(document) + " names " + name.group());
        }
      }
    }

    assertThat(missing).isEmpty();
    assertThat(named).isGreaterThan(20);
  }

  @Test
  void filesThatAreLinked_exist() throws IOException {
    Set<String> missing = new TreeSet<>();
    int linked = 0;
    for (Path document : documents()) {
      Matcher link = LINK.matcher(Files.readString(document));
      while (link.find()) {
        linked++;
        if (!Files.exists(document.resolveSibling(link.group(1)))) {
          missing.add(PROJECT.relativize(document) + " links to " + link.group(1));
        }
      }
    }

    assertThat(missing).isEmpty();
    assertThat(linked).isGreaterThan(4);
  }

  private static List<Path> documents() throws IOException {
    try (Stream<Path> files =
        Stream.concat(Files.list(PROJECT), Files.walk(PROJECT.resolve("docs")))) {
      return files.filter(file -> file.toString().endsWith(".md")).toList();
    }
  }

  private static Map<String, List<String>> sourcesOfTests() throws IOException {
    try (Stream<Path> files = Files.walk(PROJECT)) {
      return files
          .filter(file -> file.toString().contains("src/test/java"))
          .filter(file -> file.toString().endsWith(".java"))
          .collect(
              Collectors.groupingBy(
                  file -> file.getFileName().toString().replace(".java", ""),
                  Collectors.mapping(read(), Collectors.toList())));
    }
  }

  private static Function<Path, String> read() {
    return file -> {
      try {
        return Files.readString(file);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    };
  }
}
