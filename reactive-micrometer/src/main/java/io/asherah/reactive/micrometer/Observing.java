package io.asherah.reactive.micrometer;

import io.micrometer.observation.ObservationRegistry;
import java.util.function.Supplier;
import org.reactivestreams.Publisher;
import reactor.core.observability.micrometer.Micrometer;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Gives calls to one back end observations, a new one for each subscription.
 *
 * @param registry where they are reported
 * @param prefix what their names start with
 * @param key the key that tells the back end
 * @param backEnd the name of the back end
 */
record Observing(ObservationRegistry registry, String prefix, String key, String backEnd) {

  // The call is deferred, so that its own names and tags, which could be anything, are not taken
  // for those of the observation, and what it throws is part of what is observed.

  <T> Mono<T> mono(String call, Supplier<Mono<T>> source) {
    return Mono.defer(source)
        .name(prefix + call)
        .tag(key, backEnd)
        .tap(Micrometer.observation(registry));
  }

  <T> Flux<T> flux(String call, Supplier<? extends Publisher<T>> source) {
    return Flux.defer(source)
        .name(prefix + call)
        .tag(key, backEnd)
        .tap(Micrometer.observation(registry));
  }
}
