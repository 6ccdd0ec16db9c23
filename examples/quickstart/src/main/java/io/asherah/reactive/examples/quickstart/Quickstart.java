package io.asherah.reactive.examples.quickstart;

import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.Session;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.SessionFactoryStats;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.securememory.SecureMemoryStats;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.Metastore;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Locale;
import java.util.function.Function;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Seals every line of a file, opens it again, compares the bytes and says what that took; or seals
 * standard input, for another process to open. See {@code --help}.
 */
public final class Quickstart {
  private static final int OK = 0;
  private static final int FAILED = 1;
  private static final int WRONG_INPUT = 2;

  /** How many lines may wait for keys or other lines at once; it bounds the memory. */
  private static final int CONCURRENCY = 8;

  static final int MAX_PAYLOAD_BYTES = 16 << 20;

  /** Base64 makes four bytes of three, and the record has a key too. */
  static final int MAX_RECORD_BYTES = MAX_PAYLOAD_BYTES / 2 * 3;

  private static final int SHOWN_BYTES = 2_000;

  private Quickstart() {}

  /**
   * Runs the program and ends the process with its exit code.
   *
   * @param arguments see {@code --help}
   */
  public static void main(String[] arguments) {
    System.exit(run(arguments, System.in, System.out, System.err));
  }

  /** Runs the program and returns its exit code. */
  static int run(String[] arguments, InputStream in, PrintStream out, PrintStream err) {
    try {
      Options options = Options.parse(arguments);
      switch (options.command()) {
        case HELP -> out.print(Options.HELP);
        case DEMONSTRATE -> demonstrate(options, out, err);
        case ENCRYPT -> {
          byte[] payload = Input.all(in, MAX_PAYLOAD_BYTES, "seal it in several parts");
          out.writeBytes(encrypt(options, payload, err));
          out.write('\n');
        }
        case DECRYPT -> {
          byte[] record = Input.all(in, MAX_RECORD_BYTES, "no record of encrypt is");
          out.writeBytes(decrypt(options, record, err));
        }
      }
      if (out.checkError()) {
        throw new IllegalStateException("cannot write the output");
      }
      return OK;
    } catch (Options.UsageException | IOException | UncheckedIOException e) {
      complain(err, e);
      return WRONG_INPUT;
    } catch (RuntimeException e) {
      complain(err, e);
      return FAILED;
    }
  }

  private static byte[] encrypt(Options options, byte[] payload, PrintStream err)
      throws IOException {
    return withKeys(options, err, open -> open.session(options.partition()).encryptToJson(payload));
  }

  private static byte[] decrypt(Options options, byte[] record, PrintStream err)
      throws IOException {
    return withKeys(options, err, open -> open.session(options.partition()).decryptJson(record));
  }

  /** Does some work with keys, wherever they are, and waits for the result. */
  private static <T> T withKeys(
      Options options, PrintStream err, Function<SessionFactory, Mono<T>> work) throws IOException {
    // But for a master key that is read from its file, nothing happens until block(): this
    // describes
    // the work. A service would return it to its framework; only the end of a main method may
    // block.
    return describe(options, err, work).blockOptional().orElseThrow();
  }

  private static <T> Mono<T> describe(
      Options options, PrintStream err, Function<SessionFactory, Mono<T>> work) throws IOException {
    Store store = options.store();
    if (store == null) {
      return withKeys(new InMemoryMetastore(), newKeyManagementService(), work);
    }
    store.requireUsable(options.command() != Options.Command.DECRYPT);
    KeyManagementService service = store.keyManagementService(notice -> say(err, notice));
    return store.with(metastore -> withKeys(metastore, service, work));
  }

  private static <T> Mono<T> withKeys(
      Metastore metastore, KeyManagementService service, Function<SessionFactory, Mono<T>> work) {
    // The two names are part of the ids of all keys. A real service has a key management service
    // that guards the master key.
    return Mono.usingWhen(
        Mono.fromSupplier(
            () ->
                SessionFactory.builder("quickstart", "demo")
                    .metastore(metastore)
                    .keyManagementService(service)
                    .build()),
        work,
        SessionFactory::close);
  }

  private static void demonstrate(Options options, PrintStream out, PrintStream err)
      throws IOException {
    String partition = options.partition();
    try (Input input = options.openInput()) {
      Result result =
          withKeys(
              options,
              err,
              open ->
                  sealAndOpen(input.lines(), open.session(partition))
                      .map(totals -> new Result(totals, open, open.stats())));
      print(out, "input    %s, partition %s", printable(input.name()), printable(partition));
      print(out, result);
    }
  }

  private static void print(PrintStream out, Result result) {
    Totals totals = result.totals;
    SecureMemoryStats memory = result.whileOpen.memory();
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

    SecureMemoryStats left = result.factory.stats().memory();
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
    byte[] masterKey = new byte[MasterKey.BYTES];
    new SecureRandom().nextBytes(masterKey);
    try {
      return StaticKeyManagementService.of(masterKey);
    } finally {
      Arrays.fill(masterKey, (byte) 0);
    }
  }

  /** What was done while the keys were in memory. */
  private record Result(Totals totals, SessionFactory factory, SessionFactoryStats whileOpen) {}

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
    say(err, message == null ? e.toString() : message);
  }

  private static void say(PrintStream err, String message) {
    err.println("quickstart: " + printable(message));
  }

  /** Names come from outside: none may break a line or steer a terminal. */
  private static String printable(String text) {
    return text.replaceAll("\\p{Cntrl}", "?");
  }
}
