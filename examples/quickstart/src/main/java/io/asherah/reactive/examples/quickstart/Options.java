package io.asherah.reactive.examples.quickstart;

import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** The command line. */
record Options(boolean help, String partition, @Nullable Path file) {
  static final String HELP =
      """
      Usage: java -jar quickstart.jar [--partition <id>] [<file>]

      Seals every line of a file with Asherah Reactive, opens it again, compares the
      bytes, and prints one sealed record, counts, and what was held in memory. The
      keys are made for this run and wiped at its end; nothing is stored.

        <file>            any file, text or not; a line ends with a line feed and is
                          at most 16 MiB long. Without it README.md in the working
                          directory, or else the copy of it in this program
        --partition <id>  whose keys to use, usually a tenant or a user; default
                          %s
        --help            print this text

      Exit code 0: every record was verified, and the last line of the output is
      "verified <n> records". 1: sealing or opening failed. 2: the command line is
      wrong, or the file cannot be read.
      """
          .formatted(Options.DEFAULT_PARTITION);

  private static final String DEFAULT_PARTITION = "shopper123";

  static Options parse(String... arguments) throws UsageException {
    String partition = DEFAULT_PARTITION;
    Path file = null;
    for (int i = 0; i < arguments.length; i++) {
      String argument = arguments[i];
      if (argument.equals("--help") || argument.equals("-h")) {
        return new Options(true, partition, file);
      } else if (argument.equals("--partition")) {
        i++;
        if (i == arguments.length || arguments[i].isEmpty()) {
          throw new UsageException("--partition needs an id");
        }
        partition = arguments[i];
      } else if (argument.startsWith("-")) {
        throw new UsageException("unknown option " + argument);
      } else if (file != null) {
        throw new UsageException("more than one file");
      } else {
        file = toPath(argument);
      }
    }
    return new Options(false, partition, file);
  }

  Input openInput() throws IOException {
    return file == null ? Input.ofReadme() : Input.of(file);
  }

  private static Path toPath(String argument) throws UsageException {
    if (argument.isEmpty()) {
      throw new UsageException("the name of the file is empty");
    }
    try {
      return Path.of(argument);
    } catch (InvalidPathException e) {
      throw new UsageException("cannot read %s: this system has no such names".formatted(argument));
    }
  }

  /** A command line that makes no sense. */
  static final class UsageException extends Exception {
    private static final long serialVersionUID = 1L;

    UsageException(String reason) {
      super(reason + "; see --help");
    }
  }
}
