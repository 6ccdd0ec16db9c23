package io.asherah.reactive.benchmarks;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.results.format.ResultFormatType;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;

/**
 * Runs the benchmarks with one thread and with two, and prints how our throughput compares with
 * that of canonical Java. Fails where a warm read is not fast enough.
 *
 * <p>Arguments: {@code quick} or {@code full}, a directory for the results as JSON, options of JMH,
 * which come before those of the mode.
 */
public final class Ratios {
  private static final List<Integer> THREADS = List.of(1, 2);
  private static final double LEAST_WARM_READ_RATIO = 50;

  /** Equal for both implementations. */
  private static final String[] JVM_ARGUMENTS = {"-Xms512m", "-Xmx512m", "-XX:+UseParallelGC"};

  private Ratios() {}

  public static void main(String[] arguments) throws Exception {
    Settings settings = Settings.valueOf(arguments[0].toUpperCase(Locale.ROOT));
    Path directory = Files.createDirectories(Path.of(arguments[1]));
    CommandLineOptions options =
        new CommandLineOptions(
            List.of(arguments).subList(2, arguments.length).toArray(String[]::new));
    if (options.shouldHelp()) {
      options.showHelp();
      return;
    }

    List<RunResult> results = new ArrayList<>();
    List<Integer> threads =
        options.getThreads().hasValue() ? List.of(options.getThreads().get()) : THREADS;
    for (int count : threads) {
      results.addAll(run(settings, count, options, directory));
    }

    Collection<Pair> pairs = pairs(results);
    System.out.println();
    System.out.println("| benchmark | threads | ours, ops/s | canonical, ops/s | ratio |");
    System.out.println("|---|--:|--:|--:|--:|");
    pairs.forEach(pair -> System.out.println(pair.row()));

    boolean tooSlow = false;
    for (Pair pair : pairs) {
      // Canonical's reads of one secret overlap on a busy machine, and are warm then.
      if (pair.benchmark.startsWith(WarmRead.class.getSimpleName())
          && !pair.benchmark.contains(Sharing.SHARED.name().toLowerCase(Locale.ROOT))
          && !(pair.ratio() >= LEAST_WARM_READ_RATIO)) {
        System.err.printf(
            Locale.ROOT,
            "%s with %d thread(s) is %.1f times canonical's throughput, less than %.0f times%n",
            pair.benchmark,
            pair.threads,
            pair.ratio(),
            LEAST_WARM_READ_RATIO);
        tooSlow = true;
      }
    }
    if (tooSlow) {
      System.exit(1);
    }
  }

  private static Collection<RunResult> run(
      Settings settings, int threads, CommandLineOptions options, Path directory) throws Exception {
    ChainedOptionsBuilder builder =
        new OptionsBuilder()
            .parent(options)
            .mode(Mode.Throughput)
            .timeUnit(TimeUnit.SECONDS)
            .threads(threads)
            .forks(options.getForkCount().orElse(settings.forks))
            .warmupIterations(options.getWarmupIterations().orElse(settings.warmupIterations))
            .warmupTime(options.getWarmupTime().orElse(settings.time))
            .measurementIterations(options.getMeasurementIterations().orElse(settings.iterations))
            .measurementTime(options.getMeasurementTime().orElse(settings.time))
            .shouldFailOnError(true)
            .resultFormat(ResultFormatType.JSON)
            .result(directory.resolve("threads-" + threads + ".json").toString());
    if (options.getIncludes().isEmpty()) {
      builder.include("^" + Ratios.class.getPackageName() + "\\.");
    }
    if (!options.getJvmArgs().hasValue()) {
      builder.jvmArgs(JVM_ARGUMENTS);
    }
    if (threads == 1 && !options.getParameter("sharing").hasValue()) {
      // A single thread shares with nobody.
      builder.param("sharing", Sharing.OWN.name());
    }
    return new Runner(builder.build()).run();
  }

  /** The results of methods `ours` and `canonical` of the same class, parameters and threads. */
  private static Collection<Pair> pairs(Collection<RunResult> results) {
    Map<String, Pair> pairs = new TreeMap<>();
    for (RunResult result : results) {
      BenchmarkParams run = result.getParams();
      String[] name = run.getBenchmark().split("\\.");
      StringBuilder benchmark = new StringBuilder(name[name.length - 2]);
      for (String parameter : run.getParamsKeys()) {
        benchmark.append(", ").append(run.getParam(parameter).toLowerCase(Locale.ROOT));
      }
      Pair pair =
          pairs.computeIfAbsent(
              benchmark + " " + run.getThreads(),
              key -> new Pair(benchmark.toString(), run.getThreads()));
      switch (name[name.length - 1]) {
        case "ours" -> pair.ours = result.getPrimaryResult();
        case "canonical" -> pair.canonical = result.getPrimaryResult();
        default -> throw new IllegalStateException("neither: " + run.getBenchmark());
      }
    }
    pairs.values().removeIf(pair -> pair.ours == null || pair.canonical == null);
    return pairs.values();
  }

  private enum Settings {
    QUICK(1, 3, 10, TimeValue.milliseconds(400)),
    FULL(3, 5, 5, TimeValue.seconds(2));

    private final int forks;
    private final int warmupIterations;
    private final int iterations;
    private final TimeValue time;

    Settings(int forks, int warmupIterations, int iterations, TimeValue time) {
      this.forks = forks;
      this.warmupIterations = warmupIterations;
      this.iterations = iterations;
      this.time = time;
    }
  }

  private static final class Pair {
    private final String benchmark;
    private final int threads;
    private Result<?> ours;
    private Result<?> canonical;

    Pair(String benchmark, int threads) {
      this.benchmark = benchmark;
      this.threads = threads;
    }

    double ratio() {
      return ours.getScore() / canonical.getScore();
    }

    /** That of a quotient of two independent measurements. */
    double ratioError() {
      return ratio()
          * Math.hypot(
              ours.getScoreError() / ours.getScore(),
              canonical.getScoreError() / canonical.getScore());
    }

    String row() {
      return String.format(
          Locale.ROOT,
          "| %s | %d | %,.0f ± %,.0f | %,.0f ± %,.0f | %.2f ± %.2f × |",
          benchmark,
          threads,
          ours.getScore(),
          ours.getScoreError(),
          canonical.getScore(),
          canonical.getScoreError(),
          ratio(),
          ratioError());
    }
  }
}
