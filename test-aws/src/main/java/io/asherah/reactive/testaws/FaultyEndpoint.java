package io.asherah.reactive.testaws;

import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletionStage;
import org.jspecify.annotations.Nullable;

/**
 * A service of AWS on 127.0.0.1, to which things can happen. What is programmed without {@link
 * #on}, holds for all operations, and what is programmed without {@link #times}, until {@link
 * #healthy()}.
 */
public abstract class FaultyEndpoint extends Faults {
  private final HttpEndpoint http;
  // Guarded by itself.
  private final List<Call> calls = new ArrayList<>();

  FaultyEndpoint(HttpEndpoint http, Protocol protocol) {
    super(new FaultProgramme(protocol), http.scheduler(), Set.of(), Integer.MAX_VALUE);
    this.http = http;
  }

  /** Begins to listen. */
  final void open() {
    http.open(this::serve);
  }

  /** Does what is asked for. */
  abstract CompletionStage<Reply> answer(Call call);

  /** Takes note of a call, in the order in which they arrive. */
  void arrived(Call call) {}

  private CompletionStage<Reply> serve(Call call) {
    synchronized (calls) {
      calls.add(call);
    }
    arrived(call);
    return programme().run(call, () -> answer(call));
  }

  final void stop() {
    http.close();
  }

  /**
   * Where clients connect.
   *
   * @return the same for the whole life of this object
   */
  public final URI endpoint() {
    return http.uri();
  }

  /**
   * Ends all that was programmed, {@link #refuse()} and {@link #hold()} included. A call that meets
   * something already, goes on doing so.
   */
  public final void healthy() {
    programme().clear();
    programme().release();
    http.accept();
  }

  /** Ends {@link #hold()}, and lets go on what it held. */
  public final void release() {
    programme().release();
  }

  /**
   * Refuses connections, as where no server listens. Connections without a call under way are
   * closed, and the others after the answer.
   */
  public final void refuse() {
    http.refuse();
  }

  /** Accepts connections again, on the same port. */
  public final void accept() {
    http.accept();
  }

  /**
   * What has arrived.
   *
   * @return all calls so far, in order
   */
  public final List<Call> calls() {
    synchronized (calls) {
      return List.copyOf(calls);
    }
  }

  /**
   * What has arrived.
   *
   * @param operation for instance {@code GetItem}
   * @return how many calls of it
   */
  public final int calls(String operation) {
    return (int) calls().stream().filter(call -> call.operation().equals(operation)).count();
  }

  /**
   * What has arrived.
   *
   * @return the operations of all calls so far, in order
   */
  public final List<String> operations() {
    return calls().stream().map(Call::operation).toList();
  }

  /**
   * What has arrived.
   *
   * @param operation for instance {@code GetItem}
   * @return the body of the last call of it, or null where there was none
   */
  public final @Nullable String lastRequest(String operation) {
    String last = null;
    for (Call call : calls()) {
      if (call.operation().equals(operation)) {
        last = call.body();
      }
    }
    return last;
  }

  /**
   * How many calls are under way.
   *
   * @return the number of those that were not answered and whose clients still wait
   */
  public final int underWay() {
    return http.underWay();
  }
}
