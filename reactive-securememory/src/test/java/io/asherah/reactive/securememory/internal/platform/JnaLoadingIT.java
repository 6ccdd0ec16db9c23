package io.asherah.reactive.securememory.internal.platform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.sun.jna.Platform;
import io.asherah.reactive.securememory.UnsupportedPlatformException;
import io.asherah.reactive.testsupport.ChildJvm;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Enumeration;
import java.util.List;
import java.util.Optional;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/**
 * What a user is told when JNA cannot load its native library, for each cause, and that what the
 * message names helps. Each in a JVM of its own.
 */
@EnabledOnOs(OS.LINUX)
class JnaLoadingIT {
  private static final String LIBRARY =
      "com/sun/jna/" + Platform.RESOURCE_PREFIX + "/libjnidispatch.so";

  /** Uses the memory twice, because a class that failed to load does not say why again. */
  static final class Child {
    public static void main(String[] arguments) {
      NativeMemory memory = Platforms.memory(false);
      for (int i = 0; i < 2; i++) {
        try {
          System.out.println("page " + memory.pageSize());
        } catch (UnsupportedPlatformException e) {
          System.out.println("unsupported: " + e.getMessage());
        }
      }
    }
  }

  @TempDir Path directory;
  private Path restricted;
  private Path good;

  @BeforeEach
  void directories() throws IOException {
    restricted = Files.createDirectory(directory.resolve("restricted"));
    good = Files.createDirectory(directory.resolve("good"));
  }

  @Test
  void nothingWrong_loads() throws Exception {
    assertLoads(child());
  }

  @Test
  @DisabledIfSystemProperty(
      named = "test.emulated",
      matches = "true",
      disabledReason = "QEMU maps code as data, which noexec does not forbid")
  void noexecDirectory_isNamed_andAnotherHelps() throws Exception {
    assertRefused(
        withMounted("noexec"),
        "refuses to execute",
        restricted.toString(),
        "noexec",
        "-Djna.tmpdir=",
        "-Djna.boot.library.path=");
    assertLoads(withMounted("noexec").options("-Djna.tmpdir=" + good));
    assertLoads(withMounted("noexec").options("-Djna.boot.library.path=" + unpacked(good)));
  }

  @Test
  void readOnlyDirectory_isNamed_andAnotherHelps() throws Exception {
    assertRefused(
        withMounted("ro"), "no directory to unpack", "-Djna.tmpdir=", "-Djna.boot.library.path=");
    assertLoads(withMounted("ro").options("-Djna.tmpdir=" + good));
    assertLoads(withMounted("ro").options("-Djna.boot.library.path=" + unpacked(good)));
  }

  @Test
  void directoryWithoutPermission_isNamed_andAnotherHelps() throws Exception {
    assumeThat(restricted.toFile().setWritable(false) && !Files.isWritable(restricted))
        .as("permissions bind this user, who is not root")
        .isTrue();

    assertRefused(inRestrictedDirectory(), "no directory to unpack", "-Djna.tmpdir=");
    assertLoads(inRestrictedDirectory().options("-Djna.tmpdir=" + good));
  }

  /** JNA unpacks to the cache directory of the user, or to the temporary one. */
  private ChildJvm inRestrictedDirectory() {
    return child()
        .options("-Djava.io.tmpdir=" + restricted)
        .through("export XDG_CACHE_HOME='" + restricted + "'; exec \"$@\"");
  }

  /** A JVM that finds a file system mounted so where JNA unpacks, which nobody else sees. */
  private ChildJvm withMounted(String mountOption) {
    boolean isRoot = "root".equals(System.getProperty("user.name"));
    String unshare = isRoot ? "unshare -m" : "unshare -rm";
    String mount = "mount -t tmpfs -o mode=1777,%s tmpfs '%s'".formatted(mountOption, restricted);
    assumeThat(Shell.succeeds(unshare + " " + mount))
        .as("file systems may be mounted here (" + unshare + ")")
        .isTrue();
    return inRestrictedDirectory()
        .through(
            "export XDG_CACHE_HOME='%s'; exec %s sh -c \"%s; exec \\\"\\$@\\\"\" sh \"$@\""
                .formatted(restricted, unshare, mount));
  }

