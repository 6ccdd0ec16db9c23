package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.asherah.reactive.securememory.LimitPolicy;
import io.asherah.reactive.securememory.MemoryLimitException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryStats;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.ChildJvm;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Fills locked memory to the last byte, in JVMs that the system really limits: as an ordinary user,
 * and as root without the capability that lets root exceed the limit.
 */
class MemoryLimitIT {
  private static final int KIB = 1_024;
  private static final int CAP_IPC_LOCK = 14;

  /** Who must respect the limit. */
  enum User {
    ORDINARY("--reuid=65534 --regid=65534 --clear-groups"),
    ROOT_WITHOUT_CAP_IPC_LOCK("--bounding-set -ipc_lock --inh-caps -ipc_lock");

    private final String change;

    User(String change) {
      this.change = change;
    }
  }

  /** The program of the child. Whatever it finds wrong ends it with 1. */
  static final class Child {
    private static final int IN_FLIGHT = 512;

    public static void main(String[] arguments) {
      System.out.println("may exceed the limit: " + mayExceedLimit());
      int[] numbers = Stream.of(arguments).skip(1).mapToInt(Integer::parseInt).toArray();
      switch (arguments[0]) {
        case "fill" -> fill(numbers[0], numbers[1], numbers[2]);
        case "budget" -> budget(LimitPolicy.values()[numbers[0]], numbers[1], numbers[2]);
        case "nothing" -> nothing();
        case "unlimited" -> unlimited(numbers[0]);
        default -> throw new IllegalArgumentException(arguments[0]);
      }
    }

    /** Keys, then secrets that fill a region each, then keys again; then there is no room left. */
    private static void fill(int keys, int regions, int rest) {
      SecretFactory factory = SecretFactory.builder().maxPendingCreations(IN_FLIGHT).build();
      List<Secret> secrets = new ArrayList<>(create(factory, keys, 32));
      verify(secrets, keys, 32);
      List<Secret> large = create(factory, regions, 16_384 - 32);
      verify(large, regions, 16_384 - 32);
      secrets.addAll(create(factory, rest, 32));
      System.out.println("full: " + kilobytesLocked() + " kB");
      refuse(factory);
      check(factory.stats().liveSecrets() == keys + regions + rest, factory);
      verify(secrets.subList(0, keys), keys, 32);

      // Where one is closed there is room for one.
      secrets.remove(secrets.size() - 1).close();
      Await.until(() -> factory.stats().queueDepth() == 0);
      secrets.add(factory.create(content(0, 32)).block(Await.TIMEOUT));
      refuse(factory);

      secrets.forEach(Secret::close);
      large.forEach(Secret::close);
      check(factory.stats().liveSecrets() == 0, factory);
      // One region is kept for the next secret.
      Await.until(() -> factory.stats().lockedBytes() <= 16_384);
      end(factory);
    }

    private static void budget(LimitPolicy policy, int budget, int keys) {
      SecretFactory factory =
          SecretFactory.builder().memoryBudget(budget).limitPolicy(policy).build();
      if (keys == 0) {
        refuse(factory);
        refuse(factory);
        check(factory.stats().lockedBytes() == 0 && kilobytesLocked() == 0, factory);
      } else {
        List<Secret> secrets = create(factory, keys, 32);
        verify(secrets, keys, 32);
        refuse(factory);
        secrets.forEach(Secret::close);
      }
      end(factory);
    }

    private static void nothing() {
      SecretFactory factory = SecretFactory.builder().build();
      refuse(factory);
      check(factory.stats().lockedBytes() == 0 && kilobytesLocked() == 0, factory);
      end(factory);
    }

    private static void unlimited(int keys) {
      SecretFactory factory = SecretFactory.builder().maxPendingCreations(IN_FLIGHT).build();
      List<Secret> secrets = create(factory, keys, 32);
      verify(secrets, keys, 32);
      System.out.println("limit: " + factory.stats().limitBytes());
      secrets.forEach(Secret::close);
      end(factory);
    }

    private static List<Secret> create(SecretFactory factory, int count, int length) {
      return Flux.range(0, count)
          .flatMapSequential(i -> factory.create(content(i, length)), IN_FLIGHT)
          .collectList()
          .block(Await.TIMEOUT);
    }

    private static void verify(List<Secret> secrets, int count, int length) {
      Long right =
          Flux.range(0, count)
              .flatMap(i -> secrets.get(i).contentEquals(content(i, length)), IN_FLIGHT)
              .filter(Boolean::booleanValue)
              .count()
              .block(Await.TIMEOUT);
      if (right == null || right != count || secrets.size() != count) {
        throw new IllegalStateException("%s of %d are right".formatted(right, count));
      }
    }

