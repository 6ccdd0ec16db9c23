package io.asherah.reactive.examples.quickstart;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.examples.quickstart.Options.UsageException;
import io.asherah.reactive.metastore.r2dbc.R2dbcMetastore;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.Metastore;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactories;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryOptions;
import io.r2dbc.spi.Option;
import io.r2dbc.spi.R2dbcException;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.util.retry.Retry;

/**
 * Keys that outlive the process, in a file of H2, and the file of the master key that opens them.
 *
 * <p>Processes use a store in turns: H2 locks the file of a database that is open.
 *
 * @param file as the user wrote it; H2 appends {@value #SUFFIX}
 * @param ownMasterKey where the user keeps the master key, or null for the default place
 */
record Store(Path file, @Nullable Path ownMasterKey) {
  private static final String SUFFIX = ".mv.db";

  /** Generous, since it is not a server that may fail to answer, but a disk that may be busy. */
  private static final Duration PATIENCE = Duration.ofSeconds(30);

  // How to knock at a file that another process has open: for some seconds.
  private static final int KNOCKS = 20;
  private static final Duration FIRST_PAUSE = Duration.ofMillis(50);
  private static final Duration LONGEST_PAUSE = Duration.ofMillis(400);

  // Constants of org.h2.api.ErrorCode.
  private static final int GENERAL_ERROR = 50_000;
  private static final int OPEN_ELSEWHERE = 90_020;
  private static final int FILE_CORRUPTED = 90_030;
  private static final int IO_EXCEPTION = 90_028;
  private static final int IO_EXCEPTION_IN_FILE = 90_031;
  private static final int READ_ONLY = 90_097;

  /** Refuses the names that H2 would not take literally. */
  static Store of(String name, Path file, @Nullable Path ownMasterKey) throws UsageException {
    String problem = "the store cannot be %s: ".formatted(name);
    String whole = file.toAbsolutePath().toString();
    if (whole.indexOf(';') >= 0) {
      throw new UsageException(problem + "its path has a semicolon, after which H2 reads settings");
    }
    if (File.separatorChar != '\\' && whole.indexOf('\\') >= 0) {
      throw new UsageException(problem + "its path has a backslash, which H2 takes for a slash");
    }
    if (name.endsWith(SUFFIX)) {
      throw new UsageException(problem + "leave out " + SUFFIX + ", which H2 appends");
    }
    if (name.endsWith("/") || Files.isDirectory(file)) {
      throw new UsageException(problem + "it is a directory; name a file in it");
    }
    return new Store(file, ownMasterKey);
  }

  /** The file that H2 makes. */
  Path database() {
    return sibling(SUFFIX);
  }

  Path masterKey() {
    return ownMasterKey == null ? sibling(".master") : ownMasterKey;
  }

  private Path sibling(String suffix) {
    return file.resolveSibling(file.getFileName() + suffix);
  }

  /**
   * The service that has the master key of this store. A new store gets a new one, if the user has
   * none: the key is there before the store, so a store without its key has lost it.
   */
  KeyManagementService keyManagementService(Consumer<String> notices) throws IOException {
    MasterKey key = new MasterKey(masterKey(), notices);
    // Looked at before the key: another process may make both in the meantime.
    boolean isNew = !Files.exists(database());
    if (ownMasterKey == null && isNew) {
      key.createIfAbsent();
    } else if (ownMasterKey == null && !Files.exists(key.file())) {
      throw new IOException(
          ("the master key %s is missing: restore it, or name it with --master-key. A new one would"
                  + " not open the keys in %s")
              .formatted(key.file(), database()));
    }
    return key.read();
  }

