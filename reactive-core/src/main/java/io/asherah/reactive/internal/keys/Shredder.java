package io.asherah.reactive.internal.keys;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.KeyEvent.Type;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeySelector;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Deletes the keys of partitions for ever. */
public final class Shredder {
  /** How often keys that appear while others are deleted are deleted too. */
  private static final int ROUNDS = 10;

  private final BackEnds backEnds;
  private final KeyRules rules;
  private final IntermediateKeys keys;
  private final Shredded shredded;
  private final KeyMemory memory;
  private final Timing timing;
  private final KeyEvents events;

  Shredder(
      BackEnds backEnds,
      KeyRules rules,
      IntermediateKeys keys,
      Shredded shredded,
      KeyMemory memory,
      Timing timing,
      KeyEvents events) {
    this.backEnds = backEnds;
    this.rules = rules;
    this.keys = keys;
    this.shredded = shredded;
    this.memory = memory;
    this.timing = timing;
    this.events = events;
  }

  /**
   * What was deleted, and when.
   *
   * @param deleted each version once
   */
  public record Result(List<KeyMeta> deleted, Instant started, Instant finished) {}

  Flux<KeyInfo> keysOf(Partition partition) {
    return list(partition).flatMapIterable(all -> all);
  }

  private Mono<List<KeyInfo>> list(Partition partition) {
    // An id that starts alike may be that of another partition.
    return backEnds
        .list(KeySelector.idPrefix(partition.unsuffixedIntermediateKeyId()))
        .map(all -> all.stream().filter(key -> partition.isItsKey(key)).toList());
  }

  Mono<Result> shred(Partition partition) {
    return Mono.defer(
        () -> {
          Instant started = timing.clock().instant();
          shredded.forgetBefore(rules.rounded(started));
          // With those whose deletion an attempt before this one was not told of: they are gone for
          // certain when none is listed any more.
          Set<KeyMeta> mine = new LinkedHashSet<>(shredded.of(partition.ringName()));
          return forget(partition)
              .then(deleteAll(partition, mine, 1))
              .then(Mono.defer(() -> waitUntilNoneCanReturn(mine)))
              .then(Mono.defer(() -> deleteThoseThatReturned(partition, mine)))
              .then(Mono.fromSupplier(() -> finished(partition, mine, started)))
              // What failed or was given up may have deleted keys all the same.
              .onErrorResume(e -> forget(partition).then(Mono.error(e)))
              .doOnCancel(() -> memory.scheduler().schedule(() -> keys.forget(partition)));
        });
  }

  private Result finished(Partition partition, Set<KeyMeta> mine, Instant started) {
    shredded.remove(partition.ringName(), mine);
    return new Result(new ArrayList<>(mine), started, timing.clock().instant());
  }

  private Mono<Void> deleteAll(Partition partition, Set<KeyMeta> mine, int round) {
    return list(partition)
        .flatMap(
            found -> {
              if (found.isEmpty()) {
                return Mono.empty();
              }
              if (round > ROUNDS) {
                return Mono.error(
                    new AppEncryptionException(
                        "keys of the partition are made as fast as they are deleted; stop writing"
                            + " to it, and shred it again",
                        null,
                        true));
              }
              return delete(partition, found, mine)
                  .then(Mono.defer(() -> deleteAll(partition, mine, round + 1)));
            });
  }

  private Mono<Void> delete(Partition partition, List<KeyInfo> found, Set<KeyMeta> mine) {
    // Noted first: from now on this process gives no key the name of one of these.
    found.forEach(key -> shredded.add(partition.ringName(), key.meta()));
    return Flux.fromIterable(found)
        .concatMap(
            key ->
                backEnds
                    .delete(KeySelector.version(key.meta()))
                    // None may have been there any more: an attempt whose answer was lost counts.
                    .doOnNext(
                        count -> {
                          if (mine.add(key.meta())) {
                            events.tell(Type.SHREDDED, key.meta());
                          }
                        }))
        .then(forget(partition));
  }

  private Mono<Void> forget(Partition partition) {
    return Mono.<Void>fromRunnable(() -> keys.forget(partition)).subscribeOn(memory.scheduler());
  }

  /**
   * New keys are dated with the start of the current minute, in every process. Those dated later,
   * see {@link KeyRules#after}, are waited for in the same way.
   */
  private Mono<Void> waitUntilNoneCanReturn(Set<KeyMeta> mine) {
    Instant now = timing.clock().instant();
    Instant safe =
        mine.stream()
            .map(key -> rules.nextWindow(key.created()))
            .max(Instant::compareTo)
            .orElse(now);
    Duration longest = Duration.between(now, rules.nextWindow(rules.nextWindow(now)));
    Duration rest = Duration.between(now, safe);
    if (rest.isNegative() || rest.isZero()) {
      return Mono.empty();
    }
    return Mono.delay(rest.compareTo(longest) < 0 ? rest : longest, timing.timer())
        .publishOn(timing.continuation())
        .then();
  }

  private Mono<Void> deleteThoseThatReturned(Partition partition, Set<KeyMeta> mine) {
    return list(partition)
        .map(found -> found.stream().filter(key -> mine.contains(key.meta())).toList())
        .filter(found -> !found.isEmpty())
        .flatMap(found -> delete(partition, found, mine))
        .then(forget(partition));
  }
}