    private static byte[] content(int number, int length) {
      SplittableRandom random = new SplittableRandom(number);
      ByteBuffer content = ByteBuffer.allocate(length);
      while (content.hasRemaining()) {
        content.putLong(random.nextLong());
      }
      return content.array();
    }

    private static void refuse(SecretFactory factory) {
      byte[] key = content(1, 32);
      String refused =
          factory
              .create(key)
              .map(secret -> "no")
              .onErrorResume(MemoryLimitException.class, e -> Mono.just("yes: " + e.getMessage()))
              .block(Await.TIMEOUT);
      System.out.println("refused " + refused);
      check(Arrays.equals(key, content(1, 32)), factory);
      check(factory.stats().pendingCreations() == 0, factory);
    }

    private static void end(SecretFactory factory) {
      factory.close().block(Await.TIMEOUT);
      SecureMemoryStats stats = factory.stats();
      System.out.println(
          "end: %d live, %d locked, %d leaked, %d kB"
              .formatted(
                  stats.liveSecrets(),
                  stats.lockedBytes(),
                  stats.leakedSecrets(),
                  kilobytesLocked()));
    }

    private static void check(boolean condition, SecretFactory factory) {
      if (!condition) {
        throw new IllegalStateException(factory.stats().toString());
      }
    }

    /** What the kernel says. */
    private static long kilobytesLocked() {
      return Long.parseLong(status("VmLck:").replace("kB", "").trim());
    }
  }

  private static boolean mayExceedLimit() {
    return (Long.parseUnsignedLong(status("CapEff:"), 16) & 1L << CAP_IPC_LOCK) != 0;
  }

