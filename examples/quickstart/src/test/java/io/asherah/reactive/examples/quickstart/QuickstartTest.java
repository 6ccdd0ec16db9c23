package io.asherah.reactive.examples.quickstart;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.blockhound.BlockingOperationError;
import reactor.core.Exceptions;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

class QuickstartTest {
  @TempDir Path directory;

  @Test
  void blockHoundWatchesThisJvm() {
    Mono<Object> sleep =
        Mono.fromCallable(
                () -> {
                  Thread.sleep(1);
                  return new Object();
                })
            .subscribeOn(Schedulers.parallel());

    assertThatThrownBy(sleep::block)
        .satisfies(
            e -> assertThat(Exceptions.unwrap(e)).isInstanceOf(BlockingOperationError.class));
  }

  @Test
  void textFile_isVerified_andTheFiguresAddUp() throws IOException {
    Outcome outcome = run(fileOf("one\ntwo\r\n\nfour").toString());

    assertThat(outcome.exitCode).isZero();
    assertThat(outcome.err).isEmpty();
    assertThat(outcome.out)
        .contains("partition shopper123")
        .contains("sealed   4 lines of 11 bytes")
        .contains("opened   4 records")
        .contains("cache    1 system keys, 1 intermediate keys")
        .containsPattern(
            "memory   2 live secrets, [1-9]\\d+ locked bytes, [0-2] open regions, reopened \\d+ times")
        .contains("closed   0 live secrets, 0 locked bytes");
    assertThat(outcome.lastLine()).isEqualTo("verified 4 records");
  }

  @Test
  void sealedRecord_isTheJsonOfTheFirstLine() throws IOException {
    // 4 bytes, a tag of 16 and a nonce of 12 make 44 characters of base64.
    assertThat(run("--partition", "Ä b", fileOf("four\nand a longer one\n").toString()).out)
        .containsPattern(
            "\n\\{\"Key\":\\{\"Created\":\\d+,\"Key\":\"[\\w+/]{80}\","
                + "\"ParentKeyMeta\":\\{\"KeyId\":\"_IK_Ä b_demo_quickstart\",\"Created\":\\d+}},"
                + "\"Data\":\"[\\w+/]{43}=\"}\n");
  }

  @Test
  void longRecord_isShownInPart() throws IOException {
    Outcome outcome = run(fileOf("x".repeat(100_000)).toString());

    assertThat(outcome.out.length()).isLessThan(3_000);
    assertThat(outcome.out).containsPattern("\"Data\":\"[\\w+/]+\\.\\.\\.\n");
    assertThat(outcome.lastLine()).isEqualTo("verified 1 records");
  }

  @Test
  void emptyFile_isVerified_withoutMakingAKey() throws IOException {
    Outcome outcome = run(fileOf("").toString());

    assertThat(outcome.exitCode).isZero();
    assertThat(outcome.out).contains("(none)").contains("cache    0 system keys");
    assertThat(outcome.lastLine()).isEqualTo("verified 0 records");
  }

  @Test
  void binaryFile_isVerified() throws IOException {
    byte[] bytes = new byte[300_000];
    new Random(7).nextBytes(bytes);
    bytes[bytes.length - 1] = 0;
    long lines = 1;
    for (byte b : bytes) {
      lines += b == '\n' ? 1 : 0;
    }

    Outcome outcome = run(Files.write(directory.resolve("binary"), bytes).toString());

    assertThat(outcome.exitCode).isZero();
    assertThat(outcome.lastLine()).isEqualTo("verified %d records".formatted(lines));
  }

  @Test
  void manyLines_areVerified() throws IOException {
    Outcome outcome = run(fileOf("a line like many others\n".repeat(20_000)).toString());

    assertThat(outcome.lastLine()).isEqualTo("verified 20000 records");
  }

  @ParameterizedTest
  @ValueSource(strings = {"--help", "-h"})
  void help_isPrinted(String option) {
    Outcome outcome = run(option);

    assertThat(outcome.exitCode).isZero();
    assertThat(outcome.err).isEmpty();
    assertThat(outcome.out)
        .startsWith("Usage: java -jar quickstart.jar")
        .contains("<file>", "--partition <id>", "--help", "Exit code", "shopper123")
        .contains("encrypt", "decrypt", "--store <file>", "--master-key <file>")
        .endsWith("\n");
    assertThat(outcome.out.lines()).allMatch(line -> line.length() <= 80);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--nonsense               | unknown option --nonsense; see --help",
        "-                        | unknown option -; see --help",
        "--partition=x            | unknown option --partition=x; see --help",
        "--partition              | --partition needs an id; see --help",
        "one two                  | more than one file; see --help",
        "--partition p one two    | more than one file; see --help",
      })
  void wrongCommandLine_isOneLineAndExitCode2(String arguments, String message) {
    assertRefused(run(arguments.split(" ")), message);
  }

  @Test
  void emptyArguments_areRefused() {
    assertRefused(run("--partition", ""), "--partition needs an id; see --help");
    assertRefused(run(""), "the name of the file is empty; see --help");
  }

  @Test
  void missingFile_isRefused() {
    Path missing = directory.resolve("missing");

    assertRefused(
        run(missing.toString()), "cannot read %s: there is no such file".formatted(missing));
  }

  @Test
  void directory_isRefused() {
    assertRefused(
        run(directory.toString()), "cannot read %s: it is a directory".formatted(directory));
  }

  @Test
  void impossibleName_isRefused() {
    assertRefused(run("a\0b"), "cannot read a?b: this system has no such names; see --help");
  }

  @Test
  void nameWithALineBreak_isRefusedInOneLine() {
    assertRefused(
        run("no\nsuch\u001b[31mfile"), "cannot read no?such?[31mfile: there is no such file");
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void fileThatFailsWhileItIsRead_isRefused() {
    assertRefused(run("/proc/self/mem"), "cannot read /proc/self/mem: Input/output error");
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void lineWithoutEnd_isRefused() {
    assertRefused(run("/dev/zero"), "cannot read /dev/zero: line 1 is longer than 16777216 bytes");
  }

  @Test
  void otherBytes_areAFailure() {
    assertThatCode(() -> Quickstart.requireSame(bytes("same"), bytes("same")))
        .doesNotThrowAnyException();
    for (String other : List.of("", "sam", "some", "same ")) {
      assertThatThrownBy(() -> Quickstart.requireSame(bytes("same"), bytes(other)))
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("a line of 4 bytes was opened to %d other bytes", other.length());
    }
  }

  private static void assertRefused(Outcome outcome, String message) {
    assertThat(outcome.exitCode).isEqualTo(2);
    assertThat(outcome.out).isEmpty();
    assertThat(outcome.err).isEqualTo("quickstart: " + message + System.lineSeparator());
  }

  private Path fileOf(String content) throws IOException {
    return Files.writeString(directory.resolve("file"), content);
  }

  private static byte[] bytes(String text) {
    return text.getBytes(UTF_8);
  }

  private record Outcome(int exitCode, String out, String err) {
    String lastLine() {
      return out.lines().reduce("", (before, line) -> line);
    }
  }

  private static Outcome run(String... arguments) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int exitCode =
        Quickstart.run(
            arguments,
            InputStream.nullInputStream(),
            new PrintStream(out, true, UTF_8),
            new PrintStream(err, true, UTF_8));
    return new Outcome(exitCode, out.toString(UTF_8), err.toString(UTF_8));
  }
}
