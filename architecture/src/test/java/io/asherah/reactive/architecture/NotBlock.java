package io.asherah.reactive.architecture;

import com.tngtech.archunit.core.domain.JavaAccess;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.security.SecureRandom;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Future;
import java.util.spi.ToolProvider;
import java.util.stream.Stream;

/**
 * That a class neither makes a thread wait, nor reads the system's entropy, nor keeps state in
 * threads that are not ours, nor draws numbers that can be guessed. BlockHound finds some of it,
 * where a test runs it on an event loop; this finds it everywhere.
 */
final class NotBlock extends ArchCondition<JavaClass> {

  /** An exception to the rule. */
  record Permit(String className, String what, String reason) {}

  static final List<Permit> PERMITS =
      List.of(
          new Permit(
              "io.asherah.reactive.internal.crypto.RandomSource",
              "synchronized",
              "seeds once for all first loads, on the scheduler that may block"),
          new Permit(
              "io.asherah.reactive.internal.crypto.RandomSource",
              "SecureRandom",
              "makes and seeds the DRBGs, on the scheduler that may block"),
          new Permit(
              "io.asherah.reactive.internal.keys.KeyCache",
              "synchronized",
              "one change at a time, on the scheduler that may block"),
          new Permit(
              "io.asherah.reactive.kms.aws.KmsClient",
              "synchronized",
              "builds the client once, on the scheduler that may block"),
          new Permit(
              "io.asherah.reactive.metastore.dynamodb.Client",
              "synchronized",
              "builds the client once, on the scheduler that may block"),
          new Permit(
              "io.asherah.reactive.securememory.internal.Arena",
              "synchronized",
              "one search for room at a time, on the scheduler that may block"),
          new Permit(
              "io.asherah.reactive.securememory.internal.ExitWipe",
              "synchronized",
              "keeps the list of who holds memory, on the scheduler that may block"),
          new Permit(
              "io.asherah.reactive.securememory.internal.ExitWipe",
              "Thread.sleep",
              "between two looks of the shutdown hook, on a thread of its own"),
          new Permit(
              "io.asherah.reactive.securememory.internal.LockedSecretFactory",
              "synchronized",
              "asks the system once for its limits, on the scheduler that may block"),
          new Permit(
              "io.asherah.reactive.securememory.internal.LockedSecretFactory",
              "CountDownLatch",
              "what the shutdown hook waits for, on a thread of its own"),
          new Permit(
              "io.asherah.reactive.securememory.internal.Drbg",
              "SecureRandom",
              "seeds and draws on the scheduler that may block"),
          new Permit(
              "io.asherah.reactive.internal.crypto.Aes256Gcm",
              "ThreadLocal",
              "a cipher for each thread, which costs more than a small payload to get; it never"
                  + " remembers an intermediate or system key"),
          new Permit(
              "io.asherah.reactive.Persistence",
              "UUID.randomUUID",
              "the default name of a stored record, on the bounded elastic scheduler"),
          new Permit(
              "io.asherah.reactive.testkit.Answers",
              "UUID.randomUUID",
              "an id that no test used before, on the thread of JUnit"));

  private static final Set<String> TYPES =
      Set.of(
          "java.lang.ThreadLocal",
          "java.lang.InheritableThreadLocal",
          "java.util.Random",
          "java.util.Timer",
          "java.util.concurrent.CountDownLatch",
          "java.util.concurrent.CyclicBarrier",
          "java.util.concurrent.Exchanger",
          "java.util.concurrent.Phaser",
          "java.util.concurrent.Semaphore");
  private static final String LOCKS = "java.util.concurrent.locks";

  /** What a class was found to do. */
  record Finding(String what, String description) {}

  NotBlock() {
    super("not block, read entropy, or use thread locals, except where permitted");
  }

  @Override
  public void check(JavaClass javaClass, ConditionEvents events) {
    findings(javaClass)
        .filter(finding -> !isPermitted(javaClass, finding))
        .forEach(
            finding ->
                events.add(
                    SimpleConditionEvent.violated(
                        javaClass, finding.what + ": " + finding.description)));
  }

  private static boolean isPermitted(JavaClass javaClass, Finding finding) {
    return PERMITS.stream()
        .anyMatch(
            permit ->
                permit.className.equals(javaClass.getName()) && permit.what.equals(finding.what));
  }

  static Stream<Finding> findings(JavaClass javaClass) {
    return Stream.of(
            synchronizedMethods(javaClass),
            synchronizedBlocks(javaClass),
            types(javaClass),
            calls(javaClass))
        .flatMap(findings -> findings);
  }

  private static Stream<Finding> synchronizedMethods(JavaClass javaClass) {
    return javaClass.getMethods().stream()
        .filter(method -> method.getModifiers().contains(JavaModifier.SYNCHRONIZED))
        .map(method -> new Finding("synchronized", method.getDescription()));
  }

  /** ArchUnit does not see them; the disassembler of the JDK does. */
  private static Stream<Finding> synchronizedBlocks(JavaClass javaClass) {
    String source = javaClass.getSource().orElseThrow().getUri().toString();
    StringWriter code = new StringWriter();
    PrintWriter writer = new PrintWriter(code);
    int exitCode =
        ToolProvider.findFirst("javap").orElseThrow().run(writer, writer, "-c", "-p", source);
    if (exitCode != 0) {
      throw new AssertionError(code.toString());
    }
    return code.toString().contains(": monitorenter")
        ? Stream.of(new Finding("synchronized", "a block in " + javaClass.getDescription()))
        : Stream.empty();
  }

  private static Stream<Finding> types(JavaClass javaClass) {
    return javaClass.getDirectDependenciesFromSelf().stream()
        .filter(
            dependency -> {
              JavaClass target = dependency.getTargetClass();
              return TYPES.contains(target.getName()) || target.getPackageName().equals(LOCKS);
            })
        .map(
            dependency ->
                new Finding(
                    dependency.getTargetClass().getSimpleName(), dependency.getDescription()));
  }

  private static Stream<Finding> calls(JavaClass javaClass) {
    return javaClass.getAccessesFromSelf().stream()
        .flatMap(access -> whatIs(access).map(what -> new Finding(what, access.getDescription())));
  }

  private static Stream<String> whatIs(JavaAccess<?> access) {
    JavaClass owner = access.getTargetOwner();
    String name = access.getName();
    if (owner.isEquivalentTo(Thread.class) && Set.of("sleep", "join").contains(name)) {
      return Stream.of("Thread." + name);
    }
    // A class inherits wait() from Object and may be what javac names as its owner.
    if (name.equals("wait")
        && access.getTarget().getFullName().matches(".*\\.wait\\((long.*)?\\)")) {
      return Stream.of("Object.wait");
    }
    if (owner.isAssignableTo(Future.class) && Set.of("get", "join").contains(name)) {
      return Stream.of("Future." + name);
    }
    if (owner.isEquivalentTo(UUID.class) && name.equals("randomUUID")) {
      return Stream.of("UUID.randomUUID");
    }
    if (owner.isEquivalentTo(SecureRandom.class)
        && (name.equals("<init>") || name.startsWith("getInstance"))) {
      return Stream.of("SecureRandom");
    }
    return Stream.empty();
  }
}
