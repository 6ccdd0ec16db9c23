package io.asherah.reactive.benchmarks;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;

/** Secrets of this project for the threads of a benchmark, with the factory that owns them. */
final class OurSecrets {
  private final SecretFactory factory;
  private final List<Secret> secrets;

  OurSecrets(Duration accessWindow, int count, int length) {
    factory = SecretFactory.builder().accessWindow(accessWindow).build();
    secrets =
        IntStream.range(0, count)
            .mapToObj(i -> factory.create(Bytes.random(length)).block())
            .toList();
  }

  Secret get(int index) {
    return secrets.get(index);
  }

  void close() {
    factory.close().block();
  }
}
