package io.asherah.reactive.architecture;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.kms.aws.AwsKeyManagementService;
import io.asherah.reactive.metastore.dynamodb.DynamoDbMetastore;
import io.asherah.reactive.metastore.r2dbc.R2dbcMetastore;
import io.asherah.reactive.securememory.SecretFactory;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
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
  void options_areInTheConfiguration_andNoOthers() throws IOException {
    String document = Files.readString(PROJECT.resolve("docs/configuration.md"));
    for (Class<?> builder :
        List.of(
            SessionFactory.Builder.class,
            CryptoPolicy.Builder.class,
            SecretFactory.Builder.class,
            R2dbcMetastore.Builder.class,
            DynamoDbMetastore.Builder.class,
            AwsKeyManagementService.Builder.class)) {
      String section =
          document
              .split("## " + builder.getEnclosingClass().getSimpleName() + "\\.Builder\n")[1]
              .split("\n## ")[0];

      assertThat(firstCells(section))
          .as("options of %s", builder)
          .containsExactlyInAnyOrderElementsOf(
              Stream.of(builder.getDeclaredMethods())
                  .filter(method -> Modifier.isPublic(method.getModifiers()))
                  .map(Method::getName)
                  .filter(name -> !name.equals("build"))
                  .distinct()
                  .toList());
    }
  }

  @Test
  void exceptions_areInTheListOfErrors_withTheirKinds() throws IOException {
    String document = Files.readString(PROJECT.resolve("docs/errors.md"));
    Set<String> listed =
        firstCells(document).stream()
            .map(cell -> cell.split(" ")[0])
            .filter(cell -> cell.endsWith("Exception"))
            .collect(Collectors.toCollection(TreeSet::new));
    Set<String> signalled =
        Module.classesOf(List.of(Module.SECURE_MEMORY, Module.CORE)).stream()
            .filter(type -> type.isAssignableTo(Throwable.class))
            .filter(type -> !type.getPackageName().contains(".internal"))
            .map(JavaClass::getSimpleName)
            .filter(name -> !name.equals("SecureMemoryException"))
            .collect(Collectors.toCollection(TreeSet::new));

    assertThat(listed).isEqualTo(signalled);
    for (KmsException.Kind kind : KmsException.Kind.values()) {
      boolean isRetryable = new KmsException(kind, "", null).isRetryable();
      assertThat(document).contains("| `%s` | %s |".formatted(kind, isRetryable ? "yes" : "no"));
    }
  }

  /** What the rows of tables begin with, in code style. */
  private static List<String> firstCells(String document) {
    return Pattern.compile("(?m)^\\| `([^`]+)`([^|]*)\\|")
        .matcher(document)
        .results()
        .map(row -> row.group(1))
        .toList();
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
