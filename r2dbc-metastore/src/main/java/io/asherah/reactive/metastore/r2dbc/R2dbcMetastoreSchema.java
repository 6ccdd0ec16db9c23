package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.MetastoreException;
import java.util.List;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * The table of an {@link R2dbcMetastore}: its statements, to create it, and to find out whether one
 * that exists can be trusted with keys. Immutable and safe for use by many threads.
 *
 * <p>Threads, time limits, cancellation and errors are those of the metastore.
 */
public final class R2dbcMetastoreSchema {
  private final Table table;
  private final Connections connections;
  private final int maxIdLength;

  R2dbcMetastoreSchema(Table table, Connections connections, int maxIdLength) {
    this.table = table;
    this.connections = connections;
    this.maxIdLength = maxIdLength;
  }

  /**
   * The statements of {@link #create()}, for those who create tables in another way.
   *
   * @return SQL of the database, in the order in which it is to be executed
   */
  public List<String> ddl() {
    return table.dialect.ddl(table.name);
  }

  /**
   * Creates the table where it does not exist, and else does nothing. May be called by many at the
   * same time. The user needs the right to create tables. The schema has to exist.
   *
   * @return completes empty when there is a table
   */
  public Mono<Void> create() {
    // The statements are read from the class path.
    return Mono.fromSupplier(this::ddl)
        .subscribeOn(Schedulers.boundedElastic())
        .flatMapIterable(statements -> statements)
        .concatMap(
            statement ->
                connections.use(
                    "create the table", connection -> table.query(statement).update(connection)))
        .then()
        // Another one may have created it at the same moment, which is an error in some databases.
        .onErrorResume(
            MetastoreException.class, e -> exists().onErrorResume(none -> Mono.error(e)));
  }

  private Mono<Void> exists() {
    return connections
        .use(
            "read the table",
            connection ->
                table
                    .select(table.dialect.selectedId())
                    .add(" WHERE 1 = 0")
                    .rows(connection, row -> row))
        .then();
  }

  /**
   * Finds out whether the table keeps what a metastore needs kept: ids of full length, told apart
   * by case, accents and spaces at their end; times to the second, also when a record changes; one
   * row for an id and a time; records of 8 KiB. It tries all that in transactions that are rolled
   * back, so the user needs the right to insert and to update.
   *
   * @return completes empty if all is well; signals a {@link MetastoreException} that says all that
   *     is not
   */
  public Mono<Void> validate() {
    return exists()
        .thenMany(Flux.fromArray(SchemaCheck.values()))
        .concatMap(this::problem)
        .collectList()
        .flatMap(problems -> problems.isEmpty() ? Mono.empty() : Mono.error(unfit(problems)));
  }

  /** What a check found, or empty where there is nothing to complain of. */
  private Mono<String> problem(SchemaCheck check) {
    return connections
        .use(
            "check the table",
            Connections.Transaction.ROLLED_BACK,
            connection -> check.run(new SchemaCheck.Trial(table, connection, maxIdLength)))
        .onErrorResume(
            MetastoreException.class,
            e ->
                switch (DriverErrors.failure(e, table.dialect)) {
                  case DUPLICATE -> Mono.just(check.expectsDuplicate);
                  case OTHER, TIME_IN_GAP -> Mono.just(false);
                  default -> Mono.error(e);
                })
        .filter(isPassed -> !isPassed)
        .map(failed -> check.problem);
  }

  private MetastoreException unfit(List<String> problems) {
    return new MetastoreException(
        "the table %s of %s cannot be trusted with keys: %s. See docs/metastores.md"
            .formatted(table.name, table.dialect, String.join("; ", problems)),
        null,
        false);
  }
}
