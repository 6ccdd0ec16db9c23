package io.asherah.reactive.securememory.internal.platform;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.blockhound.BlockingOperationError;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** BlockHound knows the methods of every platform, also of those that this is not. */
class BlockingCallsTest {

  static Stream<Arguments> methods() {
    return Stream.concat(
        Stream.of(
                Platforms.memory("Linux", "amd64", true),
                Platforms.memory("Mac OS X", "aarch64", true),
                Platforms.memory("Windows 11", "amd64", true),
                Platforms.memory("FreeBSD", "amd64", true),
                Platforms.memory("OpenBSD", "amd64", true),
                Platforms.memory("NetBSD", "amd64", true),
                Platforms.memory("SunOS", "amd64", true))
            .flatMap(memory -> each(NativeMemory.class, memory)),
        Stream.of(
                Platforms.process("Linux", "amd64"),
                Platforms.process("Mac OS X", "aarch64"),
                Platforms.process("Windows 11", "amd64"))
            .flatMap(process -> each(NativeProcess.class, process)));
  }

  private static Stream<Arguments> each(Class<?> type, Object target) {
    return Stream.of(type.getDeclaredMethods())
        .map(
            method ->
                Arguments.of(target.getClass().getSimpleName(), method.getName(), method, target));
  }

  @ParameterizedTest(name = "{0}.{1}")
  @MethodSource("methods")
  void aCallOnAnEventLoop_isDetected(String type, String name, Method method, Object target) {
    Object[] arguments =
        Stream.of(method.getParameterTypes()).map(BlockingCallsTest::zero).toArray();

    Throwable thrown =
        Mono.fromCallable(
                () -> {
                  try {
                    method.invoke(target, arguments);
                    return new AssertionError("not detected");
                  } catch (InvocationTargetException e) {
                    return e.getCause();
                  }
                })
            .subscribeOn(Schedulers.parallel())
            .block(Await.TIMEOUT);

    assertThat(thrown).isInstanceOf(BlockingOperationError.class);
  }

  private static Object zero(Class<?> type) {
    if (type == NativeMemory.Access.class) {
      return NativeMemory.Access.NONE;
    }
    return type == int.class ? (Object) 0 : (Object) 0L;
  }
}
