package io.asherah.reactive.testsupport;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/**
 * A JVM of its own, for what ends a process or needs one with other limits. It leaves no core dump,
 * and what it prints, and its report where it crashes, in {@code target/child-jvm} of the module.
 */
public final class ChildJvm {
  private static final Path LEFT_BEHIND = Path.of("target", "child-jvm").toAbsolutePath();
  private static final long MINUTES = 3;

  /** It may be one of several that start servers one after the other. */
  private static final Duration TO_SPEAK = Await.TIMEOUT.multipliedBy(3);

  /** Of this JVM: Surefire's own is that of a jar which names the others. */
  public static final String CLASS_PATH =
      System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));

  private final List<String> arguments;
  private final List<String> options = new ArrayList<>();
  private Path home = Path.of(System.getProperty("java.home"));
  private String shell = "exec \"$@\"";

  private ChildJvm(List<String> arguments) {
    this.arguments = arguments;
  }

  /**
   * A program on the class path of this JVM.
   *
   * @param main its main class
   * @param arguments what it is given
   * @return what runs it
   */
  public static ChildJvm main(Class<?> main, String... arguments) {
    List<String> all =
        new ArrayList<>(
            List.of("--enable-native-access=ALL-UNNAMED", "-cp", CLASS_PATH, main.getName()));
    all.addAll(Arrays.asList(arguments));
    return new ChildJvm(all);
  }

  /**
   * Anything that the launcher understands.
   *
   * @param arguments what follows {@code java}
   * @return what runs it
   */
  public static ChildJvm java(String... arguments) {
    return new ChildJvm(List.of(arguments));
  }

  /**
   * Adds options for the JVM.
   *
   * @param added for instance {@code -Xmx64m}
   * @return this
   */
  public ChildJvm options(String... added) {
    options.addAll(Arrays.asList(added));
    return this;
  }

  /**
   * Another JDK than that of this JVM.
   *
   * @param home where it is
   * @return this
   */
  public ChildJvm on(Path home) {
    this.home = home;
    return this;
  }

  /**
   * What a shell does to start it.
   *
   * @param shell for instance {@code ulimit -l 64; exec "$@"}
   * @return this
   */
  public ChildJvm through(String shell) {
    this.shell = shell;
    return this;
  }

  /**
   * Starts it and waits until it has ended.
   *
   * @param directory where it runs
   * @return how it ended
   */
  public Ended run(Path directory) {
    try (Running running = start(directory)) {
      return running.await();
    }
  }

  /**
   * Starts it.
   *
   * @param directory where it runs
   * @return the process
   */
  public Running start(Path directory) {
    List<String> command = new ArrayList<>(List.of("sh", "-c", "ulimit -S -c 0; " + shell, "sh"));
    command.add(home.resolve("bin").resolve("java").toString());
    // The first is for those that the JVM does not know.
    command.add("-XX:+IgnoreUnrecognizedVMOptions");
    Path crashReport = LEFT_BEHIND.resolve("hs_err_" + UUID.randomUUID() + ".log");
    command.add("-XX:ErrorFile=" + crashReport);
    command.addAll(options);
    command.addAll(arguments);
    try {
      Files.createDirectories(LEFT_BEHIND);
      // Apart from the directory, which the program may look at.
      Path outputs = Files.createTempDirectory(LEFT_BEHIND, "printed");
      ProcessBuilder builder =
          new ProcessBuilder(command)
              .directory(directory.toFile())
              .redirectOutput(outputs.resolve("out").toFile())
              .redirectError(outputs.resolve("err").toFile());
      // A JVM announces these on standard error.
      builder.environment().keySet().removeAll(List.of("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"));
      return new Running(builder.start(), outputs, crashReport);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  /** A JVM that runs; closing it kills it. */
  public static final class Running implements AutoCloseable {
    private final Process process;
    private final Path outputs;
    private final Path crashReport;

    private Running(Process process, Path outputs, Path crashReport) {
      this.process = process;
      this.outputs = outputs;
      this.crashReport = crashReport;
    }

    /**
     * The process, to send it a signal.
     *
     * @return its number
     */
    public long pid() {
      return process.pid();
    }

    /**
     * What it has printed so far.
     *
     * @return the lines
     */
    public List<String> out() {
      return lines("out");
    }

    /**
     * Returns when it has printed such a line; fails when it ends without, or after {@link
     * Await#TIMEOUT}.
     *
     * @param start how the line begins
     * @return the line
     */
    public String awaitLine(String start) {
      Await.until(TO_SPEAK, () -> !process.isAlive() || find(start) != null);
      String line = find(start);
      if (line == null) {
        throw new AssertionError("it ended without saying " + start + ": " + ended());
      }
      return line;
    }

    private String find(String start) {
      return out().stream().filter(line -> line.startsWith(start)).findFirst().orElse(null);
    }

    /**
     * Writes a line to its standard input.
     *
     * @param line what it waits for
     */
    public void tell(String line) {
      try {
        OutputStream input = process.getOutputStream();
        input.write((line + '\n').getBytes(StandardCharsets.UTF_8));
        input.flush();
      } catch (IOException e) {
        throw new AssertionError("it does not listen: " + ended(), e);
      }
    }

    /**
     * Sends it a signal.
     *
     * @param name for instance {@code TERM}
     */
    public void signal(String name) {
      try {
        int exitCode =
            new ProcessBuilder("sh", "-c", "kill -s " + name + " " + pid()).start().waitFor();
        if (exitCode != 0) {
          throw new AssertionError("kill ended with " + exitCode);
        }
      } catch (IOException | InterruptedException e) {
        throw new AssertionError(e);
      }
    }

    /**
     * Waits until it has ended.
     *
     * @return how
     */
    public Ended await() {
      try {
        if (!process.waitFor(MINUTES, TimeUnit.MINUTES)) {
          throw new AssertionError("it did not end: " + lines("out") + lines("err"));
        }
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
      return ended();
    }

    private Ended ended() {
      try {
        return new Ended(
            process.waitFor(),
            lines("out"),
            lines("err"),
            Files.exists(crashReport) ? Files.readString(crashReport) : "");
      } catch (IOException | InterruptedException e) {
        throw new AssertionError(e);
      }
    }

    private List<String> lines(String name) {
      try {
        return Files.readAllLines(outputs.resolve(name));
      } catch (IOException e) {
        throw new AssertionError(e);
      }
    }

    @Override
    public void close() {
      process.destroyForcibly();
    }
  }

  /**
   * How a JVM ended.
   *
   * @param exitCode 128 and the number of the signal where one ended it
   * @param out the lines of its standard output
   * @param err the lines of its standard error
   * @param crashReport what the JVM wrote as it crashed, or nothing
   */
  public record Ended(int exitCode, List<String> out, List<String> err, String crashReport) {}
}
