package io.asherah.reactive.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.junit.jupiter.api.Assumptions.abort;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * What every {@link KeyManagementService} must do, as tests. A JUnit Jupiter test class of an
 * implementation gets them by implementing this interface:
 *
 * <pre>{@code
 * class MyKeyManagementServiceTest implements KeyManagementServiceTestKit {
 *   @Override
 *   public KeyManagementService keyManagementService() {
 *     return new MyKeyManagementService(client, masterKeyId);
 *   }
 * }
 * }</pre>
 *
 * <p>The keys that are wrapped lie in locked memory, on platforms that have it. With BlockHound
 * installed the tests also find calls that block. Safe for use by many threads if the service is.
 */
public interface KeyManagementServiceTestKit {

  /**
   * The key management service under test. Every test asks for it once.
   *
   * @return a new one each time or always the same, but always with the same master key
   */
  KeyManagementService keyManagementService();

  /**
   * A service of the same kind that cannot be reached, for instance one with a port where nothing
   * listens.
   *
   * @return empty, unless overridden, if the test of failures is not to run
   */
  default Optional<KeyManagementService> unreachableKeyManagementService() {
    return Optional.empty();
  }

  /**
   * How long a test waits for one answer.
   *
   * @return 10 seconds unless overridden
   */
  default Duration timeout() {
    return Duration.ofSeconds(10);
  }

  /**
   * Whether every byte of a wrapped key is covered by a tag. Where some are not, because its form
   * names regions or has white space, altering one of those may go unnoticed, but must give the
   * right key then.
   *
   * @return true unless overridden
   */
  default boolean isEveryByteAuthenticated() {
    return true;
  }

  // Wrapping and unwrapping.

  /** What was wrapped is unwrapped to the same 32 bytes, whatever these are. */
  @Test
  default void wrappedKey_isUnwrappedToTheSameBytes() {
    KeyManagementService kms = keyManagementService();
    byte[] zeros = new byte[CryptoKey.LENGTH];
    byte[] ones = zeros.clone();
    Arrays.fill(ones, (byte) 0xff);
    for (byte[] key : List.of(key(1), key(2), zeros, ones)) {
      assertThat(unwrap(kms, wrap(kms, key))).isEqualTo(key);
    }
  }

  /** A wrapped key is not the key, and does not contain it. */
  @Test
  default void wrappedKey_doesNotContainTheKey() {
    assertThat(hex(wrap(keyManagementService(), key(1)))).doesNotContain(hex(key(1)));
  }

  /** A key that is wrapped twice can be unwrapped from both, whether or not they are equal. */
  @Test
  default void keyWrappedTwice_isUnwrappedFromBoth() {
    KeyManagementService kms = keyManagementService();
    byte[] first = wrap(kms, key(1));
    byte[] second = wrap(kms, key(1));
    assertThat(unwrap(kms, first)).isEqualTo(key(1));
    assertThat(unwrap(kms, second)).isEqualTo(key(1));
  }

  /** Wrapping leaves the secret of the caller open and as it was. */
  @Test
  default void wrapping_leavesTheSecretAsItWas() {
    KeyManagementService kms = keyManagementService();
    try (Secret secret = secret(key(1))) {
      answers().of(kms.encryptKey(secret));
      assertThat(secret.isClosed()).isFalse();
      assertThat(answers().of(secret.withBytes(byte[]::clone))).isEqualTo(key(1));
    }
  }

  /** Unwrapping does not change the array of the caller. */
  @Test
  default void unwrapping_leavesTheArrayAsItWas() {
    KeyManagementService kms = keyManagementService();
    byte[] wrapped = wrap(kms, key(1));
    byte[] copy = wrapped.clone();
    unwrap(kms, wrapped);
    assertThat(wrapped).isEqualTo(copy);
  }

