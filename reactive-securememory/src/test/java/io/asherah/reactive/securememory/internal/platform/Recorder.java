package io.asherah.reactive.securememory.internal.platform;

import java.lang.reflect.Proxy;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A C library or kernel32 that notes its calls and answers as the test says. */
final class Recorder<L> {
  final L library;
  final List<String> calls = new CopyOnWriteArrayList<>();

  private final Map<String, Queue<Answer>> answers = new HashMap<>();
  private final Map<String, Number> successes = new HashMap<>();
  private final Map<String, long[][]> outputs = new HashMap<>();
  private int error;

  private record Answer(long result, int error) {}

  private Recorder(Class<L> type) {
    library =
        type.cast(
            Proxy.newProxyInstance(
                type.getClassLoader(),
                new Class<?>[] {type},
                (proxy, method, arguments) ->
                    answer(
                        method.getName(),
                        method.getReturnType(),
                        arguments == null ? new Object[0] : arguments)));
  }

  /** One in which everything succeeds, and memory is mapped at 0x10000. */
  static <L extends Libc> Recorder<L> libc(Class<L> type) {
    Recorder<L> recorder = new Recorder<>(type);
    recorder.successes.put("mmap", 0x10000L);
    recorder.successes.put("getpagesize", 0x1000);
    return recorder;
  }

  /** One in which everything succeeds, and memory is allocated at 0x10000. */
  static Recorder<Kernel32> kernel32() {
    Recorder<Kernel32> recorder = new Recorder<>(Kernel32.class);
    for (String function :
        List.of(
            "virtualFree",
            "virtualProtect",
            "virtualLock",
            "virtualUnlock",
            "getProcessWorkingSetSize",
            "setProcessWorkingSetSize")) {
      recorder.successes.put(function, 1);
    }
    recorder.successes.put("virtualAlloc", 0x10000L);
    recorder.successes.put("canExcludeFromErrorReports", 1);
    return recorder.writes("getProcessWorkingSetSize", new long[] {0x32000}, new long[] {0x159000});
  }

  /** Answers the next call of that name so; several answers are given in turn. */
  Recorder<L> answers(String function, long result, int withError) {
    answers
        .computeIfAbsent(function, name -> new ArrayDeque<>())
        .add(new Answer(result, withError));
    return this;
  }

  /** Answers all calls of that name so that have no other answer. */
  Recorder<L> always(String function, Number result) {
    successes.put(function, result);
    return this;
  }

  /** Writes that into the arrays that the function gets. */
  Recorder<L> writes(String function, long[]... arrays) {
    outputs.put(function, arrays);
    return this;
  }

  private Object answer(String function, Class<?> type, Object[] arguments) {
    if (function.equals("errno") || function.equals("lastError")) {
      return error;
    }
    if (!function.equals("canExcludeFromErrorReports")) {
      calls.add(
          Stream.of(arguments)
              .map(Recorder::print)
              .collect(Collectors.joining(", ", function + "(", ")")));
    }
    Queue<Answer> queue = answers.get(function);
    if (queue != null && !queue.isEmpty()) {
      Answer answer = queue.remove();
      error = answer.error;
      return as(type, answer.result);
    }
    int next = 0;
    for (Object argument : arguments) {
      if (argument instanceof long[] array && outputs.containsKey(function)) {
        long[] output = outputs.get(function)[next++];
        System.arraycopy(output, 0, array, 0, output.length);
      } else if (argument instanceof int[] array && outputs.containsKey(function)) {
        Arrays.setAll(array, i -> (int) outputs.get(function)[0][i]);
      }
    }
    return as(type, successes.getOrDefault(function, 0).longValue());
  }

  private static Object as(Class<?> type, long result) {
    if (type == boolean.class) {
      return result != 0;
    }
    return type == long.class ? (Object) result : (Object) (int) result;
  }

  private static String print(Object argument) {
    if (argument instanceof long[] array) {
      return Arrays.toString(array);
    }
    if (argument instanceof int[] array) {
      return "int[" + array.length + "]";
    }
    long number = ((Number) argument).longValue();
    return number > -10 && number < 10 ? String.valueOf(number) : "0x" + Long.toHexString(number);
  }
}
