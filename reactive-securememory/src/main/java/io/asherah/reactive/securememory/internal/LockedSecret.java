package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.Secret;
import java.util.Arrays;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/** A secret in a {@link LockedRegion}. */
final class LockedSecret implements Secret {
  private final LockedSecretFactory factory;
  private final LockedRegion region;
  private final int generation = LockedRegion.FIRST_GENERATION;
  private final int length;

  LockedSecret(LockedSecretFactory factory, LockedRegion region, int length) {
    this.factory = factory;
    this.region = region;
    this.length = length;
  }

  @Override
  public int length() {
    return length;
  }

  @Override
  public <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function) {
    Objects.requireNonNull(function, "function");
    return Mono.defer(
        () -> {
          byte[] copy = new byte[length];
          if (region.read(generation, copy)) {
            return Mono.justOrEmpty(use(copy, function));
          }
          return Handover.receive(
              region::coldRead,
              unused -> Arrays.fill(unused, (byte) 0),
              factory.continuationScheduler(),
              received -> use(received, function));
        });
  }

  private static <R> @Nullable R use(
      byte[] copy, Function<? super byte[], ? extends @Nullable R> function) {
    try {
      return function.apply(copy);
    } finally {
      Arrays.fill(copy, (byte) 0);
    }
  }

  @Override
  public boolean isClosed() {
    return region.generation() != generation;
  }

  @Override
  public void close() {
    factory.free(region, generation);
  }

  @Override
  public String toString() {
    return "Secret[****]";
  }
}
