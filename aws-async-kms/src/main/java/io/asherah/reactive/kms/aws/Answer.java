package io.asherah.reactive.kms.aws;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * What a region answered, or how it failed. A failure is a value here because the next region is
 * asked then, and because one that nobody waits for any more is nobody's error.
 */
final class Answer<T> {
  /** Of whoever finds the data key wiped, since the subscriber is gone; nobody hears of it. */
  private static final KmsException CANCELLED = new KmsException(Kind.OTHER, "cancelled", null);

  private final @Nullable T value;
  private final @Nullable KmsException failure;

  private Answer(@Nullable T value, @Nullable KmsException failure) {
    this.value = value;
    this.failure = failure;
  }

  static <T> Answer<T> of(T value) {
    return new Answer<>(value, null);
  }

  static <T> Answer<T> failed(KmsException failure) {
    return new Answer<>(null, failure);
  }

  static <T> Answer<T> cancelled() {
    return failed(CANCELLED);
  }

  /** Whether the subscriber is gone; it is a failure then, too. */
  boolean isCancelled() {
    return failure == CANCELLED;
  }

  boolean isFailure() {
    return failure != null;
  }

  T value() {
    return Objects.requireNonNull(value);
  }

  KmsException failure() {
    return Objects.requireNonNull(failure);
  }

  /** The same failure, of something else. */
  <U> Answer<U> asFailure() {
    return failed(failure());
  }

  /** What a function makes of the value; the function may fail as a region does. */
  <U> Answer<U> map(Function<T, U> function) {
    return flatMap(value -> of(function.apply(value)));
  }

  /** What a function answers to the value. */
  <U> Answer<U> flatMap(Function<T, Answer<U>> function) {
    if (isFailure()) {
      return asFailure();
    }
    try {
      return function.apply(value());
    } catch (KmsException e) {
      return failed(e);
    }
  }
}
