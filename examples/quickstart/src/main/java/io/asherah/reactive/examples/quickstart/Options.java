package io.asherah.reactive.examples.quickstart;

import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The command line. */
record Options(Command command, String partition, @Nullable Path file, @Nullable Store store) {
  static final String HELP =
      """
      Usage: java -jar quickstart.jar [<option>...] [<file>]
             java -jar quickstart.jar encrypt --store <file> --partition <id>
             java -jar quickstart.jar decrypt --store <file> --partition <id>

      Seals every line of a file with Asherah Reactive, opens it again, compares the
      bytes, and prints one sealed record, counts, and what was held in memory. The
      keys are made for this run and wiped at its end, unless --store keeps them.

      encrypt reads a payload of at most 16 MiB from standard input and writes one
      record, a line of JSON, to standard output. decrypt reads such a record and
      writes the payload, and nothing else. Neither writes anything if it fails.

        <file>               any file, text or not; a line ends with a line feed and
                             is at most 16 MiB long. Without it README.md in the
                             working directory, or else the copy in this program
        --partition <id>     whose keys to use, usually a tenant or a user; default
                             %s, but encrypt and decrypt want it named
        --store <file>       keep the keys, for other runs to use, in <file>.mv.db, a
                             database of H2. They are useless without the master key.
                             One process at a time has it, others wait some seconds
        --master-key <file>  the master key of the store: 32 bytes, and nothing else.
                             Without it that is <store>.master, which is made
                             together with the store. Guard it: who has it and the
                             store opens every record, and without it nobody does
        --help               print this text

      Exit code 0: all went well; where lines are sealed, the last line of the output
      is "verified <n> records". 1: sealing or opening failed. 2: the command line is
      wrong, or a file cannot be read.
      """
          .formatted(Options.DEFAULT_PARTITION);

  private static final String DEFAULT_PARTITION = "shopper123";

  /** What to do. */
  enum Command {
    HELP,
    DEMONSTRATE,
    ENCRYPT,
    DECRYPT;

    /** The first argument names a command, or else there is none. */
    static Command of(String argument) {
      return switch (argument) {
        case "encrypt" -> ENCRYPT;
        case "decrypt" -> DECRYPT;
        default -> DEMONSTRATE;
      };
    }
  }

  static Options parse(String... arguments) throws UsageException {
    List<String> all = Arrays.asList(arguments);
    Command command = all.isEmpty() ? Command.DEMONSTRATE : Command.of(all.get(0));
    Iterator<String> rest =
        all.subList(command == Command.DEMONSTRATE ? 0 : 1, all.size()).iterator();
    String partition = null;
    Path file = null;
    String store = null;
    Path masterKey = null;
    while (rest.hasNext()) {
      String argument = rest.next();
      switch (argument) {
        case "--help", "-h" -> {
          return new Options(Command.HELP, DEFAULT_PARTITION, null, null);
        }
        case "--partition" -> partition = value(rest, "--partition needs an id");
        case "--store" -> store = value(rest, "--store needs a file");
        case "--master-key" ->
            masterKey = toPath(value(rest, "--master-key needs a file with 32 bytes"));
        default -> {
          requireFile(argument, command, file);
          file = toPath(argument);
        }
      }
    }
    if (masterKey != null && store == null) {
      throw new UsageException("--master-key needs --store: other keys end with this run anyway");
    }
    if (command != Command.DEMONSTRATE && store == null) {
      throw new UsageException(
          arguments[0] + " needs --store: without one, the keys would be gone with this process");
    }
    if (command != Command.DEMONSTRATE && partition == null) {
      throw new UsageException(arguments[0] + " needs --partition: whose data it is");
    }
    return new Options(
        command,
        partition == null ? DEFAULT_PARTITION : partition,
        file,
        store == null ? null : Store.of(store, toPath(store), masterKey));
  }

  Input openInput() throws IOException {
    return file == null ? Input.ofReadme() : Input.of(file);
  }

  private static String value(Iterator<String> rest, String problem) throws UsageException {
    String value = rest.hasNext() ? rest.next() : "";
    if (value.isEmpty()) {
      throw new UsageException(problem);
    }
    return value;
  }

  private static void requireFile(String argument, Command command, @Nullable Path before)
      throws UsageException {
    if (argument.startsWith("-")) {
      throw new UsageException("unknown option " + argument);
    }
    if (command != Command.DEMONSTRATE) {
      throw new UsageException("a command takes no file: it reads standard input");
    }
    if (Command.of(argument) != Command.DEMONSTRATE) {
      throw new UsageException(
          "the command %s comes first; a file of that name is ./%s".formatted(argument, argument));
    }
    if (before != null) {
      throw new UsageException("more than one file");
    }
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
