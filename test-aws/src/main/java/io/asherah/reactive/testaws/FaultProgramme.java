package io.asherah.reactive.testaws;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/** Which calls go wrong, and how. */
final class FaultProgramme {
  /** A call meets at most one fault of each, from the first to the last. */
  enum Layer {
    BEFORE,
    DELAY,
    ANSWER
  }

  /** What a fault does with a call; {@code inner} goes on with it. */
  interface Effect {
    CompletionStage<Reply> around(Supplier<CompletionStage<Reply>> inner);
  }

  private static final class Fault {
    final Layer layer;
    final Set<String> operations;
    final Effect effect;
    final boolean limited;
    int left;

    Fault(Layer layer, Set<String> operations, int times, Effect effect) {
      this.layer = layer;
      this.operations = operations;
      this.effect = effect;
      this.limited = times < Integer.MAX_VALUE;
      this.left = times;
    }

    boolean meets(Layer otherLayer, String operation) {
      return layer == otherLayer && (operations.isEmpty() || operations.contains(operation));
    }
  }

  private final Protocol protocol;

  // Guarded by this.
  private final List<Fault> faults = new ArrayList<>();
  private CompletableFuture<Void> released = new CompletableFuture<>();

  FaultProgramme(Protocol protocol) {
    this.protocol = protocol;
  }

  Protocol protocol() {
    return protocol;
  }

  synchronized void add(Layer layer, Set<String> operations, int times, Effect effect) {
    faults.add(new Fault(layer, operations, times, effect));
  }

  synchronized void clear() {
    faults.clear();
  }

  synchronized void hold(Set<String> operations, int times, Executor executor) {
    add(Layer.BEFORE, operations, times, new Hold(released, executor));
  }

  /** Ends every hold, and lets go on what it held. */
  void release() {
    CompletableFuture<Void> gate;
    synchronized (this) {
      gate = released;
      released = new CompletableFuture<>();
      faults.removeIf(fault -> fault.effect instanceof Hold);
    }
    gate.complete(null);
  }

  CompletionStage<Reply> run(Call call, Supplier<CompletionStage<Reply>> real) {
    Effect before;
    Effect delay;
    Effect answer;
    synchronized (this) {
      before = take(Layer.BEFORE, call.operation());
      delay = take(Layer.DELAY, call.operation());
      answer = take(Layer.ANSWER, call.operation());
    }
    return before.around(() -> delay.around(() -> answer.around(real)));
  }

  private Effect take(Layer layer, String operation) {
    Effect unlimited = Supplier::get;
    for (Iterator<Fault> each = faults.iterator(); each.hasNext(); ) {
      Fault fault = each.next();
      if (!fault.meets(layer, operation)) {
        continue;
      }
      if (fault.limited) {
        fault.left--;
        if (fault.left == 0) {
          each.remove();
        }
        return fault.effect;
      }
      unlimited = fault.effect;
    }
    return unlimited;
  }

  private record Hold(CompletableFuture<Void> released, Executor executor) implements Effect {
    @Override
    public CompletionStage<Reply> around(Supplier<CompletionStage<Reply>> inner) {
      return released.thenComposeAsync(nothing -> inner.get(), executor);
    }
  }
}
