package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Hiding;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiPredicate;
import org.jspecify.annotations.Nullable;

/** The real memory of this machine, with every native call recorded; calls can fail or stall. */
final class RecordingMemory {
  private final Queue<Call> calls = new ConcurrentLinkedQueue<>();
  private final Queue<Call> failedCalls = new ConcurrentLinkedQueue<>();
  private final AtomicInteger numbers = new AtomicInteger();
  private final Map<String, Set<Integer>> failures = new ConcurrentHashMap<>();
  private final Map<String, Runnable> hooks = new ConcurrentHashMap<>();
  private volatile CountDownLatch gate = new CountDownLatch(0);
  private volatile BiPredicate<Integer, String> failing = (number, name) -> false;
  private volatile boolean lockThrows;
  private volatile @Nullable Hiding hiding;
  private volatile @Nullable Long limit;

  record Call(int number, String name, List<Object> arguments, String thread) {
    long argument(int index) {
      return (long) arguments.get(index);
    }
  }

  NativeMemory memory() {
    NativeMemory real = Platforms.memory(false);
    return (NativeMemory)
        Proxy.newProxyInstance(
            NativeMemory.class.getClassLoader(),
            new Class<?>[] {NativeMemory.class},
            (proxy, method, arguments) -> {
              List<Object> given = arguments == null ? List.of() : List.of(arguments);
              Call call =
                  new Call(
                      numbers.getAndIncrement(),
                      method.getName(),
                      given,
                      Thread.currentThread().getName());
              calls.add(call);
              gate.await();
              Runnable hook = hooks.remove(method.getName());
              if (hook != null) {
                try {
                  hook.run();
                } catch (RuntimeException | Error e) {
                  failedCalls.add(call);
                  throw e;
                }
              }
              if (shouldFail(method.getName()) || failing.test(call.number(), call.name())) {
                failedCalls.add(call);
                if (method.getReturnType() == boolean.class && !lockThrows) {
                  return false;
                }
                throw new NativeCallException(method.getName(), 12);
              }
              Long fakedLimit = limit;
              if (fakedLimit != null && method.getName().equals("lockLimit")) {
                return fakedLimit;
              }
              if (fakedLimit != null && method.getName().equals("mayExceedLockLimit")) {
                return false;
              }
              Hiding faked = hiding;
              if (faked != null && method.getName().equals("hide")) {
                if (faked == Hiding.HIDDEN) {
                  real.protect(call.argument(0), call.argument(1), NativeMemory.Access.READ_WRITE);
                }
                return faked;
              }
              try {
                return method.invoke(real, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  private boolean shouldFail(String name) {
    Set<Integer> at = failures.get(name);
    return at != null && at.remove(count(name));
  }

  /** Lets the nth call of that name from now on fail. */
  void failNext(String name, int nth) {
    failures.computeIfAbsent(name, n -> ConcurrentHashMap.newKeySet()).add(count(name) + nth);
  }

  /** Lets calls fail by their number, from 0, and name, until {@link #heal}. */
  void failIf(BiPredicate<Integer, String> failing) {
    this.failing = failing;
  }

  void heal() {
    failing = (number, name) -> false;
  }

  /** Lets a failing lock() fail for another reason than the limit. */
  void lockFailsForAnotherReason() {
    lockThrows = true;
  }

  /** Lets no more regions be locked at once. */
  void allowRegions(int most) {
    failIf(
        (number, name) -> {
          long refused = failedCalls.stream().filter(call -> call.name().equals("lock")).count();
          // The call that is asked about is among them already.
          return name.equals("lock") && count("lock") - 1 - refused - count("unlock") >= most;
        });
  }

  /** Answers for the system that so much may be locked, and no more. */
  void answerLimit(long bytes) {
    limit = bytes;
  }

  /** Answers for the system whether there are pages of memfd_secret. */
  void answerHide(Hiding answer) {
    hiding = answer;
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
    return numbers.get();
  }

  int count(String name) {
    return (int) calls.stream().filter(call -> call.name().equals(name)).count();
  }

  List<Call> calls() {
    return List.copyOf(calls);
  }

  List<Call> failedCalls() {
    return List.copyOf(failedCalls);
  }

  /** Of the mappings that a failure did not keep from coming or going. */
  Map<Long, Long> mappingsLeft() {
    Map<Long, Long> left = new HashMap<>();
    for (Call call : calls) {
      if (call.name().equals("map") && !failedCalls.contains(call)) {
        left.merge(call.argument(0), 1L, Long::sum);
      } else if (call.name().equals("unmap")) {
        left.merge(call.argument(1), -1L, Long::sum);
      }
    }
    left.values().removeIf(count -> count == 0);
    return left;
  }

  /**
   * What the pages of each address allow that was protected and is not yet unlocked or unmapped.
   */
  Map<Long, NativeMemory.Access> pages() {
    Map<Long, NativeMemory.Access> pages = new HashMap<>();
    for (Call call : calls) {
      switch (call.name()) {
        case "protect" -> {
          if (!failedCalls.contains(call)) {
            pages.put(call.argument(0), (NativeMemory.Access) call.arguments().get(2));
          }
        }
        case "hide" -> pages.put(call.argument(0), NativeMemory.Access.READ_WRITE);
        case "unmap" -> {
          long from = call.argument(0);
          pages.keySet().removeIf(page -> page >= from && page < from + call.argument(1));
        }
        default -> {}
      }
    }
    return pages;
  }

  long lastLockedAddress() {
    return calls.stream()
        .filter(call -> call.name().equals("lock"))
        .reduce((first, second) -> second)
        .map(call -> (long) call.arguments().get(0))
        .orElseThrow();
  }
}
