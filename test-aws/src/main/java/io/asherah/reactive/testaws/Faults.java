package io.asherah.reactive.testaws;

import io.asherah.reactive.testaws.FaultProgramme.Effect;
import io.asherah.reactive.testaws.FaultProgramme.Layer;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * What can go wrong with calls of some operations, so many times. A call meets at most one of
 * {@link #hold()} and {@link #before}, one {@link #delay}, and one of the others, as it arrives: of
 * those that are limited by {@link #times} the one that was programmed first, else the one that was
 * programmed last.
 */
public class Faults {
  private final FaultProgramme programme;
  private final ScheduledExecutorService scheduler;
  private final Set<String> operations;
  private final int times;

  Faults(
      FaultProgramme programme,
      ScheduledExecutorService scheduler,
      Set<String> operations,
      int times) {
    this.programme = programme;
    this.scheduler = scheduler;
    this.operations = operations;
    this.times = times;
  }

  /**
   * Only calls of these operations.
   *
   * @param names for instance {@code GetItem}
   * @return what can go wrong with them
   */
  public final Faults on(String... names) {
    return new Faults(programme, scheduler, Set.of(names), times);
  }

  /**
   * Only the next calls.
   *
   * @param count how many, at least 1
   * @return what can go wrong with them
   */
  public final Faults times(int count) {
    if (count < 1) {
      throw new IllegalArgumentException("times " + count);
    }
    return new Faults(programme, scheduler, operations, count);
  }

  /**
   * Answers with an error, and does nothing else.
   *
   * @param status of HTTP
   * @param type the error's code, as in {@code ThrottlingException}
   * @param message for people, or null for none
   */
  public final void fail(int status, String type, @Nullable String message) {
    answer(programme.protocol().error(status, type, message));
  }

  /**
   * Does what is asked for, and answers with an error.
   *
   * @param status of HTTP
   * @param type the error's code
   * @param message for people, or null for none
   */
  public final void failAfterwards(int status, String type, @Nullable String message) {
    Reply error = programme.protocol().error(status, type, message);
    add(Layer.ANSWER, inner -> inner.get().thenApply(reply -> error));
  }

  /**
   * Answers with anything, and does nothing else.
   *
   * @param status of HTTP
   * @param contentType the header of this name
   * @param body what is sent
   */
  public final void raw(int status, String contentType, String body) {
    answer(Reply.of(status, contentType, body));
  }

  /** Answers with success and something that is not JSON, and does nothing else. */
  public final void garbage() {
    raw(200, programme.protocol().contentType(), "\u00a7 garbage, not JSON \u00a7");
  }

  /** Answers with success and an object without members, and does nothing else. */
  public final void emptyAnswer() {
    answer(programme.protocol().json(200, "{}"));
  }

  /** Does what is asked for, sends half of the answer and closes the connection. */
  public final void truncate() {
    truncate(body -> body);
  }

  /**
   * Does what is asked for, sends half of something else and closes the connection.
   *
   * @param edit makes it from the body of the answer
   */
  public final void truncate(UnaryOperator<String> edit) {
    add(Layer.ANSWER, inner -> inner.get().thenApply(reply -> reply.edited(edit).truncated()));
  }

  /**
   * Does what is asked for, and answers with something else.
   *
   * @param edit makes it from the body of the answer
   */
  public final void edit(UnaryOperator<String> edit) {
    add(Layer.ANSWER, inner -> inner.get().thenApply(reply -> reply.edited(edit)));
  }

  /** Does nothing and never answers; the connection stays open. */
  public final void silent() {
    add(Layer.ANSWER, inner -> new CompletableFuture<>());
  }

  /**
   * Does what is asked for, and answers late.
   *
   * @param delay how late
   */
  public final void delay(Duration delay) {
    add(Layer.DELAY, inner -> inner.get().thenCompose(reply -> later(reply, delay)));
  }

  private CompletionStage<Reply> later(Reply reply, Duration delay) {
    CompletableFuture<Reply> later = new CompletableFuture<>();
    scheduler.schedule(() -> later.complete(reply), delay.toNanos(), TimeUnit.NANOSECONDS);
    return later;
  }

  /** Does nothing until {@link FaultyEndpoint#release()}. */
  public final void hold() {
    programme.hold(operations, times, scheduler);
  }

  /**
   * Runs something before doing what is asked for.
   *
   * @param hook runs on a thread that it may block, and keeps the call waiting; where it throws,
   *     the answer is an HTTP status 500 that is not of AWS
   */
  public final void before(Runnable hook) {
    add(
        Layer.BEFORE,
        inner ->
            CompletableFuture.runAsync(hook, Daemons.EXECUTOR).thenCompose(done -> inner.get()));
  }

  private void answer(Reply reply) {
    add(Layer.ANSWER, inner -> CompletableFuture.completedFuture(reply));
  }

  private void add(Layer layer, Effect effect) {
    programme.add(layer, operations, times, effect);
  }

  final FaultProgramme programme() {
    return programme;
  }
}
