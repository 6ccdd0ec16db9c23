package io.asherah.reactive.testkit;

import static java.util.stream.Collectors.toSet;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import java.util.Set;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.testkit.engine.EngineTestKit;
import org.junit.platform.testkit.engine.Events;

/** The outcome of the tests of a kit for one implementation, by the names of their methods. */
record KitRun(Set<String> started, Set<String> failed, Set<String> aborted) {

  static KitRun of(Class<?> testClass) {
    Events tests =
        EngineTestKit.engine("junit-jupiter")
            .selectors(selectClass(testClass))
            .execute()
            .testEvents();
    return new KitRun(names(tests.started()), names(tests.failed()), names(tests.aborted()));
  }

  private static Set<String> names(Events events) {
    return events.stream()
        .map(event -> event.getTestDescriptor().getSource().orElseThrow())
        .map(source -> ((MethodSource) source).getMethodName())
        .collect(toSet());
  }
}
