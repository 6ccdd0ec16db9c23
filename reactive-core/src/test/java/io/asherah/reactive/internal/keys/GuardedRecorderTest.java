package io.asherah.reactive.internal.keys;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import io.asherah.reactive.KeyEvent;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.spi.MetricsRecorder;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class GuardedRecorderTest {
  private static final List<Object> VALUES =
      List.of(
          1L,
          true,
          "name",
          "region",
          MetricsRecorder.MetastoreCall.STORE,
          MetricsRecorder.KmsCall.DECRYPT_KEY,
          MetricsRecorder.Cache.META,
          MetricsRecorder.Lookup.STALE,
          KmsException.Kind.THROTTLED,
          new KeyEvent(
              KeyEvent.Type.CREATED,
              new KeyMeta("id", Instant.ofEpochSecond(1)),
              Instant.ofEpochSecond(2),
              null));

  private static Object[] arguments(Method method) {
    List<Object> left = new ArrayList<>(VALUES);
    return Stream.of(method.getParameterTypes())
        .map(
            type -> {
              Object value =
                  left.stream()
                      .filter(
                          any ->
                              type == long.class
                                  ? any instanceof Long
                                  : type == boolean.class
                                      ? any instanceof Boolean
                                      : type.isInstance(any))
                      .findFirst()
                      .orElseThrow();
              left.remove(value);
              return value;
            })
        .toArray();
  }

  private static List<Method> events() {
    return Stream.of(MetricsRecorder.class.getMethods()).filter(Method::isDefault).toList();
  }

  /** Also what is added to the interface, which a recorder would not hear of otherwise. */
  @Test
  void everything_isPassedOn() throws Exception {
    List<String> told = new ArrayList<>();
    MetricsRecorder recorder =
        (MetricsRecorder)
            Proxy.newProxyInstance(
                MetricsRecorder.class.getClassLoader(),
                new Class<?>[] {MetricsRecorder.class},
                (proxy, method, arguments) -> {
                  told.add(method.getName() + List.of(arguments));
                  return null;
                });
    MetricsRecorder guarded = GuardedRecorder.of(recorder);

    List<String> expected = new ArrayList<>();
    for (Method event : events()) {
      event.invoke(guarded, arguments(event));
      expected.add(event.getName() + List.of(arguments(event)));
    }

    assertThat(told).isEqualTo(expected).hasSizeGreaterThanOrEqualTo(7);
    assertThat(told).contains("kmsRegionFailed[name, region, THROTTLED]");
  }

  @Test
  void whatARecorderThrows_isSwallowed() {
    MetricsRecorder guarded =
        GuardedRecorder.of(
            (MetricsRecorder)
                Proxy.newProxyInstance(
                    MetricsRecorder.class.getClassLoader(),
                    new Class<?>[] {MetricsRecorder.class},
                    (proxy, method, arguments) -> {
                      throw new NoClassDefFoundError("intended");
                    }));
    for (Method event : events()) {
      assertThatCode(() -> invoke(event, guarded)).doesNotThrowAnyException();
    }
  }

  private static void invoke(Method event, MetricsRecorder recorder) throws Throwable {
    try {
      event.invoke(recorder, arguments(event));
    } catch (InvocationTargetException e) {
      throw e.getCause();
    }
  }

  @Test
  void recorderThatDoesNothing_isNotGuarded() {
    assertThat(GuardedRecorder.of(MetricsRecorder.NONE)).isSameAs(MetricsRecorder.NONE);
  }
}
