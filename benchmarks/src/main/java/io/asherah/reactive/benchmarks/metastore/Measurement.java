package io.asherah.reactive.benchmarks.metastore;

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import java.util.stream.Stream;

/**
 * What came of one run.
 *
 * @param nanos how long it took
 * @param latencies of all operations, in nanoseconds
 * @param threads how many threads of this JVM worked for it
 * @param loads how often the metastore was asked
 */
record Measurement(long nanos, long[] latencies, int threads, long loads) {

  double throughput() {
    return latencies.length * 1e9 / nanos;
  }

  double loadsPerOperation() {
    return (double) loads / latencies.length;
  }

  static long[] merged(Collection<Measurement> runs) {
    return runs.stream().flatMapToLong(run -> LongStream.of(run.latencies)).sorted().toArray();
  }

  static double medianThroughput(Collection<Measurement> runs) {
    double[] all = runs.stream().mapToDouble(Measurement::throughput).sorted().toArray();
    return all[all.length / 2];
  }

  /** Takes the time of a run, and finds the threads that worked in it. */
  static final class Watch {
    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    /** The network between, and what a JVM has always. */
    private static final List<String> NOT_OF_A_SIDE =
        List.of(
            "fault-proxy", "Common-Cleaner", "Reference Handler", "Finalizer", "Signal Dispatcher");

    private final Map<Long, Long> before = cpuTimes();
    private final long caller = Thread.currentThread().getId();
    private final Side side;
    private final long loads;
    private final long start;

    private Watch(Side side) {
      this.side = side;
      this.loads = side.loads();
      this.start = System.nanoTime();
    }

    static Watch start(Side side) {
      return new Watch(side);
    }

    /** Before threads of the run end. */
    Measurement stop(Stream<Latencies> latencies) {
      long nanos = System.nanoTime() - start;
      long asked = side.loads() - loads;
      int threads =
          (int)
              cpuTimes().entrySet().stream()
                  .filter(thread -> thread.getKey() != caller)
                  .filter(thread -> thread.getValue() > before.getOrDefault(thread.getKey(), 0L))
                  .count();
      long[] all = latencies.map(Latencies::toArray).flatMapToLong(Arrays::stream).toArray();
      return new Measurement(nanos, all, threads, asked);
    }

    private static Map<Long, Long> cpuTimes() {
      Map<Long, Long> times = new HashMap<>();
      for (var thread : THREADS.getThreadInfo(THREADS.getAllThreadIds())) {
        if (thread != null
            && NOT_OF_A_SIDE.stream().noneMatch(thread.getThreadName()::startsWith)) {
          times.put(thread.getThreadId(), THREADS.getThreadCpuTime(thread.getThreadId()));
        }
      }
      return times;
    }
  }
}
