package io.asherah.reactive.examples.quickstart;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.ChildJvm;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.jar.JarFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs the jar as the README tells, on the JVM that runs the tests. */
class QuickstartIT {
  private static final Path JAR = Path.of("target", "quickstart.jar").toAbsolutePath();
  private static final Path REPOSITORY = Path.of("..", "..").toAbsolutePath().normalize();
  private static final Path README = REPOSITORY.resolve("README.md");

  @TempDir Path directory;

  @Test
  void withoutArgument_inTheRepository_readsItsReadme() throws Exception {
    Run run = run(REPOSITORY);

    run.assertVerified(linesIn(README));
    assertThat(run.out).first().asString().contains("README.md, partition shopper123");
  }

  @Test
  void withoutArgument_elsewhere_readsTheReadmeInTheJar() throws Exception {
    Run run = run(directory);

    run.assertVerified(linesIn(README));
    assertThat(run.out).first().asString().contains("the README.md in this program");
  }

  @Test
  void readmeInTheJar_isThatOfTheRepository() throws Exception {
    try (JarFile jar = new JarFile(JAR.toFile());
        InputStream bundled =
            jar.getInputStream(jar.getEntry("io/asherah/reactive/examples/quickstart/README.md"))) {
      assertThat(bundled.readAllBytes()).isEqualTo(Files.readAllBytes(README));
    }
  }

  @Test
  void help_isAllThatIsPrinted() throws Exception {
    Run run = run(directory, "--help");

    assertThat(run.exitCode).isZero();
    assertThat(run.out).first().asString().startsWith("Usage: java -jar quickstart.jar");
    assertThat(run.err).isEmpty();
  }

  @Test
  void missingFile_isOneLineAndExitCode2() throws Exception {
    run(directory, "missing").assertRefused("cannot read missing: there is no such file");
  }

  @Test
  void directory_isOneLineAndExitCode2() throws Exception {
    run(directory, ".").assertRefused("cannot read .: it is a directory");
  }

  @Test
  void unknownOption_isOneLineAndExitCode2() throws Exception {
    run(directory, "--nonsense").assertRefused("unknown option --nonsense; see --help");
  }

  @Test
  void binaryFile_isVerified() throws Exception {
    byte[] bytes = new byte[1_000_000];
    new Random(42).nextBytes(bytes);
    Path file = Files.write(directory.resolve("binary"), bytes);

    run(directory, "--partition", "tenant 7", file.toString()).assertVerified(linesIn(file));
  }

  @Test
  void emptyFile_isVerified() throws Exception {
    Path file = Files.createFile(directory.resolve("empty"));

    run(directory, file.toString()).assertVerified(0);
  }

  @Test
  void whereMemoryCannotBeLocked_failsInOneLineAndExitCode1() throws Exception {
    Path file = Files.writeString(directory.resolve("file"), "text");

    Run run = runWith(List.of("-Djna.noclasspath=true"), directory, file.toString());

    assertThat(run.exitCode).isEqualTo(1);
    assertThat(run.out).isEmpty();
    assertThat(run.err).hasSize(2);
    assertThat(run.err).first().asString().contains("static key management service");
    assertThat(run.err).last().asString().startsWith("quickstart: jna.noclasspath is set");
  }

  private record Run(int exitCode, List<String> out, List<String> err) {

    void assertVerified(long records) {
      assertThat(exitCode).as("%s", this).isZero();
      assertThat(out).last().isEqualTo("verified %d records".formatted(records));
      assertThat(out).contains("closed   0 live secrets, 0 locked bytes");
      assertThat(err)
          .singleElement()
          .asString()
          .startsWith("WARN")
          .contains("static key management service");
    }

    void assertRefused(String message) {
      assertThat(exitCode).as("%s", this).isEqualTo(2);
      assertThat(out).isEmpty();
      assertThat(err).containsExactly("quickstart: " + message);
    }
  }

  private Run run(Path workingDirectory, String... arguments) throws Exception {
    return runWith(List.of(), workingDirectory, arguments);
  }

  private Run runWith(List<String> options, Path workingDirectory, String... arguments)
      throws Exception {
    List<String> all = new ArrayList<>(options);
    all.addAll(List.of("-jar", JAR.toString()));
    all.addAll(List.of(arguments));
    ChildJvm.Ended ended = ChildJvm.java(all.toArray(String[]::new)).run(workingDirectory);
    return new Run(ended.exitCode(), ended.out(), ended.err());
  }

  private static long linesIn(Path file) throws IOException {
    byte[] bytes = Files.readAllBytes(file);
    long lines = bytes.length == 0 || bytes[bytes.length - 1] == '\n' ? 0 : 1;
    for (byte b : bytes) {
      lines += b == '\n' ? 1 : 0;
    }
    return lines;
  }
}
