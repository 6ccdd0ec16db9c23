package io.asherah.reactive.examples.quickstart;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.IOException;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MasterKeyTest {
  @TempDir Path directory;

  private final List<String> notices = Collections.synchronizedList(new ArrayList<>());
  private Path file;

  @BeforeEach
  void nameTheFile() {
    file = directory.resolve("keys.master");
  }

  @Test
  void newKey_isAnnounced_andLeavesNothingElseBehind() throws IOException {
    key().createIfAbsent();

    assertThat(file).hasSize(32);
    assertThat(filesIn(directory)).containsExactly(file);
    assertThat(notices)
        .containsExactly(
            "created the master key %s; keep it safe, nothing can be opened without it"
                .formatted(file));
    assertThat(key().read()).isNotNull();
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void newKey_isForItsOwnerOnly() throws IOException {
    key().createIfAbsent();

    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
  }

  @Test
  void newKeys_differ() throws IOException {
    key().createIfAbsent();
    Path other = directory.resolve("other");
    new MasterKey(other, notices::add).createIfAbsent();

    assertThat(Files.readAllBytes(file)).isNotEqualTo(Files.readAllBytes(other));
  }

  @Test
  void keyThatIsThere_stays_andNothingIsSaid() throws IOException {
    key().createIfAbsent();
    byte[] before = Files.readAllBytes(file);
    notices.clear();

    key().createIfAbsent();
    key().read();

    assertThat(Files.readAllBytes(file)).isEqualTo(before);
    assertThat(notices).isEmpty();
  }

  @Test
  void manyAtOnce_makeOneKey_whichIsNeverThereInPart() throws Exception {
    int threads = 16;
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      Callable<byte[]> createAndRead =
          () -> {
            key().createIfAbsent();
            return Files.readAllBytes(file);
          };
      byte[] expected = null;
      for (Future<byte[]> key : pool.invokeAll(Collections.nCopies(threads, createAndRead))) {
        assertThat(key.get()).hasSize(32);
        expected = expected == null ? key.get() : expected;
        assertThat(key.get()).isEqualTo(expected);
      }
    } finally {
      pool.shutdownNow();
    }
    assertThat(notices).hasSize(1);
    assertThat(filesIn(directory)).containsExactly(file);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 31})
  void shortKey_isRefused(int length) throws IOException {
    Files.write(file, new byte[length]);

    assertThatThrownBy(() -> key().read())
        .isInstanceOf(IOException.class)
        .hasMessage(
            "%s is no master key: it has %d bytes, and a key is 32 bytes, not a text of them",
            file, length);
  }

  @ParameterizedTest
  @ValueSource(ints = {33, 64, 100_000})
  void longKey_isRefused(int length) throws IOException {
    Files.write(file, new byte[length]);

    assertThatThrownBy(() -> key().read())
        .isInstanceOf(IOException.class)
        .hasMessageContaining("it has more than 32 bytes");
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void endlessKey_isRefused() {
    assertThatThrownBy(() -> new MasterKey(Path.of("/dev/zero"), notices::add).read())
        .isInstanceOf(IOException.class)
        .hasMessageContaining("it has more than 32 bytes");
  }

  @Test
  void missingKey_isRefused_andNotMade() {
    assertThatThrownBy(() -> key().read())
        .isInstanceOf(IOException.class)
        .hasMessage("cannot read %s: there is no such file", file);
    assertThat(file).doesNotExist();
  }

  @ParameterizedTest
  @DisabledOnOs(OS.WINDOWS)
  @ValueSource(strings = {"rw-r-----", "rw----r--", "r--r--r--"})
  void keyThatOthersMayRead_isUsed_withAWarning(String permissions) throws IOException {
    key().createIfAbsent();
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(permissions));
    notices.clear();

    assertThat(key().read()).isNotNull();
    assertThat(notices)
        .containsExactly(
            "other users may read the master key %s: take that right away with chmod 600"
                .formatted(file));
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void directoryThatTakesNoFiles_isRefused() throws IOException {
    Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("r-xr-xr-x"));
    try {
      assumeFalse(Files.isWritable(directory), "needs an ordinary user");

      assertThatThrownBy(() -> key().createIfAbsent())
          .isInstanceOf(IOException.class)
          .hasMessage("cannot make the master key %s: permission denied", file);
    } finally {
      Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwx------"));
    }
  }

  /** A file system with neither POSIX permissions nor hard links, as that of a memory card. */
  @Test
  void whereThereAreNoPermissions_thatIsSaid_andTheKeyIsMadeAndRead() throws IOException {
    Path zip = directory.resolve("card.zip");
    try (FileSystem card = FileSystems.newFileSystem(zip, Map.of("create", "true"))) {
      Path onTheCard = card.getPath("/keys.master");
      MasterKey key = new MasterKey(onTheCard, notices::add);

      key.createIfAbsent();

      assertThat(key.read()).isNotNull();
      assertThat(filesIn(card.getPath("/"))).containsExactly(onTheCard);
    }
    assertThat(notices)
        .containsExactly(
            "there are no POSIX permissions here to guard /keys.master: guard its directory",
            "created the master key /keys.master; keep it safe, nothing can be opened without it");
  }

  private MasterKey key() {
    return new MasterKey(file, notices::add);
  }

  private static List<Path> filesIn(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.toList();
    }
  }
}