  @Test
  void deniedNativeAccess_isNamed_andAllowingItHelps() throws Exception {
    assertRefused(
        denying(onClassPath(ChildJvm.CLASS_PATH)),
        "denies native access",
        "--enable-native-access=io.asherah.reactive.securememory,com.sun.jna",
        "--enable-native-access=ALL-UNNAMED",
        "Enable-Native-Access: ALL-UNNAMED");
    assertLoads(
        denying(onClassPath(ChildJvm.CLASS_PATH)).options("--enable-native-access=ALL-UNNAMED"));
  }

  @Test
  void deniedNativeAccess_ofModules_isNamed_andAllowingItHelps() throws Exception {
    assertRefused(
        denying(modules()).run(directory),
        "--enable-native-access=io.asherah.reactive.securememory,com.sun.jna");
    assertLoads(
        denying(modules())
            .options("--enable-native-access=io.asherah.reactive.securememory,com.sun.jna")
            .run(directory));
  }

  private static String[] modules() {
    String classes =
        NativeMemory.class.getProtectionDomain().getCodeSource().getLocation().getPath();
    String tests = entries("test-classes").get(0);
    String path =
        Stream.of("jna-", "reactor-core-", "reactive-streams-")
            .flatMap(jar -> entries(jar).stream())
            .collect(Collectors.joining(File.pathSeparator, classes + File.pathSeparator, ""));
    String module = "io.asherah.reactive.securememory";
    return new String[] {
      "--module-path",
      path,
      "--patch-module",
      module + "=" + tests,
      "-m",
      module + "/" + Child.class.getName()
    };
  }

  @Test
  void deniedNativeAccess_isAllowedByTheManifest() throws Exception {
    Manifest manifest = new Manifest();
    Attributes attributes = manifest.getMainAttributes();
    attributes.put(Attributes.Name.MANIFEST_VERSION, "1.0");
    attributes.put(Attributes.Name.MAIN_CLASS, Child.class.getName());
    attributes.put(
        Attributes.Name.CLASS_PATH,
        Stream.of(ChildJvm.CLASS_PATH.split(File.pathSeparator))
            .map(entry -> Path.of(entry).toUri().toString())
            .collect(Collectors.joining(" ")));
    attributes.putValue("Enable-Native-Access", "ALL-UNNAMED");
    Path jar = directory.resolve("application.jar");
    new JarOutputStream(Files.newOutputStream(jar), manifest).close();

    assertLoads(denying("-jar", jar.toString()).run(directory));
  }

  private static String[] onClassPath(String classPath) {
    return new String[] {"-cp", classPath, Child.class.getName()};
  }

  /** A JVM that denies native access. */
  private static ChildJvm denying(String... arguments) throws IOException {
    Optional<Path> newest;
    try (Stream<Path> installed =
        Files.exists(Path.of("/usr/lib/jvm")) ? Files.list(Path.of("/usr/lib/jvm")) : Stream.of()) {
      newest =
          Stream.concat(Stream.of(Path.of(System.getProperty("java.home"))), installed)
              .filter(home -> Files.isExecutable(home.resolve("bin/java")))
              .filter(home -> feature(home) >= 24)
              .max(Comparator.comparingInt(JnaLoadingIT::feature));
    }
    assumeThat(newest).as("a JDK 24 or later, which can deny native access").isPresent();
    return ChildJvm.java(arguments)
        .on(newest.orElseThrow())
        .options("--illegal-native-access=deny");
  }

  private static int feature(Path home) {
    try {
      Matcher version =
          Pattern.compile("JAVA_VERSION=\"(\\d+)")
              .matcher(Files.readString(home.resolve("release")));
      return version.find() ? Integer.parseInt(version.group(1)) : 0;
    } catch (IOException e) {
      return 0;
    }
  }

  @Test
  void missingJna_isNamed() throws Exception {
    assertRefused(
        ChildJvm.java(onClassPath(classPathWith(Optional.empty()))),
        "JNA is missing",
        "net.java.dev.jna:jna");
  }

  @Test
  void missingNativeLibrary_isNamed_andOneElsewhereHelps() throws Exception {
    String classPath = classPathWith(Optional.of(jnaWithoutLibrary()));

    assertRefused(
        ChildJvm.java(onClassPath(classPath)),
        "no native library for this platform",
        LIBRARY,
        "complete jar",
        "-Djna.boot.library.path=");
    assertLoads(
        ChildJvm.java(onClassPath(classPath)).options("-Djna.boot.library.path=" + unpacked(good)));
  }

