package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.internal.platform.LinuxMemory;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;

/** The real memory of this machine, with every native call recorded; calls can fail or stall. */
final class RecordingMemory {
  private final List<Call> calls = new CopyOnWriteArrayList<>();
  private final Map<String, Integer> failures = new ConcurrentHashMap<>();
  private final Map<String, Runnable> hooks = new ConcurrentHashMap<>();
  private volatile CountDownLatch gate = new CountDownLatch(0);

  record Call(String name, List<Object> arguments, String thread) {}

  NativeMemory memory() {
    LinuxMemory real = new LinuxMemory();
    return (NativeMemory)
        Proxy.newProxyInstance(
            NativeMemory.class.getClassLoader(),
            new Class<?>[] {NativeMemory.class},
            (proxy, method, arguments) -> {
              List<Object> given = arguments == null ? List.of() : List.of(arguments);
              calls.add(new Call(method.getName(), given, Thread.currentThread().getName()));
              gate.await();
              Runnable hook = hooks.remove(method.getName());
              if (hook != null) {
                hook.run();
              }
              Integer left =
                  failures.computeIfPresent(method.getName(), (name, count) -> count - 1);
              if (left != null && left == 0) {
                failures.remove(method.getName());
                if (method.getReturnType() == boolean.class) {
                  return false;
                }
                throw new NativeCallException(method.getName(), 12);
              }
              try {
                return method.invoke(real, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  /** Lets the nth call of that name from now on fail. */
  void failNext(String name, int nth) {
    failures.put(name, nth);
  }

  /** Runs something right before the next call of that name. */
  void beforeNext(String name, Runnable hook) {
    hooks.put(name, hook);
  }

  /** Holds all calls until the returned latch is counted down. */
  CountDownLatch stall() {
    CountDownLatch latch = new CountDownLatch(1);
    gate = latch;
    return latch;
  }

  int count() {
    return calls.size();
  }

  int count(String name) {
    return (int) calls.stream().filter(call -> call.name().equals(name)).count();
  }

  List<Call> calls() {
    return calls;
  }

  long lastLockedAddress() {
    return calls.stream()
        .filter(call -> call.name().equals("lock"))
        .reduce((first, second) -> second)
        .map(call -> (long) call.arguments().get(0))
        .orElseThrow();
  }
}