  /**
   * Fails where H2 would, in words that are better, and where H2 would make what is not there.
   *
   * @param mayBeNew false to open a record, which needs the keys that it was sealed under
   */
  void requireUsable(boolean mayBeNew) throws IOException {
    Path database = database();
    Path directory = database.toAbsolutePath().resolveSibling("");
    if (!Files.isDirectory(directory)) {
      throw new IOException(
          "there cannot be a store %s: there is no directory %s".formatted(database, directory));
    }
    if (Files.isDirectory(database)) {
      throw new IOException("cannot read %s: it is a directory".formatted(database));
    }
    if (!mayBeNew && !Files.exists(database)) {
      throw new IOException(
          "there is no store %s: name the one that the record was sealed with".formatted(database));
    }
    if (Files.exists(database) && !Files.isReadable(database)) {
      throw new IOException("cannot read %s: permission denied".formatted(database));
    }
  }

  /**
   * Does some work with the keys, in a table that is made where there is none. The database is open
   * for all of the work, so that no other process gets in between, and closed when this ends:
   * whatever was stored has been written then.
   */
  <T> Mono<T> with(Function<Metastore, Mono<T>> work) {
    ConnectionFactory database = connectionFactory();
    R2dbcMetastore metastore =
        R2dbcMetastore.builder(database)
            .acquireTimeout(PATIENCE)
            .statementTimeout(PATIENCE)
            .closeTimeout(PATIENCE)
            .build();
    return Mono.usingWhen(
            open(database),
            open -> metastore.schema().create().then(Mono.defer(() -> work.apply(metastore))),
            open -> onThreadsThatMayBlock(open.close()))
        .onErrorMap(this::explained);
  }

  private static Mono<Connection> open(ConnectionFactory database) {
    return Store.<Connection>onThreadsThatMayBlock(database.create())
        .retryWhen(
            Retry.backoff(KNOCKS, FIRST_PAUSE)
                .maxBackoff(LONGEST_PAUSE)
                .filter(e -> errorCode(e) == OPEN_ELSEWHERE)
                .onRetryExhaustedThrow((retry, last) -> last.failure()));
  }

  private static <T> Mono<T> onThreadsThatMayBlock(Publisher<? extends T> work) {
    return Mono.<T>from(work).subscribeOn(Schedulers.boundedElastic());
  }

  private ConnectionFactory connectionFactory() {
    return ConnectionFactories.get(
        ConnectionFactoryOptions.builder()
            .option(ConnectionFactoryOptions.DRIVER, "h2")
            .option(ConnectionFactoryOptions.PROTOCOL, "file")
            // H2 takes no relative names, lest a working directory decide where a database is.
            .option(ConnectionFactoryOptions.DATABASE, file.toAbsolutePath().toString())
            // What is wrong is said here, and not in another file beside the store.
            .option(Option.valueOf("options"), "TRACE_LEVEL_FILE=0")
            .build());
  }

  /** Says what an error has to do with these two files; others stay what they are. */
  private Throwable explained(Throwable e) {
    if (e instanceof KmsException kms && kms.kind() == KmsException.Kind.INVALID_CIPHERTEXT) {
      return new KmsException(
          kms.kind(),
          "%s is not the master key of %s: name the right one with --master-key"
              .formatted(masterKey(), database()),
          kms);
    }
    return switch (errorCode(e)) {
      case OPEN_ELSEWHERE ->
          new MetastoreException(
              "another process has %s open: try again when it has ended".formatted(database()),
              e,
              true);
      case FILE_CORRUPTED ->
          new MetastoreException(
              "%s is damaged: restore it from a backup".formatted(database()), e, false);
      case IO_EXCEPTION, IO_EXCEPTION_IN_FILE, READ_ONLY, GENERAL_ERROR ->
          new MetastoreException(
              ("H2 cannot use %s: it is no database, or was cut off, or cannot be written. Look at"
                      + " its permissions and the space that is left, or restore it from a backup")
                  .formatted(database()),
              e,
              false);
      default -> e;
    };
  }

  /** What H2 calls an error, or 0 for any other. */
  private static int errorCode(Throwable e) {
    Throwable error = e instanceof MetastoreException ? e.getCause() : e;
    return error instanceof R2dbcException ofH2 ? ofH2.getErrorCode() : 0;
  }
}