  /** Every array and key that is handed out belongs to its subscriber, who may wipe it. */
  @Test
  default void whatIsHandedOut_belongsToTheSubscriber() {
    KeyManagementService kms = keyManagementService();
    byte[] wrapped = wrap(kms, key(1));
    Mono<CryptoKey> decrypt = kms.decryptKey(wrapped);
    Arrays.fill(answers().of(decrypt).take(), (byte) 0);
    assertThat(answers().of(decrypt).take()).isEqualTo(key(1));
    try (Secret secret = secret(key(2))) {
      Mono<byte[]> encrypt = kms.encryptKey(secret);
      Arrays.fill(answers().of(encrypt), (byte) 0);
      assertThat(unwrap(kms, answers().of(encrypt))).isEqualTo(key(2));
    }
  }

  // What is not a wrapped key.

  /** An altered wrapped key is an error: never empty, and never another key. */
  @Test
  default void tamperedKey_isAnError() {
    KeyManagementService kms = keyManagementService();
    byte[] wrapped = wrap(kms, key(1));
    // Both ends, where formats have versions and tags, and some of what is between.
    IntStream.concat(
            IntStream.of(0, 1, wrapped.length - 2, wrapped.length - 1),
            IntStream.range(0, 20).map(i -> i * wrapped.length / 20))
        .filter(position -> position >= 0 && position < wrapped.length)
        .distinct()
        .forEach(
            position -> {
              byte[] tampered = wrapped.clone();
              tampered[position] ^= 1;
              assertIsRefused(
                  kms,
                  tampered,
                  "byte %d of %d altered".formatted(position, wrapped.length),
                  isEveryByteAuthenticated());
            });
  }

  /** A wrapped key of which something is missing is an error, and so is nothing at all. */
  @Test
  default void truncatedKey_isAnError() {
    KeyManagementService kms = keyManagementService();
    byte[] wrapped = wrap(kms, key(1));
    IntStream.of(0, 1, 12, 28, wrapped.length / 2, wrapped.length - 1)
        .filter(length -> length < wrapped.length)
        .distinct()
        .forEach(
            length ->
                assertIsRefused(
                    kms,
                    Arrays.copyOf(wrapped, length),
                    "cut to %d of %d bytes".formatted(length, wrapped.length),
                    true));
  }

  /** Bytes that never were a wrapped key are an error. */
  @Test
  default void whatNeverWasAWrappedKey_isAnError() {
    KeyManagementService kms = keyManagementService();
    for (int length : new int[] {32, 60, 61, 1_024}) {
      assertIsRefused(kms, new byte[length], length + " zeros", true);
    }
  }

  // Subscriptions.

  /** Without a subscription the secret is not read; every subscription reads it. */
  @Test
  default void wrappingSubscribedTwice_readsTheSecretTwice() {
    KeyManagementService kms = keyManagementService();
    try (CountingSecret secret = new CountingSecret(secret(key(1)))) {
      Mono<byte[]> encrypt = kms.encryptKey(secret);
      assertThat(secret.reads()).as("reads before a subscription").isZero();
      byte[] first = answers().of(encrypt);
      int reads = secret.reads();
      assertThat(reads).as("reads by one subscription").isPositive();
      byte[] second = answers().of(encrypt);
      assertThat(secret.reads()).as("reads by two subscriptions").isGreaterThan(reads);
      assertThat(unwrap(kms, first)).isEqualTo(key(1));
      assertThat(unwrap(kms, second)).isEqualTo(key(1));
    }
  }

  /** Every subscription to an unwrapping gives a key of its own. */
  @Test
  default void unwrappingSubscribedTwice_givesTwoKeys() {
    KeyManagementService kms = keyManagementService();
    Mono<CryptoKey> decrypt = kms.decryptKey(wrap(kms, key(1)));
    try (CryptoKey first = answers().of(decrypt);
        CryptoKey second = answers().of(decrypt)) {
      assertThat(first).isNotSameAs(second);
      assertThat(first.take()).isEqualTo(key(1));
      assertThat(second.take()).isEqualTo(key(1));
    }
  }

  /** What cannot be unwrapped is signalled, and not thrown before a subscription. */
  @Test
  default void unwrappingWithoutSubscription_doesNothing() {
    KeyManagementService kms = keyManagementService();
    assertThatCode(() -> kms.decryptKey(new byte[0])).doesNotThrowAnyException();
    assertThatCode(() -> kms.decryptKey(new byte[60])).doesNotThrowAnyException();
  }

