package io.asherah.reactive.metastore.r2dbc;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.r2dbc.spi.Connection;
import java.time.Instant;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Function;
import java.util.stream.IntStream;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** What a table has to do, tried on the table itself: types and collations tell only half of it. */
enum SchemaCheck {
  LENGTH(
      "the column id is too short for ids of maxIdLength characters, whatever these are",
      trial -> trial.isKept(trial.longId(), 60)),
  CASE(
      "ids that differ only in case are the same to it: the column id needs a binary collation",
      trial -> trial.areDifferent("k", "K")),
  ACCENTS(
      "ids that differ only in accents are the same to it: the column id needs a binary collation",
      trial -> trial.areDifferent("e", "\u00e9", "e\u0301")),
  SPACES(
      "ids that differ only in spaces at their end are the same to it: the column id needs a type or"
          + " collation that does not pad",
      trial -> trial.areDifferent("", " ", "  ")),
  CHARACTERS(
      "the column id does not keep all characters of Unicode, or does not tell them apart",
      trial -> trial.areDifferent("\ud83d\ude00", "\ud83d\ude01", "\u6f22")),
  TIME("the column created does not keep seconds", Trial::keepsSeconds),
  TIME_OF_UPDATE(
      "the column created changes with the record: declare it without ON UPDATE",
      Trial::keepsTimeOfUpdate),
  RECORD(
      "the column key_record is too short for records of 8 KiB",
      trial -> trial.isKept(trial.id(""), 6_000)),
  UNIQUE("it takes two rows with the same id and created: make them the primary key");

  final String problem;

  /** Whether the check is passed when the database refuses a row for being there already. */
  final boolean expectsDuplicate;

  private final Function<Trial, Mono<Boolean>> run;

  SchemaCheck(String problem, Function<Trial, Mono<Boolean>> run) {
    this.problem = problem;
    this.expectsDuplicate = false;
    this.run = run;
  }

  SchemaCheck(String problem) {
    this.problem = problem;
    this.expectsDuplicate = true;
    this.run = Trial::takesTheSameTwice;
  }

  Mono<Boolean> run(Trial trial) {
    return run.apply(trial);
  }

  /** Keys of its own in one transaction. */
  static final class Trial {
    /** How long the end of an id may be. */
    private static final int END = 2;

    private static final Instant CREATED = Instant.parse("2024-05-06T07:08:09Z");

    private final Table table;
    private final Connection connection;
    private final int maxIdLength;

    /** Short, so that a column that is too short for long ids fails no other check. */
    private final String prefix;

    Trial(Table table, Connection connection, int maxIdLength) {
      this.table = table;
      this.connection = connection;
      this.maxIdLength = maxIdLength;
      String name = "_SK_check_" + Integer.toHexString(ThreadLocalRandom.current().nextInt());
      this.prefix = name.substring(0, Math.max(0, Math.min(name.length(), maxIdLength - END)));
    }

    String id(String end) {
      return prefix + end;
    }

    String longId() {
      return (prefix + "\u6f22".repeat(maxIdLength)).substring(0, maxIdLength);
    }

    Mono<Boolean> isKept(String id, int bytes) {
      EnvelopeKeyRecord record = record(bytes, 1);
      return insert(id, record).then(isFound(id, CREATED, record));
    }

    Mono<Boolean> areDifferent(String... ends) {
      return Flux.range(0, ends.length)
          .concatMap(i -> insert(id(ends[i]), record(60, i)))
          .thenMany(Flux.range(0, ends.length))
          .concatMap(i -> isFound(id(ends[i]), CREATED, record(60, i)))
          .all(isFound -> isFound);
    }

    Mono<Boolean> keepsSeconds() {
      EnvelopeKeyRecord record = record(60, 1);
      return insert(id(""), record)
          .thenMany(
              Flux.concat(
                  isFound(id(""), CREATED, record),
                  isFound(id(""), CREATED.plusSeconds(1), record).map(found -> !found),
                  isFound(id(""), CREATED.minusSeconds(1), record).map(found -> !found)))
          .all(isRight -> isRight);
    }

    Mono<Boolean> keepsTimeOfUpdate() {
      EnvelopeKeyRecord changed = record(60, 2);
      return insert(id(""), record(60, 1))
          .then(Mono.defer(() -> table.updateOfOthers(id(""), CREATED, changed).update(connection)))
          .then(isFound(id(""), CREATED, changed));
    }

    /** Is never passed by completing: the second row has to be refused. */
    Mono<Boolean> takesTheSameTwice() {
      return insert(id(""), record(60, 1)).then(insert(id(""), record(60, 2))).thenReturn(false);
    }

    private Mono<Void> insert(String id, EnvelopeKeyRecord record) {
      return Mono.defer(() -> table.insert(id, CREATED, record).update(connection)).then();
    }

    private Mono<Boolean> isFound(String id, Instant created, EnvelopeKeyRecord record) {
      return Mono.defer(
              () -> table.load(id, created).rows(connection, row -> table.record(row, id)))
          .map(found -> found.size() == 1 && found.get(0).equals(record));
    }

    private static EnvelopeKeyRecord record(int bytes, int seed) {
      byte[] key = new byte[bytes];
      IntStream.range(0, bytes).forEach(i -> key[i] = (byte) (31 * i + seed));
      return new EnvelopeKeyRecord(CREATED, key, null, false);
    }
  }
}
