package io.asherah.reactive.examples.quickstart;

import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.Session;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.SessionFactoryStats;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.securememory.SecureMemoryStats;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Locale;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Seals every line of a file, opens it again, compares the bytes and says what that took. See
 * {@code --help}.
 */
public final class Quickstart {
  private static final int OK = 0;
  private static final int FAILED = 1;
  private static final int WRONG_INPUT = 2;

  /** How many lines may wait for keys or other lines at once; it bounds the memory. */
  private static final int CONCURRENCY = 8;

  private static final int MASTER_KEY_BYTES = 32;
  private static final int SHOWN_BYTES = 2_000;

  private Quickstart() {}

  /**
   * Runs the program and ends the process with its exit code.
   *
   * @param arguments see {@code --help}
   */
  public static void main(String[] arguments) {
    System.exit(run(arguments, System.out, System.err));
  }

  /** Runs the program and returns its exit code. */
  static int run(String[] arguments, PrintStream out, PrintStream err) {
    try {
      Options options = Options.parse(arguments);
      if (options.help()) {
        out.print(Options.HELP);
        return OK;
      }
      try (Input input = options.openInput()) {
        sealAndOpen(input, options.partition(), out);
        if (out.checkError()) {
          throw new IllegalStateException("cannot write the output");
        }
        return OK;
      }
    } catch (Options.UsageException | IOException | UncheckedIOException e) {
      complain(err, e);
      return WRONG_INPUT;
    } catch (RuntimeException e) {
      complain(err, e);
      return FAILED;
    }
  }

  private static void sealAndOpen(Input input, String partition, PrintStream out) {
    // The two names are part of the ids of all keys. A real service has a metastore that outlives
    // it and a key management service that guards the master key.
    SessionFactory factory =
        SessionFactory.builder("quickstart", "demo")
            .metastore(new InMemoryMetastore())
            .keyManagementService(newKeyManagementService())
            .build();

    // Nothing has happened so far, and nothing does until block(): this describes the work. A
    // service would return it to its framework; only the end of a main method may block.
    Result result =
        Mono.usingWhen(
                Mono.just(factory),
                open ->
                    sealAndOpen(input.lines(), open.session(partition))
                        .map(totals -> new Result(totals, open.stats())),
                SessionFactory::close)
            .blockOptional()
            .orElseThrow();

    Totals totals = result.totals;
    SecureMemoryStats memory = result.whileOpen.memory();
    print(out, "input    %s, partition %s", printable(input.name()), printable(partition));
    print(out, "sealed   %d lines of %d bytes", totals.lines, totals.bytes);
    print(out, "         as %d bytes of JSON; the first record:", totals.sealedBytes);
    show(out, totals.firstRecord);
    print(out, "opened   %d records, each to the bytes that were sealed", totals.lines);
    print(
        out,
        "cache    %d system keys, %d intermediate keys",
        result.whileOpen.cachedSystemKeys(),
        result.whileOpen.cachedIntermediateKeys());
    print(
        out,
        "memory   %d live secrets, %d locked bytes, %d open regions, reopened %d times",
        memory.liveSecrets(),
        memory.lockedBytes(),
        memory.openRegions(),
        memory.opens());

    SecureMemoryStats left = factory.stats().memory();
    print(out, "closed   %d live secrets, %d locked bytes", left.liveSecrets(), left.lockedBytes());
    if (left.liveSecrets() != 0 || left.lockedBytes() != 0) {
      throw new IllegalStateException("the factory is closed, but there are keys left in memory");
    }
    print(out, "verified %d records", totals.lines);
  }

  /** Line by line, so that a file of any length needs little memory. */
  private static Mono<Totals> sealAndOpen(Flux<byte[]> lines, Session session) {
    return lines
        .flatMapSequential(line -> sealAndOpen(line, session), CONCURRENCY)
        .reduce(Totals.NONE, Totals::plus);
  }

  private static Mono<Totals> sealAndOpen(byte[] line, Session session) {
    return session
        .encryptToJson(line)
        .flatMap(
            record ->
                session
                    .decryptJson(record)
                    .doOnNext(opened -> requireSame(line, opened))
                    .map(opened -> new Totals(1, line.length, record.length, record)));
  }

  static void requireSame(byte[] line, byte[] opened) {
    if (!Arrays.equals(line, opened)) {
      throw new IllegalStateException(
          "a line of %d bytes was opened to %d other bytes".formatted(line.length, opened.length));
    }
  }

  private static StaticKeyManagementService newKeyManagementService() {
    byte[] masterKey = new byte[MASTER_KEY_BYTES];
    new SecureRandom().nextBytes(masterKey);
    try {
      return StaticKeyManagementService.of(masterKey);
    } finally {
      Arrays.fill(masterKey, (byte) 0);
    }
  }

  /** What was done while the keys were in memory. */
  private record Result(Totals totals, SessionFactoryStats whileOpen) {}

  /** Sums over lines that were sealed, opened and found the same. */
  private record Totals(long lines, long bytes, long sealedBytes, byte[] firstRecord) {
    static final Totals NONE = new Totals(0, 0, 0, new byte[0]);

    Totals plus(Totals next) {
      return new Totals(
          lines + next.lines,
          bytes + next.bytes,
          sealedBytes + next.sealedBytes,
          lines == 0 ? next.firstRecord : firstRecord);
    }
  }

  private static void show(PrintStream out, byte[] record) {
    // The bytes themselves: a record is UTF-8, whatever the terminal is.
    out.write(record, 0, Math.min(record.length, SHOWN_BYTES));
    print(out, record.length == 0 ? "(none)" : record.length > SHOWN_BYTES ? "..." : "");
  }

  private static void print(PrintStream out, String format, Object... arguments) {
    out.println(String.format(Locale.ROOT, format, arguments));
  }

  private static void complain(PrintStream err, Exception e) {
    String message = e.getMessage();
    err.println("quickstart: " + printable(message == null ? e.toString() : message));
  }

  /** Names come from outside: none may break a line or steer a terminal. */
  private static String printable(String text) {
    return text.replaceAll("\\p{Cntrl}", "?");
  }
}
