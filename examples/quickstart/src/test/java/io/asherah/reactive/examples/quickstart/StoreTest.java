package io.asherah.reactive.examples.quickstart;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.Charset;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Sealing and opening with keys in a file; {@link StoreIT} has a process for each. */
class StoreTest {
  @TempDir Path directory;

  private String store;

  @BeforeEach
  void nameTheStore() {
    store = directory.resolve("keys").toString();
  }

  static Stream<byte[]> payloads() {
    byte[] all = new byte[256];
    for (int i = 0; i < all.length; i++) {
      all[i] = (byte) i;
    }
    byte[] largest = new byte[Quickstart.MAX_PAYLOAD_BYTES];
    new Random(5).nextBytes(largest);
    return Stream.of(new byte[0], bytes("text"), bytes("line\n"), all, largest);
  }

  @ParameterizedTest
  @MethodSource("payloads")
  void payload_isOpenedToTheSameBytes(byte[] payload) {
    Outcome sealed = encrypt("p", payload).assertDone();
    Outcome opened = decrypt("p", sealed.out).assertDone();

    assertThat(Arrays.equals(opened.out, payload)).isTrue();
  }

  @Test
  void record_isOneLineOfJson() {
    assertThat(new String(encrypt("p", bytes("payload")).out, UTF_8))
        .matches("\\{\"Key\":\\{.+\"KeyId\":\"_IK_p_demo_quickstart\".+},\"Data\":\".+\"}\n");
  }

