package io.asherah.reactive.architecture;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaModifier.PROTECTED;
import static com.tngtech.archunit.core.domain.JavaModifier.PUBLIC;
import static com.tngtech.archunit.core.domain.JavaModifier.SYNTHETIC;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.domain.JavaType;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * That nothing a user of the class can name, call or extend has an internal type in its signature.
 */
final class NotMentionInternals extends ArchCondition<JavaClass> {
  private static final DescribedPredicate<JavaClass> INTERNAL =
      resideInAPackage("io.asherah.reactive..internal..");

  NotMentionInternals() {
    super("not mention internal types in public or protected signatures");
  }

  @Override
  public void check(JavaClass javaClass, ConditionEvents events) {
    if (!isVisible(javaClass)) {
      return;
    }
    checkTypes(
        javaClass,
        javaClass.getDescription(),
        Stream.of(
                javaClass.getSuperclass().stream(),
                javaClass.getInterfaces().stream(),
                javaClass.getTypeParameters().stream())
            .flatMap(types -> types),
        events);
    javaClass.getFields().stream()
        .filter(field -> isVisible(field.getModifiers()))
        .forEach(
            field ->
                checkTypes(javaClass, field.getDescription(), Stream.of(field.getType()), events));
    javaClass.getCodeUnits().stream()
        .filter(codeUnit -> isVisible(codeUnit.getModifiers()))
        .forEach(
            codeUnit ->
                checkTypes(javaClass, codeUnit.getDescription(), typesOf(codeUnit), events));
  }

  private static Stream<? extends JavaType> typesOf(JavaCodeUnit codeUnit) {
    return Stream.of(
            List.of(codeUnit.getReturnType()),
            codeUnit.getParameterTypes(),
            codeUnit.getTypeParameters(),
            codeUnit.getThrowsClause().getTypes())
        .flatMap(Collection::stream);
  }

  private static void checkTypes(
      JavaClass javaClass, String where, Stream<? extends JavaType> types, ConditionEvents events) {
    types
        .flatMap(type -> type.getAllInvolvedRawTypes().stream())
        .map(JavaClass::getBaseComponentType)
        .filter(INTERNAL)
        .distinct()
        .forEach(
            internal ->
                events.add(
                    SimpleConditionEvent.violated(
                        javaClass, "%s mentions %s".formatted(where, internal.getName()))));
  }

  private static boolean isVisible(JavaClass javaClass) {
    return isVisible(javaClass.getModifiers())
        && javaClass.getEnclosingClass().map(NotMentionInternals::isVisible).orElse(true);
  }

  private static boolean isVisible(Set<JavaModifier> modifiers) {
    return (modifiers.contains(PUBLIC) || modifiers.contains(PROTECTED))
        && !modifiers.contains(SYNTHETIC);
  }
}
