package io.asherah.reactive.testservers;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Runs programs that end by themselves. */
final class Commands {
  /** How one ended, and what it printed to both of its outputs. */
  record Ended(int exitCode, String output) {
    boolean well() {
      return exitCode == 0;
    }
  }

  private static final Set<Process> RUNNING = ConcurrentHashMap.newKeySet();

  static {
    Thread hook =
        new Thread(() -> RUNNING.forEach(Process::destroyForcibly), "test-servers-commands");
    Runtime.getRuntime().addShutdownHook(hook);
  }

  private Commands() {}

  /** An empty file for as long as a command runs. */
  static Path temporary(String suffix) throws IOException {
    Path file = Files.createTempFile("test-servers", suffix);
    // Where the JVM ends in between.
    file.toFile().deleteOnExit();
    return file;
  }

  /** Runs it, or says with exit code 127 why it could not be started. */
  static Ended tried(List<String> command) {
    try {
      return ended(command, InputStream.nullInputStream());
    } catch (IOException e) {
      return new Ended(127, String.valueOf(e.getMessage()));
    }
  }

  static void run(List<String> command) {
    run(command, InputStream.nullInputStream());
  }

  static void run(List<String> command, InputStream input) {
    Ended ended;
    try {
      ended = ended(command, input);
    } catch (IOException e) {
      throw new UncheckedIOException(command + " did not run", e);
    }
    if (!ended.well()) {
      throw new IllegalStateException(
          command + " ended with " + ended.exitCode() + ": " + ended.output());
    }
  }

  private static Ended ended(List<String> command, InputStream input) throws IOException {
    // Not a pipe, so that a program that prints much while it still reads does not wait for us.
    Path output = temporary(".out");
    try {
      ProcessBuilder builder =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.to(output.toFile()));
      builder.environment().put("TZ", "UTC");
      builder.environment().put("LC_ALL", "C");
      Process process = builder.start();
      RUNNING.add(process);
      try (OutputStream stdin = process.getOutputStream()) {
        input.transferTo(stdin);
      } catch (IOException e) {
        // It ended early; its exit code and output tell more.
      }
      try {
        int exitCode = process.waitFor();
        return new Ended(exitCode, Files.readString(output, StandardCharsets.ISO_8859_1).strip());
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IOException("interrupted", e);
      } finally {
        process.destroyForcibly();
        RUNNING.remove(process);
      }
    } finally {
      Files.deleteIfExists(output);
    }
  }
}
