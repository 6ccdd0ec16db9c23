package io.asherah.reactive.architecture;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.lang.ArchRule;
import io.asherah.reactive.Leaking;
import io.asherah.reactive.architecture.fixtures.Blocking;
import io.asherah.reactive.architecture.fixtures.JUnitUser;
import io.asherah.reactive.architecture.fixtures.Naming;
import io.asherah.reactive.architecture.fixtures.Printing;
import io.asherah.reactive.architecture.fixtures.Subscribing;
import io.asherah.reactive.architecture.fixtures.TestKitUser;
import io.asherah.reactive.internal.fixture.CoreThatDependsOnAnAdapter;
import io.asherah.reactive.internal.fixture.CoreThatDependsOnSecureMemoryInternals;
import io.asherah.reactive.internal.fixturea.OneHalfOfACycle;
import io.asherah.reactive.internal.fixtureb.OtherHalfOfACycle;
import io.asherah.reactive.metastore.fixture.AdapterThatDependsOnAnExample;
import io.asherah.reactive.metastore.fixture.AdapterThatDependsOnCoreInternals;
import io.asherah.reactive.metastore.fixture.AdapterThatDependsOnSecureMemoryInternals;
import io.asherah.reactive.securememory.fixture.SecureMemoryThatDependsOnBlockHound;
import io.asherah.reactive.securememory.fixture.SecureMemoryThatDependsOnCore;
import io.asherah.reactive.spi.fixture.SpiThatDependsOnInternals;
import io.asherah.reactive.testkit.fixture.TestKitThatDependsOnArchUnit;
import java.util.List;
import java.util.stream.Stream;

/** The rules over the classes of all libraries, each with classes that break it. */
enum Rule {
  // Arrows between modules. Packages stand for modules: no two share one, so that the rules hold
  // for adapters (metastore, kms, micrometer, spring, ...) as soon as there are some.

  SECURE_MEMORY_STANDS_ALONE(
      classes()
          .that()
          .resideInAPackage("io.asherah.reactive.securememory..")
          .and()
          .doNotHaveFullyQualifiedName(
              "io.asherah.reactive.securememory.internal.SecureMemoryBlockHoundIntegration")
          .should()
          .onlyDependOnClassesThat(
              resideInAnyPackage(
                  "io.asherah.reactive.securememory..",
                  "java..",
                  "javax.crypto..",
                  "reactor.core..",
                  "reactor.util..",
                  "org.reactivestreams..",
                  "com.sun.jna..",
                  "org.jspecify.annotations..")),
      SecureMemoryThatDependsOnCore.class,
      SecureMemoryThatDependsOnBlockHound.class),

  BLOCKHOUND_INTEGRATION_ADDS_BLOCKHOUND_ONLY(
      classes()
          .that()
          .haveSimpleNameEndingWith("BlockHoundIntegration")
          .should()
          .onlyDependOnClassesThat(
              resideInAnyPackage(
                  "io.asherah.reactive.securememory..",
                  "java..",
                  "reactor.blockhound..",
                  "org.jspecify.annotations..")),
      SecureMemoryThatDependsOnCore.BlockHoundIntegration.class),

  CORE_KNOWS_NO_DATABASE_NO_CLOUD_AND_NO_ADAPTER(
      classes()
          .that(resideInAnyPackage(Packages.CORE))
          .should()
          .onlyDependOnClassesThat(
              resideInAnyPackage(Packages.CORE)
                  .or(
                      resideInAnyPackage(
                          "io.asherah.reactive.securememory",
                          "java.io",
                          "java.lang..",
                          "java.nio..",
                          "java.security..",
                          "java.time..",
                          "java.util..",
                          "javax.crypto..",
                          "reactor.core..",
                          "reactor.util..",
                          "reactor.pool",
                          "org.reactivestreams..",
                          "com.github.benmanes.caffeine.cache..",
                          "tools.jackson.core..",
                          "org.slf4j..",
                          "org.jspecify.annotations.."))),
      CoreThatDependsOnAnAdapter.class,
      CoreThatDependsOnAnAdapter.ThatIsADatabase.class,
      CoreThatDependsOnSecureMemoryInternals.class),

