package io.asherah.reactive.metastore.r2dbc;

import io.r2dbc.spi.R2dbcException;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** H2. */
final class H2Dialect extends SqlDialect {
  H2Dialect() {
    super("H2");
  }

  @Override
  String marker(int zeroBasedIndex) {
    return "$" + (zeroBasedIndex + 1);
  }

  /** Else a key that is revoked would get another time, and never be found again. */
  @Override
  String keptCreated() {
    return ", created = created";
  }

  /** A VARCHAR of H2 counts as Java does. */
  @Override
  int lengthOf(String id) {
    return id.length();
  }

  /** The engine works, and reads files, on the thread that subscribes. */
  @Override
  <T> Mono<T> call(Publisher<? extends T> driver) {
    return Mono.<T>from(driver).subscribeOn(Schedulers.boundedElastic());
  }

  /** Constants of {@code org.h2.api.ErrorCode}. */
  @Override
  Failure failure(R2dbcException e) {
    return switch (e.getErrorCode()) {
      case 23_505 -> Failure.DUPLICATE;
      case 42_102, 42_103, 42_104, 90_079 -> Failure.TABLE_MISSING;
      case 42_122 -> Failure.COLUMN_MISSING;
      case 90_013, 90_146, 90_149 -> Failure.NO_DATABASE;
      case 28_000 -> Failure.UNKNOWN_USER;
      case 90_096 -> Failure.DENIED;
      case 90_011, 90_028, 90_030, 90_031, 90_062, 90_124 -> Failure.FILE;
      // Closed, lock time-out, deadlock, already open in another process, out of memory, cancelled.
      case 40_001, 50_200, 57_014, 90_007, 90_020, 90_067, 90_098, 90_108, 90_121, 90_131 ->
          Failure.PASSING;
      default -> Failure.ofSqlState(e.getSqlState());
    };
  }
}
