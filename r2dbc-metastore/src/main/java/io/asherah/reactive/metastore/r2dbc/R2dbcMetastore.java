package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.metastore.r2dbc.Connections.Transaction;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.util.Objects;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Keeps wrapped keys in a table of a relational database, over R2DBC: the table {@code
 * encryption_key} that other Asherah implementations have, with the columns {@code id}, {@code
 * created} and {@code key_record}. The table has to exist; {@link #schema()} makes and checks it.
 *
 * <pre>{@code
 * SessionFactory factory =
 *     SessionFactory.builder("shop", "orders")
 *         .metastore(R2dbcMetastore.create(connectionFactory))
 *         .keyManagementService(kms)
 *         .build();
 * }</pre>
 *
 * <p>A subscription makes one attempt, on one connection of its own, which it has for as long as
 * the statement takes. It never takes part in a transaction of the caller: Spring's are taken out
 * of the Reactor context, and on a connection without auto-commit it commits what it did. Each part
 * of an attempt has a time limit. Whoever cancels stops waiting, and the statement goes on to its
 * end, so that no connection returns to a pool in the middle of one; a statement whose time is over
 * has its connection closed. A store that was cancelled or failed may have happened.
 *
 * <p>Answers come on the thread of the driver, and now and then, where the driver's answer is there
 * before it is asked for, on the thread that subscribes. An {@link SqlDialect#h2 H2} that is
 * embedded blocks its caller, so with it calls run on {@code Schedulers.boundedElastic()}; every
 * other driver is called on the thread that subscribes.
 *
 * <p>A failure is a {@link MetastoreException}, retryable where the same call may succeed later:
 * broken connections, deadlocks, an exhausted pool, a server that starts or stops. A row that is no
 * key record is such an error too, and never taken for absent. Messages name no partition; those of
 * causes may, since drivers quote the ids of rows.
 *
 * <p>{@code created} is written and looked up as whole seconds in UTC, whatever the time zones of
 * the JVM, of the session and of the server are.
 *
 * <p>As a {@link KeyInventory} it compares ids exactly, also where the column folds case, takes
 * prefixes literally, works through many keys in pages of 500 ids, of 20 to revoke them, each of
 * which is an operation like those above, and leaves out the rows in which the Rust implementation
 * keeps its configuration. Two revocations at the same time may both count the same key. An id that
 * is longer than the column is refused before anything is written.
 *
 * <p>Immutable and safe for use by many threads. It holds nothing that needs closing; the
 * connection factory stays its owner's.
 */
public final class R2dbcMetastore implements Metastore, KeyInventory {
  private final SqlDialect dialect;
  private final Table table;
  private final Connections connections;
  private final StoredKeys keys;
  private final String keySuffix;
  private final int maxIdLength;

  private R2dbcMetastore(Builder builder) {
    this.dialect = builder.dialect == null ? SqlDialect.of(builder.factory) : builder.dialect;
    String name = builder.schema == null ? builder.table : builder.schema + "." + builder.table;
    this.table = new Table(dialect, name, builder.createdZone);
    AuroraReadConsistency aurora = builder.auroraReadConsistency;
    this.connections =
        new Connections(
            builder.factory,
            dialect,
            builder.acquireTimeout,
            builder.statementTimeout,
            builder.closeTimeout,
            aurora == null ? null : dialect.auroraReadConsistency(aurora));
    this.keys = new StoredKeys(table, connections);
    this.keySuffix = builder.keySuffix;
    this.maxIdLength = builder.maxIdLength;
  }

  /**
   * Keeps keys in the table {@code encryption_key} of the database that the factory connects to.
   * Connects to nothing yet.
   *
   * @param connectionFactory a pool, or a driver's that makes a connection for each operation; it
   *     stays its owner's
   * @return a metastore
   * @throws IllegalArgumentException if there is no dialect for the database
   */
  public static R2dbcMetastore create(ConnectionFactory connectionFactory) {
    return builder(connectionFactory).build();
  }

  /**
   * For what {@link #create} does not do.
   *
   * @param connectionFactory a pool, or a driver's that makes a connection for each operation; it
   *     stays its owner's
   * @return a builder
   */
  public static Builder builder(ConnectionFactory connectionFactory) {
    return new Builder(connectionFactory);
  }

  /**
   * The table of this metastore, to create and to check it.
   *
   * @return a handle, which does nothing by itself
   */
  public R2dbcMetastoreSchema schema() {
    return new R2dbcMetastoreSchema(table, connections, maxIdLength);
  }

  @Override
  public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
    if (created.getNano() != 0) {
      throw new IllegalArgumentException("created must be whole seconds, was " + created);
    }
    return read("load a key", id, () -> table.load(id, created));
  }

  @Override
  public Mono<EnvelopeKeyRecord> loadLatest(String id) {
    return read("load the latest key", id, () -> table.loadLatest(id));
  }

  private Mono<EnvelopeKeyRecord> read(String what, String id, Supplier<Query> query) {
    Objects.requireNonNull(id, "id");
    if (!Table.mayBeId(id)) {
      return Mono.empty();
    }
    return connections
        .use(what, connection -> query.get().rows(connection, row -> table.record(row, id)))
        .flatMap(
            rows ->
                rows.size() > 1
                    ? Mono.error(twoRows())
                    : Mono.justOrEmpty(rows.stream().findAny()));
  }

  private MetastoreException twoRows() {
    return new MetastoreException(
        "the table %s has two rows with the same id and created; make them its primary key"
            .formatted(table.name),
        null,
        false);
  }

  @Override
  public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
    KeyMeta meta = new KeyMeta(id, created);
    return Mono.defer(
        () -> {
          if (dialect.lengthOf(id) > maxIdLength) {
            return Mono.error(tooLong(meta));
          }
          return connections
              .use(
                  "store a key",
                  dialect.mayChangeTimes() ? Transaction.COMMITTED : Transaction.NONE,
                  connection -> insert(connection, meta, record))
              .onErrorResume(
                  e -> DriverErrors.isDuplicate(e.getCause(), dialect), e -> isThere(meta));
        });
  }

  private Mono<Boolean> insert(Connection connection, KeyMeta meta, EnvelopeKeyRecord record) {
    Mono<Boolean> insert =
        table.insert(meta.id(), meta.created(), record).update(connection).thenReturn(true);
    return dialect.mayChangeTimes() ? insert.flatMap(any -> requireKept(connection, meta)) : insert;
  }

  private Mono<Boolean> isThere(KeyMeta meta) {
    return dialect.mayChangeTimes()
        ? connections
            .use("store a key", connection -> requireKept(connection, meta))
            .thenReturn(false)
        : Mono.just(false);
  }

  /** A database that is not strict moves a time that its zone does not have to another. */
  private Mono<Boolean> requireKept(Connection connection, KeyMeta meta) {
    return table
        .createdOf(meta.id(), meta.created())
        .rows(connection, row -> String.valueOf(row.get(0, String.class)))
        .flatMap(
            found ->
                found.contains(table.created(meta.created()))
                    ? Mono.just(true)
                    : Mono.error(notKept(meta)));
  }

  private static MetastoreException notKept(KeyMeta meta) {
    return new MetastoreException(
        "the database cannot keep the time of %s: %s".formatted(meta, Failure.TIME_IN_GAP.fix),
        null,
        false);
  }

  private MetastoreException tooLong(KeyMeta meta) {
    return new MetastoreException(
        ("the id of %s has %d characters, and the column id of %s keeps %d. Use shorter names for"
                + " partitions, or widen the column and set maxIdLength")
            .formatted(meta, dialect.lengthOf(meta.id()), table.name, maxIdLength),
        null,
        false);
  }

  @Override
  public Flux<KeyInfo> list(KeySelector selector) {
    return keys.list(selector);
  }

  @Override
  public Mono<Long> revoke(KeySelector selector) {
    return keys.revoke(selector);
  }

  @Override
  public Mono<Long> delete(KeySelector selector) {
    return keys.delete(selector);
  }

  /** Returns {@code r2dbc}. */
  @Override
  public String name() {
    return "r2dbc";
  }

  @Override
  public String keySuffix() {
    return keySuffix;
  }

  /** Names the database and the table. */
  @Override
  public String toString() {
    return "R2dbcMetastore[%s, %s]".formatted(dialect, table.name);
  }

  /** Collects options. Not safe for use by many threads. */
  public static final class Builder {
    private static final Pattern IDENTIFIER = Pattern.compile("[A-Za-z_][A-Za-z0-9_]{0,62}");
    private static final Duration MAX_TIMEOUT = Duration.ofDays(1);

    private final ConnectionFactory factory;
    private @Nullable SqlDialect dialect;
    private String table = "encryption_key";
    private @Nullable String schema;
    private Duration acquireTimeout = Duration.ofSeconds(4);
    private Duration statementTimeout = Duration.ofSeconds(4);
    private Duration closeTimeout = Duration.ofSeconds(1);
    private String keySuffix = "";
    private ZoneId createdZone = SqlDialect.utc();
    private int maxIdLength = SqlDialect.ID_LENGTH;
    private @Nullable AuroraReadConsistency auroraReadConsistency;

    private Builder(ConnectionFactory factory) {
      this.factory = Objects.requireNonNull(factory, "connectionFactory");
    }

    /**
     * Which SQL to speak.
     *
     * @param dialect the dialect; by default the one for the name in the factory's metadata
     * @return this builder
     */
    public Builder dialect(SqlDialect dialect) {
      this.dialect = Objects.requireNonNull(dialect, "dialect");
      return this;
    }

    /**
     * The name of the table. It is written without quotes, so a database that folds names folds it.
     *
     * @param table a letter or underscore, then up to 62 letters, digits and underscores, of ASCII;
     *     default {@code encryption_key}
     * @return this builder
     * @throws IllegalArgumentException if it is anything else
     */
    public Builder table(String table) {
      this.table = identifier("table", table);
      return this;
    }

    /**
     * The schema (in MySQL: the database) that has the table.
     *
     * @param schema a name like that of a {@link #table}; by default the database looks where it
     *     looks for tables without one
     * @return this builder
     * @throws IllegalArgumentException if it is anything else
     */
    public Builder schema(String schema) {
      this.schema = identifier("schema", schema);
      return this;
    }

    /**
     * How long an operation waits for a connection. One that arrives later is given back unused.
     *
     * @param acquireTimeout positive, at most one day; default 4 seconds
     * @return this builder
     */
    public Builder acquireTimeout(Duration acquireTimeout) {
      this.acquireTimeout = timeout("acquireTimeout", acquireTimeout);
      return this;
    }

    /**
     * How long an operation may have a connection; when the time is over the connection is closed.
     * For a list, a revocation or a deletion of many keys: each page of them.
     *
     * @param statementTimeout positive, at most one day; default 4 seconds
     * @return this builder
     */
    public Builder statementTimeout(Duration statementTimeout) {
      this.statementTimeout = timeout("statementTimeout", statementTimeout);
      return this;
    }

    /**
     * How long an operation waits until its connection is closed or given back, before it answers
     * nevertheless.
     *
     * @param closeTimeout positive, at most one day; default 1 second
     * @return this builder
     */
    public Builder closeTimeout(Duration closeTimeout) {
      this.closeTimeout = timeout("closeTimeout", closeTimeout);
      return this;
    }

    /**
     * The suffix of the ids of keys that are written through this metastore.
     *
     * @param keySuffix usually a region, without underscore; default empty, for none
     * @return this builder
     */
    public Builder keySuffix(String keySuffix) {
      if (keySuffix.contains("_")) {
        throw new IllegalArgumentException("keySuffix must not contain an underscore");
      }
      this.keySuffix = keySuffix;
      return this;
    }

    /**
     * The time zone in which {@code created} is kept. Only for a table that canonical Java wrote on
     * a JVM that does not run in UTC: its driver writes the wall clock of that zone. All programs
     * on the table must agree. In an hour that comes twice in the zone, two versions of a key may
     * collide.
     *
     * @param createdZone default UTC
     * @return this builder
     */
    public Builder createdZone(ZoneId createdZone) {
      this.createdZone = Objects.requireNonNull(createdZone, "createdZone");
      return this;
    }

    /**
     * How long an id may be; a longer one is refused before anything is written. It changes nothing
     * of the table that {@link R2dbcMetastoreSchema#create()} makes, whose ids have up to 255
     * characters.
     *
     * @param maxIdLength the length of the column {@code id} in characters, 1 to 4,000; default 255
     * @return this builder
     */
    public Builder maxIdLength(int maxIdLength) {
      if (maxIdLength < 1 || maxIdLength > 4_000) {
        throw new IllegalArgumentException("maxIdLength must be 1 to 4000, was " + maxIdLength);
      }
      this.maxIdLength = maxIdLength;
      return this;
    }

    /**
     * Sets the read consistency of readers that forward writes, for PostgreSQL and MySQL on Amazon
     * Aurora, at the begin of every operation. It stays set on the connection.
     *
     * @param consistency how soon a reader sees what was written; by default nothing is set
     * @return this builder
     */
    public Builder auroraReadConsistency(AuroraReadConsistency consistency) {
      this.auroraReadConsistency = Objects.requireNonNull(consistency, "consistency");
      return this;
    }

    /**
     * Makes the metastore. Connects to nothing yet.
     *
     * @return a metastore
     * @throws IllegalArgumentException if there is no dialect for the database, or an option is not
     *     for it
     */
    public R2dbcMetastore build() {
      return new R2dbcMetastore(this);
    }

    private static String identifier(String option, String name) {
      if (!IDENTIFIER.matcher(name).matches()) {
        throw new IllegalArgumentException(
            option
                + " must be a letter or an underscore and then up to 62 letters, digits and"
                + " underscores, all of ASCII");
      }
      return name;
    }

    private static Duration timeout(String option, Duration timeout) {
      if (timeout.isNegative() || timeout.isZero() || timeout.compareTo(MAX_TIMEOUT) > 0) {
        throw new IllegalArgumentException(
            "%s must be positive and at most one day, was %s".formatted(option, timeout));
      }
      return timeout;
    }
  }
}
