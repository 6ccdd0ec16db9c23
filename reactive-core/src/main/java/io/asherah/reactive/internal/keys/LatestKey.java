package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.KeyEvent.Type;
import java.time.Instant;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * The way to the version of a key that new data is sealed under: the latest one if it may be used,
 * or else a new one; and where another process was faster, its one.
 *
 * @param <T> what is found
 */
abstract class LatestKey<T> {
  private final KeyRules rules;
  private final String name;

  /**
   * Makes a way.
   *
   * @param name what errors call the key
   */
  LatestKey(KeyRules rules, String name) {
    this.rules = rules;
    this.name = name;
  }

  /** Reads the latest version, or completes empty where there is none. */
  abstract Mono<SealedKey> read();

  /** Reads one version, or completes empty where there is none of that time. */
  abstract Mono<SealedKey> read(Instant created);

  /** Completes empty where this version may not be used for new data. */
  abstract Mono<T> ifUsable(SealedKey key);

  /** Makes and stores a version, or completes empty where there is one of that time. */
  abstract Mono<T> make(Instant created, Type event);

  /** The first creation time from the given one on that a new key may have. */
  abstract Instant free(Instant created);

  Mono<T> findOrMake() {
    return usableOr(latest -> makeAt(free(rules.creationTime(latest)), eventAfter(latest)));
  }

  private Mono<T> makeAt(Instant created, Type event) {
    // The version that took the place is usually the latest one; not where that is dated in the
    // future. It may not be used either, if it was revoked in the minute it was made: then a later
    // place is tried, once.
    return make(created, event)
        .switchIfEmpty(
            usableOr(
                latest ->
                    winnerOf(created, latest)
                        .switchIfEmpty(
                            Mono.defer(
                                () -> makeLater(free(rules.after(later(created, latest))))))));
  }

  private Mono<T> makeLater(Instant created) {
    return make(created, Type.ROTATED)
        .switchIfEmpty(
            usableOr(latest -> winnerOf(created, latest).switchIfEmpty(Mono.error(this::noPlace))));
  }

  private Mono<T> winnerOf(Instant created, @Nullable Instant latest) {
    return created.equals(latest)
        ? Mono.empty()
        : Mono.defer(() -> read(created)).flatMap(this::ifUsable);
  }

  private Mono<T> usableOr(Otherwise<T> otherwise) {
    return Mono.defer(this::read)
        .map(Optional::of)
        .defaultIfEmpty(Optional.empty())
        .flatMap(
            found ->
                Mono.justOrEmpty(found)
                    .flatMap(this::ifUsable)
                    .switchIfEmpty(
                        Mono.defer(
                            () ->
                                otherwise.get(
                                    found.map(key -> key.meta().created()).orElse(null)))));
  }

  /** What to do where the latest version, if there is one, may not be used. */
  @FunctionalInterface
  private interface Otherwise<T> {
    Mono<T> get(@Nullable Instant latest);
  }

  private static Type eventAfter(@Nullable Instant latest) {
    return latest == null ? Type.CREATED : Type.ROTATED;
  }

  private static Instant later(Instant one, @Nullable Instant other) {
    return other != null && other.isAfter(one) ? other : one;
  }

  private AppEncryptionException noPlace() {
    return new AppEncryptionException(
        "the metastore refused %s as a duplicate, and its latest one may not be used for new data;"
                .formatted(name)
            + " try again later",
        null,
        true);
  }
}