  private static String status(String field) {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
      return lines
          .filter(line -> line.startsWith(field))
          .map(line -> line.substring(field.length()).trim())
          .findFirst()
          .orElseThrow();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static boolean isRoot() {
    return status("Uid:").startsWith("0\t");
  }

  private static boolean succeeds(String command) {
    try {
      return new ProcessBuilder("sh", "-c", command + " 2>/dev/null").start().waitFor() == 0;
    } catch (IOException | InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  /** The class path of this JVM at a place where every user may read it. */
  private static String classPath;

  @BeforeAll
  static void copyClassPath(@TempDir Path directory) throws IOException {
    classPath =
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    if (!isRoot()) {
      return;
    }
    open(directory);
    List<String> copies = new ArrayList<>();
    for (String entry : classPath.split(File.pathSeparator)) {
      Path source = Path.of(entry);
      if (Files.exists(source)) {
        Path copy = directory.resolve(copies.size() + "-" + source.getFileName());
        copy(source, copy);
        copies.add(copy.toString());
      }
    }
    classPath = String.join(File.pathSeparator, copies);
  }

  private static void copy(Path source, Path target) throws IOException {
    try (Stream<Path> files = Files.walk(source)) {
      for (Path file : (Iterable<Path>) files::iterator) {
        Path copy = target.resolve(source.relativize(file).toString());
        Files.copy(file, copy);
        open(copy);
      }
    }
  }

  private static void open(Path file) throws IOException {
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  @TempDir private Path directory;

  @BeforeEach
  void letOthersWriteHere() throws IOException {
    Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxrwxrwx"));
  }

  private ChildJvm.Ended run(User user, int limitKib, Object... arguments) {
    String change = "";
    if (isRoot()) {
      change = "setpriv " + user.change;
      assumeTrue(succeeds(change + " true"), "this machine cannot run: " + change);
    } else {
      assumeTrue(
          user == User.ORDINARY,
          "only root can be root without CAP_IPC_LOCK; tests run as another");
    }
    ChildJvm.Ended ended = runThrough(change, limitKib, arguments);
    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    assertThat(ended.out()).contains("may exceed the limit: false");
    return ended;
  }

  private ChildJvm.Ended runThrough(String change, int limitKib, Object... arguments) {
    String limit = "ulimit -l " + limitKib;
    assumeTrue(succeeds(limit), "the limit of this machine is too low for: " + limit);
    List<String> command = new ArrayList<>();
    command.add("--enable-native-access=ALL-UNNAMED");
    command.add("-Djna.tmpdir=" + directory);
    command.add("-cp");
    command.add(classPath);
    command.add(Child.class.getName());
    for (Object argument : arguments) {
      command.add(argument.toString());
    }
    return ChildJvm.java(command.toArray(String[]::new))
        .through(limit + " && exec " + change + " \"$@\"")
        .run(directory);
  }

  private static List<String> refusals(ChildJvm.Ended ended) {
    return ended.out().stream().filter(line -> line.startsWith("refused ")).toList();
  }

  private static void assertRefusals(
      ChildJvm.Ended ended, int count, int need, int held, int limit) {
    assertRefusals(ended, count, need, held, limit, "");
  }

  private static void assertRefusals(
      ChildJvm.Ended ended, int count, int need, int held, int limit, String addition) {
    assertThat(refusals(ended))
        .hasSize(count)
        .containsOnly(
            ("refused yes: cannot lock %d more bytes of memory: this factory holds %d, the limit of"
                    + " the process is %d bytes. Raise it (ulimit -l, LimitMEMLOCK= of systemd,"
                    + " ulimits of the container) or cache fewer keys"
                    + addition)
                .formatted(need, held, limit));
  }

  /** Numbers for pages of 4 KiB: a region has 16 KiB, and 32 bytes of it are its canary. */
  @ParameterizedTest
  @CsvSource({
    // Four regions of (16,384 - 32) / 32 keys.
    "ORDINARY, 64, 2044, 0, 0",
    "ROOT_WITHOUT_CAP_IPC_LOCK, 64, 2044, 0, 0",
    // And two regions of one page, (4,096 - 32) / 32 keys, where a whole one does not fit any more.
    "ORDINARY, 72, 2044, 0, 254",
    // 100,000 keys take 196 of 512 regions, of which the last one has room for 156 more.
    "ORDINARY, 8192, 100000, 316, 156",
    "ROOT_WITHOUT_CAP_IPC_LOCK, 8192, 100000, 316, 156",
  })
  void memory_isUsedUpToTheLimit_andThenRefused(
      User user, int limitKib, int keys, int regions, int rest) {
    assumeTrue(Platforms.memory(false).pageSize() == 4_096, "the numbers are for pages of 4 KiB");
    int limit = limitKib * KIB;
    // Nine tenths of the limit are secrets, if all are keys of 32 bytes.
    assertThat(keys * 32 + regions * 16_352 + rest * 32).isBetween(limit / 10 * 9, limit);

    ChildJvm.Ended ended = run(user, limitKib, "fill", keys, regions, rest);

    assertThat(ended.out())
        .contains("full: " + limitKib + " kB", "end: 0 live, 0 locked, 0 leaked, 0 kB");
    assertRefusals(ended, 2, 4_096, limit, limit);
  }

  @ParameterizedTest
  @EnumSource
  void noLockedMemoryAtAll_isRefused(User user) {
    ChildJvm.Ended ended = run(user, 0, "nothing");

    assertRefusals(ended, 1, 4_096, 0, 0);
    assertThat(ended.out()).contains("end: 0 live, 0 locked, 0 leaked, 0 kB");
  }

  @Test
  void budgetBeyondTheLimit_failsEveryCreation_andLeavesNothing() {
    ChildJvm.Ended ended =
        run(User.ORDINARY, 64, "budget", LimitPolicy.FAIL.ordinal(), 2_044 * 32 + 1, 0);

    // Rounded up to whole regions.
    assertRefusals(
        ended,
        2,
        80 * KIB,
        0,
        64 * KIB,
        "; memoryBudget asks for it, lower that or set LimitPolicy.WARN");
    assertThat(ended.out()).contains("end: 0 live, 0 locked, 0 leaked, 0 kB");
  }

  @Test
  void budgetWithinTheLimit_isTaken() {
    ChildJvm.Ended ended =
        run(User.ORDINARY, 64, "budget", LimitPolicy.FAIL.ordinal(), 2_044 * 32, 2_044);

    assertRefusals(ended, 1, 4_096, 64 * KIB, 64 * KIB);
    assertThat(ended.err()).noneMatch(line -> line.contains("The memory budget"));
  }

  @Test
  void budgetBeyondTheLimit_onlyWarns_whereThatIsThePolicy() {
    ChildJvm.Ended ended =
        run(User.ORDINARY, 64, "budget", LimitPolicy.WARN.ordinal(), 2 * 2_044 * 32, 2_044);

    assertRefusals(ended, 1, 4_096, 64 * KIB, 64 * KIB);
    assertThat(ended.err())
        .filteredOn(line -> line.contains("The memory budget is not available"))
        .singleElement()
        .asString()
        .contains("WARN", "cannot lock 131072 more bytes", "is 65536 bytes", "ulimit -l");
    assertThat(ended.out()).contains("end: 0 live, 0 locked, 0 leaked, 0 kB");
  }

  @Test
  @DisabledIfSystemProperty(
      named = "test.emulated",
      matches = "true",
      disabledReason = "QEMU does not know mlock2, with which the kernel is asked")
  void privilegedProcess_isNotLimited() {
    assumeTrue(mayExceedLimit(), "the tests run without CAP_IPC_LOCK");

    ChildJvm.Ended ended = runThrough("", 64, "unlimited", 100_000);

    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    assertThat(ended.out())
        .contains(
            "may exceed the limit: true",
            "limit: " + SecureMemoryStats.NOT_LIMITED,
            "end: 0 live, 0 locked, 0 leaked, 0 kB");
  }
}
