package io.asherah.reactive.securememory.internal.platform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.sun.jna.Function;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Hiding;
import io.asherah.reactive.testsupport.ChildJvm;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** What the kernel under this JVM really does. */
@EnabledOnOs(OS.LINUX)
class LinuxMemoryIT {
  private static final byte[] SECRET = "a key of 32 bytes, not very well".getBytes();

  private final NativeMemory memory = Platforms.memory(false);
  private final int page = memory.pageSize();
  private long mapping;
  private long address;

  @BeforeEach
  void reserve() {
    mapping = memory.map(4L * page);
    address = mapping + page;
  }

  @AfterEach
  void release() {
    memory.unmap(mapping, 4L * page);
  }

  @Test
  void mappedMemory_isReservedOnly() throws IOException {
    assertThat(smaps(mapping).permissions()).isEqualTo("---p");
  }

  @Test
  @DisabledIfSystemProperty(
      named = "test.emulated",
      matches = "true",
      disabledReason = "QEMU's user emulation does not pass this madvise on to the kernel")
  void lockedMemory_isInRam_andNeitherDumpedNorForked_andReadableThroughProc() throws IOException {
    memory.protect(address, page, Access.READ_WRITE);
    assertThat(memory.lock(address, page)).isTrue();
    memory.excludeFromCoreDumps(address, page);
    memory.excludeFromForks(address, page);
    memory.view(address, SECRET.length).put(SECRET);

    Smaps smaps = smaps(address);
    assertThat(smaps.permissions()).isEqualTo("rw-p");
    assertThat(smaps.flags()).contains("lo", "dd", "dc");
    assertThat(smaps.locked()).isEqualTo(page / 1024 + " kB");
    // Which is what hide() is for.
    assertThat(readThroughProc(address)).isEqualTo(SECRET);

    memory.protect(address, page, Access.NONE);
    assertThat(smaps(address).permissions()).isEqualTo("---p");
    memory.unlock(address, page);
    assertThat(smaps(address).flags()).doesNotContain("lo");
  }

  @Test
  void hiddenMemory_isReadByUsOnly() throws IOException {
    hide(2L * page);
    memory.excludeFromForks(address, 2L * page);
    ByteBuffer view = memory.view(address, 2 * page);
    view.put(0, SECRET).put(2 * page - 1, (byte) 7);

    byte[] read = new byte[SECRET.length];
    view.get(0, read);
    assertThat(read).isEqualTo(SECRET);
    assertThat(readThroughProc(address)).isNull();
    Smaps smaps = smaps(address);
    assertThat(smaps.permissions()).isEqualTo("rw-s");
    assertThat(smaps.flags()).contains("lo", "dd", "dc");
    assertThat(smaps.locked()).isEqualTo(2 * page / 1024 + " kB");

    memory.protect(address, 2L * page, Access.NONE);
    assertThat(smaps(address).permissions()).isEqualTo("---s");
    memory.protect(address, 2L * page, Access.READ);
    assertThat(view.get(2 * page - 1)).isEqualTo((byte) 7);
    // The guard pages are as they were.
    assertThat(smaps(mapping).permissions()).isEqualTo("---p");
    assertThat(smaps(address + 2L * page).permissions()).isEqualTo("---p");
  }

  @Test
  void hide_leavesNoDescriptor() throws IOException {
    hide(page);

    try (Stream<Path> descriptors = Files.list(Path.of("/proc/self/fd"))) {
      assertThat(descriptors.filter(LinuxMemoryIT::isSecret)).isEmpty();
    }
  }

  private static boolean isSecret(Path descriptor) {
    try {
      return Files.readSymbolicLink(descriptor).toString().contains("secretmem");
    } catch (IOException e) {
      return false;
    }
  }

  private void hide(long length) {
    Hiding hiding = memory.hide(address, length);
    assumeThat(hiding).as("this kernel has memfd_secret").isEqualTo(Hiding.HIDDEN);
  }

  @Test
  void lockLimit_isThatOfTheProcess() throws IOException {
    String limit =
        Files.readAllLines(Path.of("/proc/self/limits")).stream()
            .filter(line -> line.startsWith("Max locked memory"))
            .map(line -> line.split("\\s{2,}")[1])
            .findFirst()
            .orElseThrow();

    assertThat(memory.lockLimit())
        .isEqualTo(limit.equals("unlimited") ? -1 : Long.parseLong(limit));
  }

  /** Says what it may lock, and tries. */
  static final class Limits {
    public static void main(String[] arguments) {
      NativeMemory memory = Platforms.memory(false);
      long length = memory.lockLimit() + memory.pageSize();
      long mapping = memory.map(length);
      System.out.println("may exceed: " + memory.mayExceedLockLimit());
      memory.protect(mapping, length, Access.READ_WRITE);
      System.out.println("exceeds: " + memory.lock(mapping, length));
      memory.unmap(mapping, length);
      mapping = memory.map(length);
      System.out.println("hides: " + memory.hide(mapping, length));
      System.out.println(smaps(mapping).permissions());
      memory.unmap(mapping, length);
    }
  }

  @Test
  @DisabledIfSystemProperty(
      named = "test.emulated",
      matches = "true",
      disabledReason = "QEMU does not know mlock2, with which the kernel is asked")
  void mayExceedLockLimit_tellsWhatLockDoes(@TempDir Path directory) throws Exception {
    assumeLimit();

    List<String> lines = limits(directory, "exec \"$@\"");

    boolean mayExceed = lines.get(0).equals("may exceed: true");
    assertThat(lines).hasSize(4).element(1).isEqualTo("exceeds: " + mayExceed);
  }

