package io.asherah.reactive.architecture;

import static com.tngtech.archunit.base.DescribedPredicate.describe;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaAccess;
import java.util.Set;
import org.reactivestreams.Publisher;

/** Calls, also by a method reference, that need a reason. */
final class Calls {
  private static final Set<String> SUBSCRIBING =
      Set.of(
          "subscribe",
          "subscribeWith",
          "toFuture",
          "connect",
          "autoConnect",
          "refCount",
          "cache",
          "cacheInvalidateIf",
          "cacheInvalidateWhen",
          "share",
          "shareNext",
          "block",
          "blockFirst",
          "blockLast",
          "blockOptional",
          "toIterable",
          "toStream");

  /** Of a Mono, a Flux, a ConnectableFlux, a ParallelFlux, or whatever else publishes. */
  static final DescribedPredicate<JavaAccess<?>> SUBSCRIBE =
      describe(
          "is an operator that subscribes, shares or blocks",
          access ->
              SUBSCRIBING.contains(access.getName())
                  && access.getTargetOwner().isAssignableTo(Publisher.class));

  static final DescribedPredicate<JavaAccess<?>> PRINT =
      describe(
          "is a standard stream or printStackTrace",
          access ->
              access.getTargetOwner().isEquivalentTo(System.class)
                      && Set.of("in", "out", "err").contains(access.getName())
                  || access.getTargetOwner().isAssignableTo(Throwable.class)
                      && access.getName().equals("printStackTrace"));

  private Calls() {}
}