  INTERNALS_OF_SECURE_MEMORY_ARE_ITS_OWN(
      noClasses()
          .that()
          .resideOutsideOfPackage("io.asherah.reactive.securememory..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("io.asherah.reactive.securememory.internal.."),
      CoreThatDependsOnSecureMemoryInternals.class,
      AdapterThatDependsOnSecureMemoryInternals.class),

  INTERNALS_OF_CORE_ARE_ITS_OWN(
      noClasses()
          .that()
          .resideOutsideOfPackages(Packages.CORE)
          .should()
          .dependOnClassesThat()
          .resideInAPackage("io.asherah.reactive.internal.."),
      AdapterThatDependsOnCoreInternals.class),

  SPI_KNOWS_NO_INTERNALS(
      noClasses()
          .that()
          .resideInAPackage("io.asherah.reactive.spi..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("io.asherah.reactive.internal.."),
      SpiThatDependsOnInternals.class),

  LIBRARIES_DEPEND_ON_LIBRARIES(
      noClasses()
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              "io.asherah.reactive.examples..",
              "io.asherah.reactive.interop..",
              "io.asherah.reactive.benchmarks..",
              "io.asherah.reactive.architecture.."),
      AdapterThatDependsOnAnExample.class),

  /** Except for the library that is for tests, which no other may depend on therefore. */
  LIBRARIES_ARE_FREE_OF_TESTS(
      noClasses()
          .that()
          .resideOutsideOfPackage(Packages.TEST_KIT)
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              "io.asherah.reactive.testsupport..",
              Packages.TEST_KIT,
              "org.junit..",
              "org.assertj..",
              "reactor.test..",
              "com.tngtech.archunit..")
          .orShould()
          .haveNameMatching(".*(Test|Tests|IT)"),
      JUnitUser.class,
      JUnitUser.NamedLikeATest.class,
      TestKitUser.class),

  TEST_KIT_IS_FREE_OF_OUR_OWN_TEST_SUPPORT(
      noClasses()
          .that()
          .resideInAPackage(Packages.TEST_KIT)
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("io.asherah.reactive.testsupport..", "com.tngtech.archunit.."),
      TestKitThatDependsOnArchUnit.class),

  INTERNALS_OF_CORE_HAVE_NO_CYCLES(
      slices().matching("io.asherah.reactive.internal.(*)..").should().beFreeOfCycles(),
      List.of(List.of(OneHalfOfACycle.class, OtherHalfOfACycle.class))),

  // Signatures.

  INTERNALS_STAY_INTERNAL(
      classes().that(resideInAnyPackage(Packages.EXPORTED)).should(new NotMentionInternals()),
      Leaking.AParameter.class,
      Leaking.AConstructorParameter.class,
      Leaking.AReturnType.class,
      Leaking.AProtectedReturnType.class,
      Leaking.ATypeArgument.class,
      Leaking.AnArray.class,
      Leaking.AField.class,
      Leaking.AnException.class,
      Leaking.ASuperclass.class,
      Leaking.AnInterface.class,
      Leaking.ABound.class),

  EXCEPTIONS_ARE_NAMED_SO(
      classes()
          .that()
          .areAssignableTo(Throwable.class)
          .should()
          .haveSimpleNameEndingWith("Exception"),
      Naming.Failure.class),

  NOTHING_ELSE_IS_NAMED_EXCEPTION(
      classes()
          .that()
          .haveSimpleNameEndingWith("Exception")
          .should()
          .beAssignableTo(Throwable.class),
      Naming.NoException.class),

  // What code does.

  ONE_CLASS_SUBSCRIBES(
      noClasses()
          .that()
          .doNotHaveFullyQualifiedName(Packages.SHARED_LOAD)
          .and()
          .doNotHaveFullyQualifiedName(Packages.SECRET_READ)
          .and()
          .doNotHaveFullyQualifiedName(Packages.CONNECTIONS)
          .and()
          .doNotHaveFullyQualifiedName(Packages.TESTS_WAIT)
          .should()
          .accessTargetWhere(Calls.SUBSCRIBE),
      Subscribing.class.getDeclaredClasses()),

  NOTHING_BLOCKS_OR_READS_ENTROPY(
      classes().should(new NotBlock()), Blocking.class.getDeclaredClasses()),

  NOTHING_PRINTS(
      noClasses().should().accessTargetWhere(Calls.PRINT), Printing.class.getDeclaredClasses());

  final ArchRule rule;

  /** Each of these lists breaks the rule by itself. */
  final List<List<Class<?>>> breaches;

  Rule(ArchRule rule, Class<?>... breaches) {
    this(rule, Stream.of(breaches).<List<Class<?>>>map(List::of).toList());
  }

  Rule(ArchRule rule, List<List<Class<?>>> breaches) {
    this.rule = rule;
    this.breaches = breaches;
  }

  static final class Packages {
    static final String[] CORE = {
      "io.asherah.reactive", "io.asherah.reactive.spi..", "io.asherah.reactive.internal.."
    };
    static final String[] EXPORTED =
        Module.LIBRARIES.stream()
            .flatMap(module -> module.exportedPackages.stream())
            .toArray(String[]::new);
    static final String SHARED_LOAD = "io.asherah.reactive.internal.keys.SharedLoads";

    /** An operator, which hands the subscriber it was given on to another Mono. */
    static final String SECRET_READ = "io.asherah.reactive.securememory.internal.SecretRead";

    /** Keeps statements that were begun from being cancelled, see ADR 13. */
    static final String CONNECTIONS = "io.asherah.reactive.metastore.r2dbc.Connections";

    static final String TEST_KIT = "io.asherah.reactive.testkit..";

    /** Where the tests of the test kit wait for answers, on the thread of JUnit. */
    static final String TESTS_WAIT = "io.asherah.reactive.testkit.Answers";

    private Packages() {}
  }
}
