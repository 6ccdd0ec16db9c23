package io.asherah.reactive;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import java.nio.charset.StandardCharsets;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * A key management service whose master key is given by the program: <b>for tests and
 * demonstrations only</b>. The key lies on the Java heap for as long as this object lives, and
 * whoever has it can open everything. Making one logs a warning.
 *
 * <p>Wraps as the static service of every other Asherah does: AES-256-GCM under the master key, 60
 * bytes. Works on {@link Schedulers#boundedElastic()}. A wrapped key that this master key does not
 * open signals {@link KmsException} of kind {@link KmsException.Kind#INVALID_CIPHERTEXT}. Safe for
 * use by many threads.
 */
public final class StaticKeyManagementService implements KeyManagementService {
  private static final Logger log = LoggerFactory.getLogger(StaticKeyManagementService.class);

  private final byte[] masterKey;
  private final Scheduler blocking = Schedulers.boundedElastic();
  private final KeyCipher cipher = KeyCipher.create();

  private StaticKeyManagementService(byte[] masterKey) {
    if (masterKey.length != CryptoKey.LENGTH) {
      throw new IllegalArgumentException(
          "the master key must be %d bytes long, was %d"
              .formatted(CryptoKey.LENGTH, masterKey.length));
    }
    this.masterKey = masterKey;
    log.warn(
        "The static key management service is for tests: whoever has this process or its settings has"
            + " the master key. Use one that keeps the key to itself");
  }

  /**
   * Uses the given master key.
   *
   * @param masterKey exactly 32 bytes; copied
   * @return a new service
   * @throws IllegalArgumentException if the key is not 32 bytes long
   */
  public static StaticKeyManagementService of(byte[] masterKey) {
    return new StaticKeyManagementService(masterKey.clone());
  }

  /**
   * Uses the UTF-8 bytes of a text as master key, as other implementations of Asherah do.
   *
   * @param masterKey a text of exactly 32 bytes in UTF-8
   * @return a new service
   * @throws IllegalArgumentException if the text is not 32 bytes long
   */
  public static StaticKeyManagementService ofUtf8(String masterKey) {
    return new StaticKeyManagementService(masterKey.getBytes(StandardCharsets.UTF_8));
  }

  @Override
  public Mono<byte[]> encryptKey(Secret systemKey) {
    return cipher
        .ready()
        .then(systemKey.withBytes(key -> cipher.seal(masterKey, key)))
        .subscribeOn(blocking);
  }

  @Override
  public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
    return cipher
        .ready()
        .then(Mono.fromSupplier(() -> cipher.open(masterKey, encryptedKey)))
        .onErrorMap(
            InvalidRecordException.class,
            e ->
                new KmsException(
                    KmsException.Kind.INVALID_CIPHERTEXT,
                    "the static master key does not open this system key: " + e.getMessage(),
                    e))
        .subscribeOn(blocking);
  }

  @Override
  public String name() {
    return "static";
  }

  @Override
  public String toString() {
    return "StaticKeyManagementService[****]";
  }
}
