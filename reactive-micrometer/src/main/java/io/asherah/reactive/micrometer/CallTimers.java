package io.asherah.reactive.micrometer;

import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The timers of all calls to back ends of one kind, by the names of these. How many names there are
 * is bounded, for the sake of a back end that calls itself something else all the time.
 */
final class CallTimers<C extends Enum<C>> {
  private static final int MAX_NAMES = 16;
  private static final int MAX_NAME_LENGTH = 32;
  private static final String OTHER = "other";

  private final MeterRegistry registry;
  private final String prefix;
  private final C[] calls;
  private final Tags tags;
  private final String description;

  /** By the names that back ends give themselves; a map in here does not change any more. */
  private final AtomicReference<Map<String, BackEnd>> backEnds = new AtomicReference<>(Map.of());

  CallTimers(MeterRegistry registry, String prefix, C[] calls, Tags tags, String description) {
    this.registry = registry;
    this.prefix = prefix;
    this.calls = calls;
    this.tags = tags;
    this.description = description;
  }

  OutcomeTimer of(String name, C call) {
    BackEnd known = Objects.requireNonNull(backEnds.get()).get(name);
    return (known != null ? known : add(name)).timers()[call.ordinal()];
  }

  private BackEnd add(String name) {
    Map<String, BackEnd> added =
        backEnds.updateAndGet(
            before ->
                before.containsKey(name) || before.size() < MAX_NAMES
                    ? with(name, before)
                    : with(OTHER, before));
    BackEnd backEnd = added.get(name);
    return backEnd != null ? backEnd : Objects.requireNonNull(added.get(OTHER));
  }

  private Map<String, BackEnd> with(String name, Map<String, BackEnd> before) {
    if (before.containsKey(name)) {
      return before;
    }
    Map<String, BackEnd> after = new HashMap<>(before);
    after.put(name, new BackEnd(sanitised(name)));
    return after;
  }

  /** A name as a part or a tag of a meter. */
  static String sanitised(String name) {
    String start = name.substring(0, Math.min(name.length(), MAX_NAME_LENGTH));
    String clean = start.replaceAll("[^A-Za-z0-9_-]", "_").toLowerCase(Locale.ROOT);
    return clean.isEmpty() ? OTHER : clean;
  }

  private static String nameOf(Enum<?> call) {
    return call.name().replace("_", "").toLowerCase(Locale.ROOT);
  }

  /** Has its place before its meters are registered, so that none are for a name without one. */
  private final class BackEnd {
    private final String name;

    /** By the ordinals of calls. */
    private volatile OutcomeTimer @Nullable [] timers;

    BackEnd(String name) {
      this.name = name;
    }

    OutcomeTimer[] timers() {
      OutcomeTimer[] registered = timers;
      if (registered == null) {
        // Two threads may come here; the registry gives both the same meters.
        registered =
            Stream.of(calls)
                .map(
                    call ->
                        OutcomeTimer.register(
                            registry, prefix + name + "." + nameOf(call), tags, description))
                .toArray(OutcomeTimer[]::new);
        timers = registered;
      }
      return registered;
    }
  }
}
