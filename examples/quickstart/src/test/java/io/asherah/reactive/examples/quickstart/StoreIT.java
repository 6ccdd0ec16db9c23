package io.asherah.reactive.examples.quickstart;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.ChildJvm;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.publisher.Mono;

/** Seals in one process and opens in another, with the jar and the shell that users have. */
class StoreIT {
  private static final Path JAR = Path.of("target", "quickstart.jar").toAbsolutePath();
  private static final Path README = Path.of("..", "..", "README.md").toAbsolutePath().normalize();

  @TempDir Path directory;
  @TempDir Path printed;

  static Stream<byte[]> payloads() {
    byte[] all = new byte[256];
    IntStream.range(0, all.length).forEach(i -> all[i] = (byte) i);
    byte[] large = new byte[3_000_000];
    new Random(3).nextBytes(large);
    return Stream.of(new byte[0], all, large);
  }

  @ParameterizedTest
  @MethodSource("payloads")
  void payload_isOpenedByAnotherProcess(byte[] payload) throws Exception {
    Files.write(directory.resolve("payload"), payload);

    ChildJvm.Ended sealed = run("< payload > record", "encrypt");
    ChildJvm.Ended opened = run("< record > opened", "decrypt");

    assertThat(sealed.exitCode()).as("%s", sealed).isZero();
    assertThat(opened.exitCode()).as("%s", opened).isZero();
    assertThat(directory.resolve("opened")).hasBinaryContent(payload);
    assertThat(directory.resolve("keys.master")).hasSize(32);
    assertThat(directory.resolve("keys.mv.db")).isNotEmptyFile();
    assertThat(sealed.err())
        .hasSize(2)
        .first()
        .isEqualTo(
            "quickstart: created the master key keys.master; keep it safe, nothing can be opened without it");
    assertThat(opened.err()).singleElement().asString().startsWith("WARN");
  }

  @Test
  void commandsOfTheReadme_doWhatItSays() throws Exception {
    // In a directory that looks like the repository to them.
    Path target = Files.createDirectories(directory.resolve("examples/quickstart/target"));
    Files.createSymbolicLink(target.resolve("quickstart.jar"), JAR);

    Shell shell = shell(commandsOfTheReadme());

    assertThat(shell.exitCode).as("%s", shell).isZero();
    assertThat(shell.out).isEqualTo("4111 1111 1111 1111\n");
    assertThat(filesIn(target))
        .containsExactlyInAnyOrder("quickstart.jar", "keys.master", "keys.mv.db", "record.json");
  }

  /** The second block of the quick start; the first one builds what the second one runs. */
  private static String commandsOfTheReadme() throws IOException {
    String section = Files.readString(README).split("\n## Quick start\n")[1].split("\n## ")[0];
    List<String> blocks =
        Pattern.compile("```bash\n(.*?)```", Pattern.DOTALL)
            .matcher(section)
            .results()
            .map(block -> block.group(1))
            .toList();
    assertThat(blocks).hasSize(2);
    assertThat(blocks.get(0)).startsWith("mvn -q -pl examples/quickstart -am");
    return blocks.get(1);
  }

  @Test
  void processesInAPipe_shareANewStore() throws Exception {
    Shell shell =
        shell(
            "printf payload | %1$s encrypt %2$s | %1$s decrypt %2$s"
                .formatted("java -jar " + JAR, "--store keys --partition p"));

    assertThat(shell.exitCode).as("%s", shell).isZero();
    assertThat(shell.out).isEqualTo("payload");
  }

  @Test
  void processesThatStartAtOnce_makeOneMasterKey_andOneStore() throws Exception {
    Files.writeString(directory.resolve("payload"), "payload");
    List<ChildJvm.Running> running = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      running.add(child("< payload > record" + i, "encrypt").start(directory));
    }
    List<ChildJvm.Ended> ended = running.stream().map(ChildJvm.Running::await).toList();

