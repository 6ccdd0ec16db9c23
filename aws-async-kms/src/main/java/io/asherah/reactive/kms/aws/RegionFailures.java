package io.asherah.reactive.kms.aws;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** How the regions failed that were asked so far, in that order. Immutable. */
final class RegionFailures {
  private record Failed(KmsRegion region, KmsException failure) {}

  private final List<Failed> all;

  private RegionFailures(List<Failed> all) {
    this.all = all;
  }

  static RegionFailures none() {
    return new RegionFailures(List.of());
  }

  RegionFailures and(KmsRegion region, KmsException failure) {
    List<Failed> more = new ArrayList<>(all);
    more.add(new Failed(region, failure));
    return new RegionFailures(more);
  }

  /** How long it takes that a region does not answer is known, and not waited for twice. */
  Optional<KmsException> timeoutOf(KmsRegion region) {
    return all.stream()
        .filter(failed -> failed.region == region && failed.failure.kind() == Kind.TIMEOUT)
        .map(Failed::failure)
        .findFirst();
  }

  /**
   * One error for all of them. Its kind is that of the first that may pass, so that the call is
   * made again if it may succeed then, or else that of the first.
   */
  KmsException toException(String what) {
    List<KmsException> failures = all.stream().map(Failed::failure).toList();
    KmsException first =
        failures.stream()
            .filter(KmsException::isRetryable)
            .findFirst()
            .orElseGet(() -> failures.get(0));
    KmsException one =
        new KmsException(
            first.kind(),
            failures.stream()
                .map(failure -> "%s (%s)".formatted(failure.getMessage(), failure.kind()))
                .collect(Collectors.joining("; ", what + ": ", "")),
            first.getCause());
    failures.stream().filter(failure -> failure != first).forEach(one::addSuppressed);
    return one;
  }
}