  /** After many calls that were cancelled, at once or a little later, it works as before. */
  @Test
  default void cancelledSubscriptions_leaveItUsable() {
    KeyManagementService kms = keyManagementService();
    byte[] wrapped = wrap(kms, key(1));
    try (Secret secret = secret(key(1))) {
      answers().cancelled(() -> kms.encryptKey(secret));
      assertThat(secret.isClosed()).isFalse();
    }
    answers().cancelled(() -> kms.decryptKey(wrapped).doOnNext(CryptoKey::close));

    assertThat(unwrap(kms, wrapped)).isEqualTo(key(1));
    assertThat(unwrap(kms, wrap(kms, key(2)))).isEqualTo(key(2));
  }

  /** Twenty calls at once do not disturb each other; all are subscribed to without blocking. */
  @Test
  default void concurrentCalls_eachGetTheirOwn() {
    KeyManagementService kms = keyManagementService();
    List<Secret> secrets = IntStream.range(0, 20).mapToObj(i -> secret(key(i))).toList();

    List<byte[]> unwrapped =
        answers()
            .together(
                secrets.stream()
                    .map(
                        secret ->
                            kms.encryptKey(secret).flatMap(kms::decryptKey).map(CryptoKey::take))
                    .toList());

    secrets.forEach(Secret::close);
    assertThat(unwrapped)
        .containsExactlyInAnyOrderElementsOf(
            IntStream.range(0, 20).mapToObj(KeyManagementServiceTestKit::key).toList());
  }

  /** All calls can be subscribed to on a thread that must not block. */
  @Test
  default void subscribedOnANonBlockingThread_works() {
    KeyManagementService kms = keyManagementService();
    try (Secret secret = secret(key(1))) {
      byte[] wrapped = answers().of(kms.encryptKey(secret).subscribeOn(Schedulers.parallel()));
      assertThat(answers().of(kms.decryptKey(wrapped).subscribeOn(Schedulers.parallel())).take())
          .isEqualTo(key(1));
    }
  }

  /** The name is a short word that metrics can use. */
  @Test
  default void name_isAShortWord() {
    assertThat(keyManagementService().name()).matches("[a-z0-9-]+");
  }

  /** A service that cannot be reached is an error. */
  @Test
  default void unreachableService_isAnError() {
    KeyManagementService unreachable =
        unreachableKeyManagementService()
            .orElseGet(() -> abort("the test class has no unreachableKeyManagementService()"));
    byte[] wrapped = wrap(keyManagementService(), key(1));
    try (Secret secret = secret(key(1))) {
      answers().signals(KmsException.class, "wrapping", unreachable.encryptKey(secret));
    }
    answers().signals(KmsException.class, "unwrapping", unreachable.decryptKey(wrapped));
  }

  // What the tests share.

  private Answers answers() {
    return new Answers(timeout());
  }

  /** A key that is easy to tell from others. */
  private static byte[] key(int seed) {
    byte[] key = new byte[CryptoKey.LENGTH];
    IntStream.range(0, key.length).forEach(i -> key[i] = (byte) (seed + 7 * i));
    return key;
  }

  private Secret secret(byte[] key) {
    return answers().of(CountingSecret.FACTORY.create(key.clone()));
  }

  private byte[] wrap(KeyManagementService kms, byte[] key) {
    try (Secret secret = secret(key)) {
      return answers().of(kms.encryptKey(secret));
    }
  }

  private byte[] unwrap(KeyManagementService kms, byte[] wrapped) {
    return answers().of(kms.decryptKey(wrapped)).take();
  }

  private void assertIsRefused(
      KeyManagementService kms, byte[] wrapped, String what, boolean isAlwaysRefused) {
    Mono<byte[]> unwrapped = kms.decryptKey(wrapped).map(CryptoKey::take);
    if (isAlwaysRefused) {
      answers().signals(KmsException.class, "the signal for a wrapped key, " + what, unwrapped);
    } else {
      assertThat(answers().of(unwrapped.onErrorReturn(KmsException.class, key(1))))
          .as("what a wrapped key, %s, is unwrapped to", what)
          .isEqualTo(key(1));
    }
  }

  private static String hex(byte[] bytes) {
    return HexFormat.of().formatHex(bytes);
  }
}
