package io.asherah.reactive.testservers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;

/**
 * The process of a server, and its children. None survives this JVM: a shutdown hook stops them,
 * and where that does not run, a shell that notices the end of the JVM by the end of its input.
 */
final class ServerProcess {
  private static final Set<ServerProcess> RUNNING = new LinkedHashSet<>();
  private static final Set<Path> DIRECTORIES = new LinkedHashSet<>();
  private static boolean exiting;

  static {
    Runtime.getRuntime().addShutdownHook(new Thread(ServerProcess::exit, "test-servers-exit"));
  }

  /** Waits for the end of the JVM; then ends the server and removes its directory. */
  private static final String WATCHDOG =
      """
      trap '' HUP INT QUIT TERM
      read -r line
      kill -s "$2" "$1" 2> /dev/null
      i=0
      while kill -0 "$1" 2> /dev/null && [ $i -lt 50 ]; do sleep 0.1; i=$((i + 1)); done
      kill -s KILL "$1" 2> /dev/null
      rm -rf "$3"
      """;

  private final Process process;
  private final Process watchdog;
  private final String stopSignal;

  private ServerProcess(Process process, Process watchdog, String stopSignal) {
    this.process = process;
    this.watchdog = watchdog;
    this.stopSignal = stopSignal;
  }

  /**
   * Starts it.
   *
   * @param directory to be deleted when this JVM ends
   * @param stopSignal by which it ends at once, without a trace
   */
  static ServerProcess start(
      List<String> command, Path directory, Path workingDirectory, Path log, String stopSignal) {
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(workingDirectory.toFile())
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
    // The same everywhere; of the zone the tests choose another by an option of the server.
    builder.environment().put("TZ", "UTC");
    builder.environment().put("LC_ALL", "C");
    builder.environment().keySet().removeIf(name -> name.startsWith("PG"));
    synchronized (ServerProcess.class) {
      if (exiting) {
        throw new IllegalStateException("this JVM is about to end");
      }
      try {
        Process process = builder.start();
        process.getOutputStream().close();
        Process watchdog =
            new ProcessBuilder(
                    "sh",
                    "-c",
                    WATCHDOG,
                    "test-servers-watchdog",
                    Long.toString(process.pid()),
                    stopSignal,
                    directory.toString())
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        ServerProcess started = new ServerProcess(process, watchdog, stopSignal);
        RUNNING.add(started);
        return started;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /** Has the directory deleted when this JVM ends. */
  static synchronized void deleteAtExit(Path directory) {
    DIRECTORIES.add(directory);
  }

  static synchronized void delete(Path directory) {
    Directories.delete(directory);
    DIRECTORIES.remove(directory);
  }

  private static void exit() {
    List<ServerProcess> running;
    synchronized (ServerProcess.class) {
      exiting = true;
      running = List.copyOf(RUNNING);
    }
    running.forEach(server -> server.signal(server.stopSignal));
    running.forEach(ServerProcess::stop);
    synchronized (ServerProcess.class) {
      DIRECTORIES.forEach(Directories::delete);
    }
  }

  boolean isAlive() {
    return process.isAlive();
  }

  /** Ends it, at once but so that it can free what outlives a process. */
  void stop() {
    if (isAlive()) {
      signal(stopSignal);
      try {
        process.waitFor(5, TimeUnit.SECONDS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
    kill();
  }

  /** Returns when neither it nor any of its children runs any more. */
  void kill() {
    // The first, or this JVM's end could let it signal a process that is not ours.
    watchdog.destroyForcibly();
    // Stopped, it has no further children.
    signal("STOP");
    List<ProcessHandle> children = process.descendants().toList();
    process.destroyForcibly();
    children.forEach(ProcessHandle::destroyForcibly);
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (process.isAlive() || children.stream().anyMatch(ServerProcess::runs)) {
      if (System.nanoTime() - deadline > 0) {
        throw new IllegalStateException("the server does not end: " + process + children);
      }
      pause();
    }
    synchronized (ServerProcess.class) {
      RUNNING.remove(this);
    }
  }

  private static boolean runs(ProcessHandle child) {
    if (!child.isAlive()) {
      return false;
    }
    try {
      // A child that lost its parent stays in the table as a zombie where nobody asks for its exit.
      String stat = Files.readString(Path.of("/proc", Long.toString(child.pid()), "stat"));
      return stat.charAt(stat.lastIndexOf(')') + 2) != 'Z';
    } catch (IOException e) {
      return false;
    }
  }

  private void signal(String name) {
    if (isAlive()) {
      Commands.tried(List.of("sh", "-c", "kill -s " + name + " " + process.pid()));
    }
  }

  static void pause() {
    try {
      Thread.sleep(10);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    }
  }
}
