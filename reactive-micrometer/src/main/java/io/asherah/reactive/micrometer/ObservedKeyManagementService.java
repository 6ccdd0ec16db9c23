package io.asherah.reactive.micrometer;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import io.micrometer.observation.ObservationRegistry;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * Gives every call to a key management service an observation: {@code asherah.kms.encryptkey} or
 * {@code .decryptkey}, with the low-cardinality key {@code kms}, which is {@link
 * KeyManagementService#name()}, and {@code reactor.status} and {@code reactor.type} from Reactor.
 * No key value has key material in it; an error is reported as the service signals it.
 *
 * <p>The parent is the observation in the Reactor context, under {@code "micrometer.observation"}:
 * that of the operation that started the load. Operations that only wait for it are not related to
 * the call. The service finds the new observation in the same place, as parent of what it observes
 * itself.
 *
 * <p>No name is that of a meter of {@link MicrometerMetricsRecorder}, so a handler that makes
 * meters of observations can be used besides.
 *
 * <p>Thread-safe if the service is.
 */
public final class ObservedKeyManagementService {
  private ObservedKeyManagementService() {}

  /**
   * Wraps a key management service. Each subscription to an answer starts one observation, which
   * ends with the value, the completion, the error, or when it is cancelled; the answer itself and
   * its thread stay as they are, and what the service throws is signalled. A handler of the
   * registry that throws makes the call fail; a key that was unwrapped is wiped then.
   *
   * @param kms the key management service
   * @param registry where observations are reported
   * @return a key management service
   */
  public static KeyManagementService create(
      KeyManagementService kms, ObservationRegistry registry) {
    return new Observed(
        kms,
        new Observing(
            Objects.requireNonNull(registry, "registry"), "asherah.kms.", "kms", kms.name()));
  }

  private record Observed(KeyManagementService kms, Observing observing)
      implements KeyManagementService {

    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return observing.mono("encryptkey", () -> kms.encryptKey(systemKey));
    }

    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return Mono.defer(
          () -> {
            AtomicReference<@Nullable CryptoKey> unwrapped = new AtomicReference<>();
            return observing
                .mono("decryptkey", () -> kms.decryptKey(encryptedKey).doOnNext(unwrapped::set))
                .doOnError(
                    e -> {
                      CryptoKey key = unwrapped.get();
                      if (key != null) {
                        key.close();
                      }
                    });
          });
    }

    @Override
    public String name() {
      return kms.name();
    }

    @Override
    public String toString() {
      return "ObservedKeyManagementService[%s]".formatted(kms);
    }
  }
}
