package io.asherah.reactive.testservers;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.JarURLConnection;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The programs of a server, unpacked from the artifact they come in, and a data directory as they
 * make it, of which every server gets a copy. Both are made once for a module, in {@code
 * target/servers}.
 */
abstract class Distribution {
  private final String resource;
  private final String program;
  private final String hint;
  private Path home;
  private Optional<String> unavailable;

  /**
   * @param resource any that is in the artifact and in no other
   * @param program the server, in the directory with the programs
   * @param hint what to do where a library is missing
   */
  Distribution(String resource, String program, String hint) {
    this.resource = resource;
    this.program = program;
    this.hint = hint;
  }

  /** Where the servers may put what they write. */
  Path base() {
    return Path.of("target", "servers").toAbsolutePath();
  }

  /** What a command begins with, so that it runs as a user that may run it. */
  List<String> prefix() {
    return List.of();
  }

  /** Gives the directory to the user that the server runs as. */
  void own(Path directory) {}

  abstract void unpack(URL resource, Path programs) throws IOException;

  /** Makes a data directory with the users and the database of all servers. */
  abstract void initialize(Path programs, Path data) throws IOException;

  final Path programs() {
    return home().resolve("programs");
  }

  final Path data() {
    return home().resolve("template");
  }

  final List<String> command(Path programs, String name) {
    List<String> command = new ArrayList<>(prefix());
    command.add(programs.resolve(name).toString());
    return command;
  }

  /** Why it does not run here. */
  final synchronized Optional<String> unavailable() {
    if (unavailable == null) {
      unavailable = Optional.ofNullable(whyNot());
    }
    return unavailable;
  }

  private String whyNot() {
    String platform = System.getProperty("os.name") + " " + System.getProperty("os.arch");
    if (!platform.equals("Linux amd64")) {
      return program + " comes for Linux amd64 and this is " + platform;
    }
    if (getClass().getResource(resource) == null) {
      return program + ": its artifact is not on the class path";
    }
    List<String> command = new ArrayList<>();
    try {
      command.addAll(command(unpacked(), program));
    } catch (IllegalStateException e) {
      return program + ": " + e.getMessage();
    }
    command.add("--version");
    Commands.Ended ended = Commands.tried(command);
    return ended.well() ? null : program + " does not start: " + ended.output() + hint;
  }

  private Path unpacked() {
    return prepared("programs", this::unpackInto);
  }

  private void unpackInto(Path directory) throws IOException {
    unpack(getClass().getResource(resource), directory);
    own(directory);
  }

  private synchronized Path home() {
    if (home == null) {
      unavailable()
          .ifPresent(
              reason -> {
                throw new IllegalStateException(reason);
              });
      Path programs = unpacked();
      home =
          prepared(
                  "template",
                  data -> {
                    own(data);
                    initialize(programs, data);
                  })
              .getParent();
    }
    return home;
  }

  private interface Preparation {
    void in(Path directory) throws IOException;
  }

  /** The directory, complete, by whichever JVM it was made. */
  private Path prepared(String name, Preparation preparation) {
    try {
      // A later version is another directory.
      Path home = base().resolve(jar().getFileName().toString().replaceFirst("\\.jar$", ""));
      Files.createDirectories(home);
      Path directory = home.resolve(name);
      // Among the threads of this JVM the monitor does what the lock does among JVMs.
      try (FileChannel channel =
              FileChannel.open(
                  home.resolve("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          FileLock lock = channel.lock()) {
        if (lock.isValid() && !Files.exists(directory)) {
          String prefix = name + ".unfinished-";
          for (Path left : list(home)) {
            if (left.getFileName().toString().startsWith(prefix)) {
              Directories.delete(left);
            }
          }
          // Not the name that a JVM used which was killed, whose programs may still write there.
          Path unfinished = home.resolve(prefix + ProcessHandle.current().pid());
          Files.createDirectory(unfinished);
          preparation.in(unfinished);
          Files.move(unfinished, directory, StandardCopyOption.ATOMIC_MOVE);
        }
      }
      return directory;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static List<Path> list(Path directory) throws IOException {
    try (Stream<Path> entries = Files.list(directory)) {
      return entries.toList();
    }
  }

  /** The artifact. */
  final Path jar() throws IOException {
    URL url = getClass().getResource(resource);
    if (url.openConnection() instanceof JarURLConnection connection) {
      try {
        return Path.of(connection.getJarFileURL().toURI());
      } catch (URISyntaxException e) {
        throw new IOException(e);
      }
    }
    throw new IOException(url + " is not in a jar");
  }

  static void untar(InputStream input, Path directory) {
    // No symbolic links in the JDK's own formats, and tar is wherever these binaries run.
    Commands.run(List.of("tar", "x", "--no-same-owner", "-C", directory.toString()), input);
  }
}
