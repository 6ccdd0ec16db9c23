package io.asherah.reactive;

import io.asherah.reactive.spi.MetricsRecorder;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import reactor.core.publisher.Mono;

/** Times operations for a recorder, and leaves them as they are where there is none. */
final class OperationMetrics {
  private final MetricsRecorder recorder;
  private final LongSupplier ticker;

  OperationMetrics(MetricsRecorder recorder, LongSupplier ticker) {
    this.recorder = recorder;
    this.ticker = ticker;
  }

  <T> Mono<T> encrypting(Supplier<Mono<T>> operation) {
    return recorder == MetricsRecorder.NONE
        ? operation.get()
        : timed(operation, recorder::encrypted);
  }

  <T> Mono<T> decrypting(Supplier<Mono<T>> operation) {
    return recorder == MetricsRecorder.NONE
        ? operation.get()
        : timed(operation, recorder::decrypted);
  }

  private <T> Mono<T> timed(Supplier<Mono<T>> operation, Sample sample) {
    return Mono.defer(
        () -> {
          long start = ticker.getAsLong();
          return Mono.defer(operation)
              .doOnSuccess(result -> sample.record(ticker.getAsLong() - start, true))
              .doOnError(e -> sample.record(ticker.getAsLong() - start, false));
        });
  }

  @FunctionalInterface
  private interface Sample {
    void record(long nanos, boolean isSuccess);
  }
}
