package io.asherah.reactive.architecture;

import static java.util.stream.Collectors.toSet;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.File;
import java.lang.module.FindException;
import java.lang.module.ModuleDescriptor;
import java.lang.module.ModuleFinder;
import java.lang.module.ModuleReference;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What the compiled module descriptors say. */
class ModuleDescriptorTest {

  @Test
  void everyModuleIsKnown() {
    String classPath =
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));

    assertThat(Stream.of(classPath.split(File.pathSeparator)).map(Path::of))
        .map(ModuleDescriptorTest::descriptorIn)
        .flatMap(descriptor -> descriptor.stream().toList())
        .map(ModuleDescriptor::name)
        .filteredOn(name -> name.startsWith("io.asherah"))
        .containsExactlyInAnyOrderElementsOf(
            Stream.of(Module.values()).map(module -> module.descriptorName).toList());
  }

  @ParameterizedTest
  @EnumSource
  void moduleExportsWhatTheDesignNames(Module module) {
    assertDescriptor(descriptorOf(module), module.descriptorName, module.exportedPackages);
  }

  /** Some have one package; what is not public in it is hidden by that alone. */
  @ParameterizedTest
  @EnumSource(
      mode = EnumSource.Mode.EXCLUDE,
      names = {"AWS_KMS", "DYNAMODB_METASTORE", "MICROMETER", "R2DBC_METASTORE", "TEST_KIT"})
  void moduleHidesOtherPackages(Module module) {
    // A descriptor lists all packages of its module, so the exported ones are not all there are.
    assertThat(descriptorOf(module).packages())
        .containsAll(module.exportedPackages)
        .hasSizeGreaterThan(module.exportedPackages.size());
  }

  @Test
  void breachesAreFound() {
    List<ModuleDescriptor> breaches =
        List.of(
            ModuleDescriptor.newModule("other").exports("good").build(),
            ModuleDescriptor.newModule("good").build(),
            ModuleDescriptor.newModule("good").exports("good").exports("good.internal").build(),
            ModuleDescriptor.newModule("good")
                .exports("good")
                .exports("good.internal", Set.of("friend"))
                .build(),
            ModuleDescriptor.newModule("good").exports("good", Set.of("friend")).build(),
            ModuleDescriptor.newModule("good").exports("good").opens("good.internal").build(),
            ModuleDescriptor.newOpenModule("good").exports("good").build(),
            ModuleDescriptor.newModule("good")
                .exports("good")
                .provides(
                    "reactor.blockhound.integration.BlockHoundIntegration",
                    List.of("good.Integration"))
                .build());

    assertDescriptor(
        ModuleDescriptor.newModule("good")
            .exports("good")
            .packages(Set.of("good.internal"))
            .build(),
        "good",
        Set.of("good"));
    assertThat(breaches)
        .allSatisfy(
            breach ->
                assertThatThrownBy(() -> assertDescriptor(breach, "good", Set.of("good")))
                    .isInstanceOf(AssertionError.class));
  }

  private static void assertDescriptor(
      ModuleDescriptor descriptor, String name, Set<String> exportedPackages) {
    assertThat(descriptor.name()).isEqualTo(name);
    assertThat(
            descriptor.exports().stream()
                .peek(exports -> assertThat(exports.isQualified()).isFalse())
                .map(ModuleDescriptor.Exports::source)
                .collect(toSet()))
        .isEqualTo(exportedPackages);
    assertThat(descriptor.isOpen()).isFalse();
    assertThat(descriptor.opens()).isEmpty();
    // BlockHound above all: a boot layer of Java 17 without it would not start.
    assertThat(descriptor.provides()).isEmpty();
  }

  private static ModuleDescriptor descriptorOf(Module module) {
    return descriptorIn(module.location).orElseThrow();
  }

  private static Optional<ModuleDescriptor> descriptorIn(Path location) {
    try {
      return ModuleFinder.of(location).findAll().stream()
          .map(ModuleReference::descriptor)
          .filter(descriptor -> !descriptor.isAutomatic())
          .findFirst();
    } catch (FindException e) {
      // A jar from whose name no module name can be made, so none of ours.
      return Optional.empty();
    }
  }
}
