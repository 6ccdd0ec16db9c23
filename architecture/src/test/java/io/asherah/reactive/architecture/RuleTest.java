package io.asherah.reactive.architecture;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.lang.EvaluationResult;
import io.asherah.reactive.NotLeaking;
import io.asherah.reactive.architecture.fixtures.Innocent;
import io.asherah.reactive.metastore.fixture.Adapter;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.MethodSource;

class RuleTest {
  static final List<NotBlock.Permit> permits = NotBlock.PERMITS;

  private static final JavaClasses LIBRARIES = Module.classesOf(Module.LIBRARIES);
  private static final List<Class<?>> INNOCENT =
      List.of(Adapter.class, Innocent.class, NotLeaking.class);
  private static final JavaClasses FIXTURES =
      new ClassFileImporter()
          .importClasses(
              Stream.concat(
                      Stream.of(Rule.values())
                          .flatMap(rule -> rule.breaches.stream())
                          .flatMap(List::stream),
                      INNOCENT.stream())
                  .toList());

  @ParameterizedTest
  @EnumSource
  void librariesKeepTheRule(Rule rule) {
    // Fails too where there is no class that the rule is about.
    rule.rule.check(LIBRARIES);
  }

  static Stream<Arguments> breaches() {
    return Stream.of(Rule.values())
        .flatMap(rule -> rule.breaches.stream().map(breach -> Arguments.of(rule, breach)));
  }

  @ParameterizedTest
  @MethodSource("breaches")
  void aBreachIsFound(Rule rule, List<Class<?>> breach) {
    assertThat(evaluate(rule, breach).hasViolation()).isTrue();
  }

  @ParameterizedTest
  @EnumSource
  void everyRuleIsProven(Rule rule) {
    assertThat(rule.breaches).isNotEmpty();
  }

  @ParameterizedTest
  @EnumSource
  void innocentClassesKeepTheRule(Rule rule) {
    assertThat(evaluate(rule, INNOCENT).getFailureReport().getDetails()).isEmpty();
  }

  @Test
  void examplesUseThePublicApiOnly() {
    noClasses()
        .should()
        .dependOnClassesThat()
        .resideInAPackage("io.asherah.reactive..internal..")
        .check(Module.classesOf(List.of(Module.QUICKSTART)));
  }

  @Test
  void sharedLoadSubscribes_once() {
    // So its exemption is needed, and the rule finds real code.
    assertThat(subscribing(Module.classesOf(List.of(Module.CORE))))
        .singleElement()
        .asString()
        .contains(Rule.Packages.SHARED_LOAD, "subscribe(");
  }

  @Test
  void secretRead_handsItsSubscriberOn_once() {
    assertThat(subscribing(Module.classesOf(List.of(Module.SECURE_MEMORY))))
        .singleElement()
        .asString()
        .contains(
            Rule.Packages.SECRET_READ + ".subscribe(reactor.core.CoreSubscriber)",
            "Mono.subscribe(reactor.core.CoreSubscriber)");
  }

  @Test
  void testKitBlocks_once() {
    assertThat(subscribing(Module.classesOf(List.of(Module.TEST_KIT))))
        .singleElement()
        .asString()
        .contains(Rule.Packages.TESTS_WAIT, "blockOptional(");
  }

  @Test
  void quickstartBlocks_once() {
    assertThat(subscribing(Module.classesOf(List.of(Module.QUICKSTART))))
        .singleElement()
        .asString()
        .contains("blockOptional(");
  }

  private static List<String> subscribing(JavaClasses classes) {
    return noClasses()
        .should()
        .accessTargetWhere(Calls.SUBSCRIBE)
        .evaluate(classes)
        .getFailureReport()
        .getDetails();
  }

  @ParameterizedTest
  @FieldSource("permits")
  void everyPermitIsNeeded(NotBlock.Permit permit) {
    assertThat(NotBlock.findings(LIBRARIES.get(permit.className())))
        .extracting(NotBlock.Finding::what)
        .contains(permit.what());
  }

  private static EvaluationResult evaluate(Rule rule, List<Class<?>> classes) {
    List<String> names = classes.stream().map(Class::getName).toList();
    return rule.rule
        .allowEmptyShould(true)
        .evaluate(
            FIXTURES.that(describe("are named so", fixture -> names.contains(fixture.getName()))));
  }
}
