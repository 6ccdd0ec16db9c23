package io.asherah.reactive.securememory.internal;

import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/**
 * Who waits for something that is made on the scheduler. Exactly one of {@link #put} and {@link
 * #fail} is called, on the scheduler.
 */
interface Receiver<T> {

  /** One that waits until it was told. */
  static <T> Receiver<T> of(Consumer<? super T> put, Consumer<? super Throwable> fail) {
    return of(() -> false, put, fail);
  }

  /** One that may be abandoned. */
  static <T> Receiver<T> of(
      BooleanSupplier abandoned, Consumer<? super T> put, Consumer<? super Throwable> fail) {
    return new Receiver<>() {
      @Override
      public boolean isAbandoned() {
        return abandoned.getAsBoolean();
      }

      @Override
      public void put(T value) {
        put.accept(value);
      }

      @Override
      public void fail(Throwable reason) {
        fail.accept(reason);
      }
    };
  }

  /** Whether nobody waits any more, so that it need not be made. */
  boolean isAbandoned();

  /** Gives the value away. */
  void put(T value);

  /** Tells that there will be no value. */
  void fail(Throwable reason);
}