  @Test
  void store_isTwoFilesNamedAfterIt_andTheKeyIsAnnouncedOnce() throws IOException {
    Outcome first = encrypt("p", bytes("1"));
    Outcome second = encrypt("p", bytes("2"));

    assertThat(filesIn(directory)).containsExactlyInAnyOrder("keys.mv.db", "keys.master");
    assertThat(first.err)
        .isEqualTo(
            "quickstart: created the master key %s.master; keep it safe, nothing can be opened without it%n"
                .formatted(store));
    assertThat(second.err).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "with space",
        " ",
        "100%",
        "%41",
        "why?",
        "~",
        "a:b",
        "file:a",
        "mem:a",
        "a'b\"c",
        "a,b=c&d#e",
        ".hidden",
        "keys.db",
        "${user.home}",
        "größe-漢字-😀"
      })
  @DisabledOnOs(OS.WINDOWS)
  void name_isTakenLiterally(String name) throws IOException {
    assumeTrue(
        Charset.forName(System.getProperty("sun.jnu.encoding")).newEncoder().canEncode(name),
        "needs a locale with UTF-8");
    store = directory.resolve(name).toString();

    byte[] record = encrypt("p", bytes("payload")).assertDone().out;

    assertThat(filesIn(directory)).containsExactlyInAnyOrder(name + ".mv.db", name + ".master");
    assertThat(decrypt("p", record).assertDone().out).isEqualTo(bytes("payload"));
  }

  @Test
  void demonstration_keepsItsKeys_whereItHasAStore() throws IOException {
    Path file = Files.writeString(directory.resolve("text"), "first\nsecond\n");

    Outcome shown = run("", "--store", store, "--partition", "p", file.toString()).assertDone();

    String text = new String(shown.out, UTF_8);
    assertThat(text).endsWith("verified 2 records\n");
    String record = text.lines().filter(line -> line.startsWith("{")).findFirst().orElseThrow();
    assertThat(decrypt("p", bytes(record)).assertDone().out).isEqualTo(bytes("first"));
    assertThat(run("", "--store", store, "--partition", "p", file.toString()).assertDone().err)
        .isEmpty();
  }

  @Test
  void ownMasterKey_isUsed_andNoneIsMade() throws IOException {
    Path key = keyFile("own");

    byte[] record = encrypt("p", bytes("payload"), "--master-key", key.toString()).out;

    assertThat(decrypt("p", record, "--master-key", key.toString()).assertDone().out)
        .isEqualTo(bytes("payload"));
    assertThat(filesIn(directory)).containsExactlyInAnyOrder("own", "keys.mv.db");
    decrypt("p", record)
        .assertFailed(
            2,
            ("the master key %s.master is missing: restore it, or name it with --master-key. A new"
                    + " one would not open the keys in %s.mv.db")
                .formatted(store, store));
    assertThat(filesIn(directory)).containsExactlyInAnyOrder("own", "keys.mv.db");
  }

  @Test
  void ownMasterKeyThatIsMissing_isRefused_andNotMade() throws IOException {
    String key = directory.resolve("absent").toString();

    encrypt("p", bytes("payload"), "--master-key", key)
        .assertFailed(2, "cannot read %s: there is no such file".formatted(key));
    assertThat(filesIn(directory)).isEmpty();
  }

  @Test
  void masterKeyOfAnotherStore_isRefused() throws IOException {
    byte[] record = encrypt("p", bytes("payload")).out;
    String key = keyFile("other").toString();
    String message =
        "%s is not the master key of %s.mv.db: name the right one with --master-key"
            .formatted(key, store);

    decrypt("p", record, "--master-key", key).assertFailed(1, message);
    encrypt("p", bytes("payload"), "--master-key", key).assertFailed(1, message);
    encrypt("new", bytes("payload"), "--master-key", key).assertFailed(1, message);
  }

  @Test
  void wrongPartition_isRefused() {
    byte[] record = encrypt("p", bytes("payload")).out;

    decrypt("q", record)
        .assertFailed(
            1, "the record belongs to another partition, service or product than this session");
  }

  @Test
  void recordOfAnotherStore_isRefused() {
    byte[] record = encrypt("p", bytes("payload")).out;
    store = directory.resolve("other").toString();
    encrypt("q", bytes("payload")).assertDone();

    Outcome outcome = decrypt("p", record);

    assertThat(outcome.exitCode).isEqualTo(1);
    assertThat(outcome.out).isEmpty();
    assertThat(outcome.err).contains("the record comes from another metastore");
  }

  @Test
  void tamperedRecord_isRefused() {
    String record = new String(encrypt("p", bytes("payload")).out, UTF_8);
    int data = record.indexOf("\"Data\":\"") + "\"Data\":\"".length();
    char other = record.charAt(data) == 'A' ? 'B' : 'A';

    Outcome outcome =
        decrypt("p", bytes(record.substring(0, data) + other + record.substring(data + 1)));

    assertThat(outcome.exitCode).isEqualTo(1);
    assertThat(outcome.out).isEmpty();
    assertThat(outcome.err).contains("sealed under another key or tampered with");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "\n", "garbage", "{}", "[]", "null", "{\"Key\":null,\"Data\":\"\"}"})
  void garbage_isRefused(String garbage) {
    encrypt("p", bytes("payload")).assertDone();

    Outcome outcome = decrypt("p", bytes(garbage));

    assertThat(outcome.exitCode).isEqualTo(1);
    assertThat(outcome.out).isEmpty();
    assertThat(outcome.err.lines()).singleElement().asString().startsWith("quickstart: ");
  }

  @Test
  void payloadThatIsTooLong_isRefused_beforeThereIsAStore() throws IOException {
    encrypt("p", new byte[Quickstart.MAX_PAYLOAD_BYTES + 1])
        .assertFailed(2, "standard input is longer than 16777216 bytes: seal it in several parts");
    assertThat(filesIn(directory)).isEmpty();
  }

  @Test
  void recordThatIsTooLong_isRefused() {
    decrypt("p", new byte[Quickstart.MAX_RECORD_BYTES + 1])
        .assertFailed(2, "standard input is longer than 25165824 bytes: no record of encrypt is");
  }

  @Test
  void inputThatCannotBeRead_isRefused() {
    InputStream broken =
        new InputStream() {
          @Override
          public int read() throws IOException {
            throw new IOException("broken");
          }
        };

    run(broken, new ByteArrayOutputStream(), "encrypt", "--store", store, "--partition", "p")
        .assertFailed(2, "cannot read standard input: broken");
  }

  @Test
  void outputThatCannotBeWritten_isAFailure() {
    OutputStream closed =
        new OutputStream() {
          @Override
          public void write(int b) throws IOException {
            throw new IOException("closed");
          }
        };
    encrypt("p", bytes("payload")).assertDone();

    run(
            new ByteArrayInputStream(bytes("payload")),
            closed,
            "encrypt",
            "--store",
            store,
            "--partition",
            "p")
        .assertFailed(1, "cannot write the output");
  }

  @Test
  void decryptWithoutStore_isRefused_andMakesNothing() throws IOException {
    decrypt("p", bytes("{}"))
        .assertFailed(
            2,
            "there is no store %s.mv.db: name the one that the record was sealed with"
                .formatted(store));
    assertThat(filesIn(directory)).isEmpty();
  }

  @Test
  void missingDirectory_isRefused_andNotMade() throws IOException {
    store = directory.resolve("absent/keys").toString();

    encrypt("p", bytes("payload"))
        .assertFailed(
            2,
            "there cannot be a store %s.mv.db: there is no directory %s"
                .formatted(store, directory.resolve("absent")));
    assertThat(filesIn(directory)).isEmpty();
  }

  @Test
  void directoryInThePlaceOfTheStore_isRefused() throws IOException {
    Files.createDirectory(directory.resolve("keys.mv.db"));

    encrypt("p", bytes("payload"))
        .assertFailed(2, "cannot read %s.mv.db: it is a directory".formatted(store));
  }

  @Test
  void fileThatIsNoDatabase_isRefused_andStaysAsItIs() throws IOException {
    keyFile("keys.master");
    Path database = Files.writeString(directory.resolve("keys.mv.db"), "a letter to my aunt");

    encrypt("p", bytes("payload"))
        .assertFailed(
            1,
            ("H2 cannot use %s: it is no database, or was cut off, or cannot be written. Look at"
                    + " its permissions and the space that is left, or restore it from a backup")
                .formatted(database));
    assertThat(database).hasContent("a letter to my aunt");
    assertThat(filesIn(directory)).containsExactlyInAnyOrder("keys.mv.db", "keys.master");
  }

  @Test
  void damagedStore_isRefused() throws IOException {
    keyFile("keys.master");
    Path database = Files.write(directory.resolve("keys.mv.db"), new byte[24_576]);

    encrypt("p", bytes("payload"))
        .assertFailed(1, "%s is damaged: restore it from a backup".formatted(database));
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void storeThatMayNotBeRead_isRefused() throws IOException {
    encrypt("p", bytes("payload")).assertDone();
    Path database = directory.resolve("keys.mv.db");
    Files.setPosixFilePermissions(database, PosixFilePermissions.fromString("---------"));
    assumeFalse(Files.isReadable(database), "needs an ordinary user");

    encrypt("p", bytes("payload"))
        .assertFailed(2, "cannot read %s: permission denied".formatted(database));
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void directoryThatTakesNoFiles_isRefused() throws IOException {
    store = "/proc/keys";
    String key = keyFile("own").toString();

    Outcome outcome = encrypt("p", bytes("payload"), "--master-key", key);

    assertThat(outcome.exitCode).isEqualTo(1);
    assertThat(outcome.err).startsWith("quickstart: H2 cannot use /proc/keys.mv.db: ");
  }

  private Outcome encrypt(String partition, byte[] payload, String... more) {
    return command("encrypt", partition, payload, more);
  }

  private Outcome decrypt(String partition, byte[] record, String... more) {
    return command("decrypt", partition, record, more);
  }

  private Outcome command(String command, String partition, byte[] input, String... more) {
    List<String> arguments =
        new ArrayList<>(List.of(command, "--store", store, "--partition", partition));
    arguments.addAll(List.of(more));
    return run(
        new ByteArrayInputStream(input),
        new ByteArrayOutputStream(),
        arguments.toArray(String[]::new));
  }

  private static Outcome run(String input, String... arguments) {
    return run(new ByteArrayInputStream(bytes(input)), new ByteArrayOutputStream(), arguments);
  }

  private static Outcome run(InputStream in, OutputStream out, String... arguments) {
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int exitCode =
        Quickstart.run(
            arguments, in, new PrintStream(out, false, UTF_8), new PrintStream(err, true, UTF_8));
    byte[] written = out instanceof ByteArrayOutputStream kept ? kept.toByteArray() : new byte[0];
    return new Outcome(exitCode, written, err.toString(UTF_8));
  }

  private Path keyFile(String name) throws IOException {
    byte[] key = new byte[32];
    new Random(name.hashCode()).nextBytes(key);
    Path file = Files.write(directory.resolve(name), key);
    if (file.getFileSystem().supportedFileAttributeViews().contains("posix")) {
      Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
    }
    return file;
  }

  private static List<String> filesIn(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).toList();
    }
  }

  private static byte[] bytes(String text) {
    return text.getBytes(UTF_8);
  }

  private record Outcome(int exitCode, byte[] out, String err) {
    Outcome assertDone() {
      assertThat(exitCode).as(err).isZero();
      return this;
    }

    void assertFailed(int expected, String message) {
      assertThat(err).isEqualTo("quickstart: " + message + System.lineSeparator());
      assertThat(exitCode).isEqualTo(expected);
      assertThat(out).isEmpty();
    }
  }
}