  @Test
  void rootOfAUserNamespace_mayNotExceedTheLimit_andAFailedHideLeavesTheReservation(
      @TempDir Path directory) throws Exception {
    assumeLimit();
    assumeThat(Shell.succeeds("unshare -Ur true"))
        .as("user namespaces are allowed here (unshare -Ur)")
        .isTrue();

    // CapEff is full in there.
    List<String> lines = limits(directory, "exec unshare -Ur \"$@\"");

    assertThat(lines).startsWith("may exceed: false", "exceeds: false");
    assertThat(lines.get(2)).isIn("hides: LIMIT_REACHED", "hides: NOT_AVAILABLE");
    assertThat(lines).element(3).isEqualTo("---p");
  }

  private void assumeLimit() {
    assumeThat(memory.lockLimit()).as("there is a limit of locked memory").isNotEqualTo(-1);
    assumeThat(memory.lockLimit()).as("and a small one").isLessThan(1L << 30);
  }

  private static List<String> limits(Path directory, String shell) {
    ChildJvm.Ended ended = ChildJvm.main(Limits.class).through(shell).run(directory);
    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    return ended.out();
  }

  /**
   * Forks, which Java does not do: what it starts has executed another program before one could
   * look. The child calls a few functions that the parent has called before, and ends.
   */
  static final class Fork {
    private static final Function WRITE = function("write");

    public static void main(String[] arguments) {
      NativeMemory memory = Platforms.memory(false);
      int page = memory.pageSize();
      long mapping = memory.map(3L * page);
      memory.protect(mapping, 2L * page, Access.READ_WRITE);
      memory.excludeFromForks(mapping + page, page);
      Hiding hiding = memory.hide(mapping + 2L * page, page);
      if (hiding == Hiding.HIDDEN) {
        memory.excludeFromForks(mapping + 2L * page, page);
      }
      for (int i = 0; i < (hiding == Hiding.HIDDEN ? 3 : 2); i++) {
        memory.view(mapping + (long) i * page, 1).put(0, (byte) 1);
      }
      int[] pipe = new int[2];
      function("pipe").invokeInt(new Object[] {pipe});
      Function exit = function("_exit");
      // The kernel reads the memory for us: it fails where there is none, and nothing crashes.
      int before = readable(pipe[1], mapping, page);
      int child = function("fork").invokeInt(new Object[0]);
      if (child == 0) {
        exit.invokeVoid(new Object[] {readable(pipe[1], mapping, page)});
      }
      int[] status = new int[1];
      function("waitpid").invokeInt(new Object[] {child, status, 0});
      System.out.println("parent " + before + " child " + (status[0] >> 8) + " " + hiding);
    }

    private static int readable(int descriptor, long mapping, int page) {
      int readable = 0;
      for (int i = 0; i < 3; i++) {
        Pointer pointer = new Pointer(mapping + (long) i * page);
        if (WRITE.invokeInt(new Object[] {descriptor, pointer, 1L}) == 1) {
          readable |= 1 << i;
        }
      }
      return readable;
    }

    private static Function function(String name) {
      return NativeLibrary.getProcess().getFunction(name);
    }
  }

  @Test
  @DisabledIfSystemProperty(
      named = "test.emulated",
      matches = "true",
      disabledReason = "QEMU's user emulation does not pass this madvise on to the kernel")
  void aForkedProcess_hasOnlyWhatWasNotExcluded(@TempDir Path directory) throws Exception {
    assertThat(ChildJvm.main(Fork.class).run(directory).out())
        .singleElement()
        .isIn("parent 7 child 1 HIDDEN", "parent 3 child 1 NOT_AVAILABLE");
  }

  record Smaps(String permissions, String locked, List<String> flags) {}

  /** What the kernel says of the mapping at an address. */
  static Smaps smaps(long address) {
    try {
      List<String> lines = Files.readAllLines(Path.of("/proc/self/smaps"));
      for (int i = 0; i < lines.size(); i++) {
        String[] range = lines.get(i).split("[- ]", 4);
        if (lines.get(i).matches("[0-9a-f]+-[0-9a-f]+ .*")
            && Long.parseUnsignedLong(range[0], 16) <= address
            && address < Long.parseUnsignedLong(range[1], 16)) {
          List<String> rest = lines.subList(i + 1, lines.size());
          return new Smaps(
              lines.get(i).split(" ")[1],
              value(rest, "Locked"),
              List.of(value(rest, "VmFlags").split(" ")));
        }
      }
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    throw new AssertionError("nothing is mapped at 0x" + Long.toHexString(address));
  }

  private static String value(List<String> lines, String name) {
    return lines.stream()
        .filter(line -> line.startsWith(name + ":"))
        .findFirst()
        .orElseThrow()
        .substring(name.length() + 1)
        .strip();
  }

  /** As a debugger or root does it; null where the kernel refuses. */
  private static byte @Nullable [] readThroughProc(long address) {
    byte[] bytes = new byte[SECRET.length];
    try (RandomAccessFile file = new RandomAccessFile("/proc/self/mem", "r")) {
      file.seek(address);
      file.readFully(bytes);
      return bytes;
    } catch (IOException e) {
      return null;
    }
  }
}
