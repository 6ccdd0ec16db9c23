package io.asherah.reactive.benchmarks;

import com.godaddy.asherah.securememory.Secret;
import com.godaddy.asherah.securememory.SecretFactory;
import com.godaddy.asherah.securememory.TransientSecretFactory;
import java.util.List;
import java.util.stream.IntStream;

/** Secrets of canonical Java for the threads of a benchmark. */
final class CanonicalSecrets {
  private final List<Secret> secrets;

  CanonicalSecrets(int count, int length) {
    SecretFactory factory = new TransientSecretFactory();
    secrets =
        IntStream.range(0, count)
            .mapToObj(i -> factory.createSecret(Bytes.random(length)))
            .toList();
  }

  Secret get(int index) {
    return secrets.get(index);
  }

  void close() {
    secrets.forEach(Secret::close);
  }
}
