package io.asherah.reactive.architecture;

import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.examples.quickstart.Quickstart;
import io.asherah.reactive.kms.aws.AwsKeyManagementService;
import io.asherah.reactive.metastore.dynamodb.DynamoDbMetastore;
import io.asherah.reactive.metastore.r2dbc.R2dbcMetastore;
import io.asherah.reactive.micrometer.MicrometerMetricsRecorder;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.testkit.TestTime;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/**
 * The modules of this project as they were compiled, wherever the class path has them. A new one is
 * added here; until then {@link ModuleDescriptorTest#everyModuleIsKnown} fails.
 */
enum Module {
  SECURE_MEMORY(
      "io.asherah.reactive.securememory",
      Set.of("io.asherah.reactive.securememory"),
      SecretFactory.class,
      15),
  CORE(
      "io.asherah.reactive",
      Set.of("io.asherah.reactive", "io.asherah.reactive.spi"),
      SessionFactory.class,
      40),
  MICROMETER(
      "io.asherah.reactive.micrometer",
      Set.of("io.asherah.reactive.micrometer"),
      MicrometerMetricsRecorder.class,
      5),
  TEST_KIT(
      "io.asherah.reactive.testkit", Set.of("io.asherah.reactive.testkit"), TestTime.class, 10),
  R2DBC_METASTORE(
      "io.asherah.reactive.metastore.r2dbc",
      Set.of("io.asherah.reactive.metastore.r2dbc"),
      R2dbcMetastore.class,
      15),
  DYNAMODB_METASTORE(
      "io.asherah.reactive.metastore.dynamodb",
      Set.of("io.asherah.reactive.metastore.dynamodb"),
      DynamoDbMetastore.class,
      8),
  AWS_KMS(
      "io.asherah.reactive.kms.aws",
      Set.of("io.asherah.reactive.kms.aws"),
      AwsKeyManagementService.class,
      8),
  QUICKSTART("io.asherah.reactive.examples.quickstart", Set.of(), Quickstart.class, 4);

  /** What applications or their tests depend on, in contrast to examples. */
  static final List<Module> LIBRARIES =
      List.of(
          SECURE_MEMORY, CORE, TEST_KIT, MICROMETER, R2DBC_METASTORE, DYNAMODB_METASTORE, AWS_KMS);

  final String descriptorName;
  final Set<String> exportedPackages;

  /** A directory or a jar. */
  final Path location;

  private final int leastClasses;

  Module(String descriptorName, Set<String> exportedPackages, Class<?> anchor, int leastClasses) {
    this.descriptorName = descriptorName;
    this.exportedPackages = exportedPackages;
    this.location = locationOf(anchor);
    this.leastClasses = leastClasses;
  }

  /** The main classes of some modules; fails where one has fewer than it certainly has. */
  static JavaClasses classesOf(List<Module> modules) {
    for (Module module : modules) {
      assertThat(imported(List.of(module)))
          .as("classes of %s in %s", module, module.location)
          .hasSizeGreaterThanOrEqualTo(module.leastClasses);
    }
    return imported(modules);
  }

  private static JavaClasses imported(List<Module> modules) {
    return new ClassFileImporter()
        .withImportOption(
            from -> modules.stream().anyMatch(module -> from.contains(module.location.toString())))
        .importPackages("io.asherah.reactive");
  }

  private static Path locationOf(Class<?> anchor) {
    try {
      return Path.of(anchor.getProtectionDomain().getCodeSource().getLocation().toURI());
    } catch (URISyntaxException e) {
      throw new AssertionError(e);
    }
  }
}
