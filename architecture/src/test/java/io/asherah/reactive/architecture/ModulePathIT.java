package io.asherah.reactive.architecture;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.ChildJvm;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs the quickstart from modules, as they are published, without BlockHound. */
class ModulePathIT {
  private static final String MODULE_PATH = System.getProperty("test.modulepath");

  @TempDir Path directory;

  @Test
  void modulePathHasPlainJarsAndNoBlockHound() {
    assertThat(MODULE_PATH)
        .contains("asherah-reactive-core", "asherah-reactive-securememory", ".jar")
        .doesNotContain("blockhound", "target/classes", "quickstart.jar");
  }

  @Test
  void quickstartRunsOnTheModulePath() throws Exception {
    Path file = Files.writeString(directory.resolve("file"), "one\ntwo\n\nfour");

    ChildJvm.Ended run = quickstart(file.toString()).run(directory);

    assertThat(run.err()).singleElement().asString().contains("static key management service");
    assertThat(run.exitCode()).isZero();
    assertThat(run.out()).last().isEqualTo("verified 4 records");
    assertThat(run.out()).contains("closed   0 live secrets, 0 locked bytes");
  }

  @Test
  void quickstartKeepsItsKeysInH2_onTheModulePath() throws Exception {
    Path file = Files.writeString(directory.resolve("file"), "one\ntwo");

    ChildJvm.Ended run = quickstart("--store", "keys", file.toString()).run(directory);

    assertThat(run.exitCode()).as("%s", run).isZero();
    assertThat(run.out()).last().isEqualTo("verified 2 records");
    assertThat(directory.resolve("keys.mv.db")).isNotEmptyFile();
    assertThat(directory.resolve("keys.master")).hasSize(32);
  }

  @Test
  void modulesResolveByName_withoutClassPath() throws Exception {
    ChildJvm.Ended run =
        run("--module-path", MODULE_PATH, "--describe-module", "io.asherah.reactive");

    assertThat(run.exitCode()).isZero();
    assertThat(run.out())
        .contains("exports io.asherah.reactive", "exports io.asherah.reactive.spi")
        .noneMatch(line -> line.startsWith("exports") && line.contains("internal"));
  }

  @Test
  void allModulesResolveTogether() throws Exception {
    ChildJvm.Ended run =
        quickstart("--help")
            .options("--add-modules", "io.asherah.reactive.micrometer")
            .run(directory);

    assertThat(run.err()).isEmpty();
    assertThat(run.exitCode()).isZero();
  }

  @Test
  void testKitResolves_withWhatItNeeds() throws Exception {
    // The version is printed after the modules were resolved.
    ChildJvm.Ended run =
        run(
            "--module-path",
            MODULE_PATH,
            "--add-modules",
            "io.asherah.reactive.testkit",
            "--show-module-resolution",
            "--version");

    assertThat(run.exitCode()).isZero();
    assertThat(run.out())
        .anyMatch(line -> line.startsWith("root io.asherah.reactive.testkit "))
        .anyMatch(line -> line.contains("org.junit.jupiter.api"))
        .anyMatch(line -> line.contains("org.assertj.core"))
        .anyMatch(line -> line.contains("reactor.test"));
  }

  private static ChildJvm quickstart(String... arguments) {
    return ChildJvm.java(
            Stream.concat(
                    Stream.of(
                        "-m",
                        "io.asherah.reactive.examples.quickstart/"
                            + "io.asherah.reactive.examples.quickstart.Quickstart"),
                    Stream.of(arguments))
                .toArray(String[]::new))
        .options(
            "--module-path",
            MODULE_PATH,
            "--enable-native-access=io.asherah.reactive.securememory,com.sun.jna");
  }

  private ChildJvm.Ended run(String... arguments) {
    return ChildJvm.java(arguments).run(directory);
  }
}
