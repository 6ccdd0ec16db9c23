package io.asherah.reactive.benchmarks.metastore;

import io.asherah.reactive.testservers.FaultProxy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * Loads keys from PostgreSQL, ours beside canonical Java, through as many connections, and prints
 * how they compare: throughput, latency, and the threads that worked. Both are in this JVM and take
 * turns.
 *
 * <p>Arguments: {@code quick} or {@code full}, names of workloads, by default all.
 */
public final class MetastoreThroughput {
  private static final List<Integer> CONCURRENCY = List.of(1, 16, 256);

  private MetastoreThroughput() {}

  private enum Settings {
    QUICK(Duration.ofSeconds(2), 3, Duration.ofMillis(400)),
    FULL(Duration.ofSeconds(10), 5, Duration.ofSeconds(2));

    private final Duration warmUp;
    private final int rounds;
    private final Duration time;

    Settings(Duration warmUp, int rounds, Duration time) {
      this.warmUp = warmUp;
      this.rounds = rounds;
      this.time = time;
    }
  }

  /** How far away the server is, and what is tried from there. */
  private enum Network {
    NONE(Duration.ZERO, List.of(Workload.values())),
    DELAY_1MS(Duration.ofMillis(1), List.of(Workload.LOAD, Workload.DECRYPT)),
    DELAY_5MS(Duration.ofMillis(5), List.of(Workload.LOAD, Workload.DECRYPT));

    private final Duration delay;
    private final List<Workload> workloads;

    Network(Duration delay, List<Workload> workloads) {
      this.delay = delay;
      this.workloads = workloads;
    }

    /** What is added to the name of a workload. */
    private String suffix() {
      return this == NONE ? "" : "-" + name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /** What both sides made of the same. */
  private record Row(
      String name, int concurrency, List<Measurement> ours, List<Measurement> theirs) {
    double ratio() {
      return Measurement.medianThroughput(ours) / Measurement.medianThroughput(theirs);
    }

    String text() {
      return "| %s | %d | %.0f | %.0f | %.2f | %s | %s | %d | %d | %.2f | %.2f |"
          .formatted(
              name,
              concurrency,
              Measurement.medianThroughput(ours),
              Measurement.medianThroughput(theirs),
              ratio(),
              percentiles(ours),
              percentiles(theirs),
              threads(ours),
              threads(theirs),
              loads(ours),
              loads(theirs));
    }

    private static String percentiles(List<Measurement> runs) {
      long[] all = Measurement.merged(runs);
      return "%.2f / %.2f".formatted(all[all.length / 2] / 1e6, all[all.length * 99 / 100] / 1e6);
    }

    private static int threads(List<Measurement> runs) {
      return runs.stream().mapToInt(Measurement::threads).max().orElseThrow();
    }

    private static double loads(List<Measurement> runs) {
      return runs.stream().mapToDouble(Measurement::loadsPerOperation).average().orElseThrow();
    }
  }

  public static void main(String[] arguments) {
    Locale.setDefault(Locale.ROOT);
    Settings settings = Settings.valueOf(arguments[0].toUpperCase(Locale.ROOT));
    List<String> only = Arrays.asList(arguments).subList(1, arguments.length);
    List<Row> rows = new ArrayList<>();
    try (Fixture fixture = new Fixture()) {
      for (Network network : Network.values()) {
        List<Workload> workloads =
            network.workloads.stream()
                .filter(workload -> only.isEmpty() || only.contains(workload.toString()))
                .toList();
        rows.addAll(measure(settings, fixture, network, workloads));
      }
    }
    print(rows);
    // Threads of drivers and of canonical Java may go on.
    System.exit(0);
  }

  private static List<Row> measure(
      Settings settings, Fixture fixture, Network network, List<Workload> workloads) {
    List<Row> rows = new ArrayList<>();
    FaultProxy proxy = network == Network.NONE ? null : FaultProxy.to(fixture.server);
    int port = proxy == null ? fixture.server.port() : proxy.port();
    try (proxy;
        Side ours = new Ours(fixture, port);
        Side theirs = new Canonical(fixture, port)) {
      if (proxy == null) {
        for (Workload workload : workloads) {
          ours.run(workload, 16, settings.warmUp);
          theirs.run(workload, 16, settings.warmUp);
        }
      } else {
        proxy.delay(network.delay);
      }
      for (Workload workload : workloads) {
        for (int concurrency : CONCURRENCY) {
          Row row =
              new Row(
                  workload + network.suffix(), concurrency, new ArrayList<>(), new ArrayList<>());
          System.err.println(row.name + ", concurrency " + concurrency);
          for (int round = 0; round < settings.rounds; round++) {
            // Each is the first one in every other round.
            if (round % 2 == 0) {
              row.ours.add(ours.run(workload, concurrency, settings.time));
            }
            row.theirs.add(theirs.run(workload, concurrency, settings.time));
            if (round % 2 != 0) {
              row.ours.add(ours.run(workload, concurrency, settings.time));
            }
          }
          rows.add(row);
        }
      }
    }
    return rows;
  }

  private static void print(List<Row> rows) {
    System.out.printf(
        "%nJava %s, %d processors, %d connections on each side%n%n",
        Runtime.version(), Runtime.getRuntime().availableProcessors(), Fixture.CONNECTIONS);
    System.out.println(
        "| operation | concurrency | ours, ops/s | canonical, ops/s | ratio"
            + " | ours, ms p50 / p99 | canonical, ms p50 / p99"
            + " | ours, threads | canonical, threads | ours, loads/op | canonical, loads/op |");
    System.out.println("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    rows.forEach(row -> System.out.println(row.text()));
    System.out.println();
    rows.forEach(
        row ->
            System.out.printf(
                "ratio metastore-%s-%d-over-canonical %.2f%n",
                row.name, row.concurrency, row.ratio()));
  }
}