    assertThat(ended.stream().flatMap(end -> end.err().stream()))
        .filteredOn(line -> line.contains("created the master key"))
        .hasSize(1);
    int sealed = 0;
    for (int i = 0; i < ended.size(); i++) {
      if (ended.get(i).exitCode() == 0) {
        sealed++;
        ChildJvm.Ended opened = run("< record" + i, "decrypt");
        assertThat(opened.out()).as("%s", opened).containsExactly("payload");
      } else {
        // They take turns at the file, and have only so much patience.
        assertThat(ended.get(i).err()).last().asString().contains("another process has");
        assertThat(directory.resolve("record" + i)).isEmptyFile();
      }
    }
    assertThat(sealed).isPositive();
    assertThat(filesIn(directory)).contains("keys.master", "keys.mv.db").hasSize(7);
  }

  @Test
  void storeThatAnotherProcessHasOpen_isRefused_andWorksAfterwards() throws Exception {
    Files.writeString(directory.resolve("payload"), "payload");
    assertThat(run("< payload > record", "encrypt").exitCode()).isZero();
    ConnectionFactory database =
        ConnectionFactories.get(
            ConnectionFactoryOptions.builder()
                .option(ConnectionFactoryOptions.DRIVER, "h2")
                .option(ConnectionFactoryOptions.PROTOCOL, "file")
                .option(ConnectionFactoryOptions.DATABASE, directory.resolve("keys").toString())
                .build());

    ChildJvm.Ended refused =
        Mono.usingWhen(
                database.create(),
                open -> Mono.fromCallable(() -> run("< record", "decrypt")),
                open -> open.close())
            .blockOptional()
            .orElseThrow();

    assertThat(refused.exitCode()).isEqualTo(1);
    assertThat(refused.out()).isEmpty();
    assertThat(refused.err())
        .last()
        .isEqualTo("quickstart: another process has keys.mv.db open: try again when it has ended");
    assertThat(run("< record", "decrypt").out()).containsExactly("payload");
  }

  @Test
  void wrongPartition_leavesNoOutput() throws Exception {
    Files.writeString(directory.resolve("payload"), "payload");
    assertThat(run("< payload > record", "encrypt").exitCode()).isZero();

    ChildJvm.Ended ended =
        jar("decrypt", "--store", "keys", "--partition", "another")
            .through("exec \"$@\" < record")
            .run(directory);

    assertThat(ended.exitCode()).isEqualTo(1);
    assertThat(ended.out()).isEmpty();
    assertThat(ended.err()).last().asString().contains("belongs to another partition");
  }

  @Test
  void closedOutput_isAFailure() throws Exception {
    Files.writeString(directory.resolve("payload"), "payload");

    ChildJvm.Ended ended = run("< payload >&-", "encrypt");

    assertThat(ended.exitCode()).as("%s", ended).isEqualTo(1);
    assertThat(ended.err()).last().isEqualTo("quickstart: cannot write the output");
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void fullOutput_isAFailure() throws Exception {
    Files.writeString(directory.resolve("payload"), "payload");

    ChildJvm.Ended ended = run("< payload > /dev/full", "encrypt");

    assertThat(ended.exitCode()).as("%s", ended).isEqualTo(1);
    assertThat(ended.err()).last().isEqualTo("quickstart: cannot write the output");
  }

  @Test
  void inputThatIsADirectory_isRefused() {
    ChildJvm.Ended ended = run("< .", "encrypt");

    assertThat(ended.exitCode()).as("%s", ended).isEqualTo(2);
    assertThat(ended.out()).isEmpty();
    assertThat(ended.err()).singleElement().asString().contains("cannot read standard input");
  }

  private ChildJvm.Ended run(String redirections, String command) {
    return child(redirections, command).run(directory);
  }

  private static ChildJvm child(String redirections, String command) {
    return jar(command, "--store", "keys", "--partition", "p")
        .through("exec \"$@\" " + redirections);
  }

  private static ChildJvm jar(String... arguments) {
    List<String> all = new ArrayList<>(List.of("-jar", JAR.toString()));
    all.addAll(List.of(arguments));
    return ChildJvm.java(all.toArray(String[]::new));
  }

  /** Runs commands as a user would, with the JVM of this test as {@code java}. */
  private Shell shell(String commands) throws Exception {
    Path out = Files.createTempFile(printed, "shell", ".out");
    Path err = Files.createTempFile(printed, "shell", ".err");
    ProcessBuilder builder =
        new ProcessBuilder("bash", "-e", "-o", "pipefail", "-c", commands)
            .directory(directory.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile());
    builder.environment().keySet().removeAll(List.of("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"));
    builder
        .environment()
        .merge("PATH", System.getProperty("java.home") + "/bin", (path, java) -> java + ":" + path);
    Process process = builder.start();
    try {
      assertThat(process.waitFor(3, TimeUnit.MINUTES)).as(commands).isTrue();
    } finally {
      process.destroyForcibly();
    }
    return new Shell(process.exitValue(), Files.readString(out), Files.readString(err));
  }

  private record Shell(int exitCode, String out, String err) {}

  private static List<String> filesIn(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).toList();
    }
  }
}