  @Test
  void nativeLibraryOfAnotherVersion_isNamed_andDoingWithoutHelps() throws Exception {
    Path library = unpacked(restricted).resolve("libjnidispatch.so");
    // Its version is a string in it; any other major version will do.
    String content = Files.readString(library, StandardCharsets.ISO_8859_1);
    Matcher version = Pattern.compile("\0(\\d)(\\.\\d+\\.\\d+\0)").matcher(content);
    assertThat(version.find()).isTrue();
    Files.writeString(library, version.replaceFirst("\0001$2"), StandardCharsets.ISO_8859_1);

    for (List<String> options :
        List.of(
            List.of("-Djna.boot.library.path=" + restricted),
            List.of("-Djna.nosys=false", "-Djava.library.path=" + restricted))) {
      assertRefused(
          child().options(options.toArray(String[]::new)),
          "of another version first",
          "jna.boot.library.path",
          "jna.nosys",
          "Found: 1");
    }
    assertLoads(child().options("-Djava.library.path=" + restricted));
  }

  @Test
  void switchedOffJar_isNamed_andALibraryElsewhereHelps() throws Exception {
    assertRefused(
        child().options("-Djna.noclasspath=true"), "jna.noclasspath", "-Djna.boot.library.path=");
    assertLoads(
        child().options("-Djna.noclasspath=true", "-Djna.boot.library.path=" + unpacked(good)));
  }

  private static ChildJvm child() {
    return ChildJvm.main(Child.class);
  }

  private void assertLoads(ChildJvm child) throws Exception {
    assertLoads(child.run(directory));
  }

  private static void assertLoads(ChildJvm.Ended ended) {
    assertThat(ended.out()).as(ended.toString()).hasSize(2).allMatch(l -> l.startsWith("page "));
  }

  private void assertRefused(ChildJvm child, String... parts) throws Exception {
    assertRefused(child.run(directory), parts);
  }

  /** One line for each use, the same for both, without a stack trace. */
  private static void assertRefused(ChildJvm.Ended ended, String... parts) {
    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    List<String> lines = ended.out();
    assertThat(lines).as(ended.toString()).hasSize(2);
    assertThat(lines.get(0)).startsWith("unsupported: ").contains(parts);
    assertThat(lines.get(1)).isEqualTo(lines.get(0));
  }

  /** Entries of the class path whose file name starts so. */
  private static List<String> entries(String start) {
    return Stream.of(ChildJvm.CLASS_PATH.split(File.pathSeparator))
        .filter(entry -> String.valueOf(Path.of(entry).getFileName()).startsWith(start))
        .toList();
  }

  private static Path jnaJar() {
    return Path.of(entries("jna-").get(0));
  }

  private static Path unpacked(Path target) throws IOException {
    try (JarFile jar = new JarFile(jnaJar().toFile());
        InputStream library = jar.getInputStream(jar.getJarEntry(LIBRARY))) {
      Files.copy(library, target.resolve("libjnidispatch.so"));
    }
    return target;
  }

  private Path jnaWithoutLibrary() throws IOException {
    Path copy = directory.resolve("jna-small.jar");
    try (JarFile jar = new JarFile(jnaJar().toFile());
        OutputStream file = Files.newOutputStream(copy);
        JarOutputStream small = new JarOutputStream(file)) {
      for (Enumeration<JarEntry> entries = jar.entries(); entries.hasMoreElements(); ) {
        JarEntry entry = entries.nextElement();
        if (!entry.getName().equals(LIBRARY)) {
          small.putNextEntry(new JarEntry(entry.getName()));
          try (InputStream content = jar.getInputStream(entry)) {
            content.transferTo(small);
          }
        }
      }
    }
    return copy;
  }

  private static String classPathWith(Optional<Path> jna) {
    return Stream.concat(
            jna.map(Path::toString).stream(),
            Stream.of(ChildJvm.CLASS_PATH.split(File.pathSeparator))
                .filter(entry -> !entry.equals(jnaJar().toString())))
        .collect(Collectors.joining(File.pathSeparator));
  }
}
