package io.asherah.reactive.testkit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.publisher.Mono;

/** The kit finds what is wrong with a key management service. */
class KeyManagementServiceTestKitTest {

  /** What the kit is run for; its fields are set before. */
  static class Subject implements KeyManagementServiceTestKit {
    static Supplier<KeyManagementService> kms = Good::new;
    static Optional<KeyManagementService> unreachable = Optional.empty();
    static Duration timeout = Await.TIMEOUT;
    static boolean isEveryByteAuthenticated = true;

    @Override
    public KeyManagementService keyManagementService() {
      return kms.get();
    }

    @Override
    public Optional<KeyManagementService> unreachableKeyManagementService() {
      return unreachable;
    }

    @Override
    public Duration timeout() {
      return timeout;
    }

    @Override
    public boolean isEveryByteAuthenticated() {
      return isEveryByteAuthenticated;
    }
  }

  private static KitRun run(Supplier<KeyManagementService> kms) {
    Subject.kms = kms;
    return KitRun.of(Subject.class);
  }

  /** A service that does what it should, to be broken. */
  static class Good implements KeyManagementService {
    private static final KeyManagementService KMS =
        StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting");

    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return KMS.encryptKey(systemKey);
    }

    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return KMS.decryptKey(encryptedKey);
    }
  }

  static class AlwaysTheSameKey extends Good {
    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return Mono.fromSupplier(() -> CryptoKey.takeOwnershipOf(new byte[CryptoKey.LENGTH]));
    }
  }

  static class DoesNotWrap extends Good {
    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return systemKey.withBytes(byte[]::clone);
    }

    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return Mono.fromSupplier(() -> CryptoKey.takeOwnershipOf(encryptedKey.clone()));
    }
  }

  static class UnwrapsTheLatestOnly extends Good {
    private final AtomicReference<byte[]> latest = new AtomicReference<>(new byte[0]);

    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return super.encryptKey(systemKey).doOnNext(latest::set);
    }

    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return Mono.defer(
          () ->
              Arrays.equals(latest.get(), encryptedKey)
                  ? super.decryptKey(encryptedKey)
                  : Mono.error(new KmsException(KmsException.Kind.OTHER, "replaced", null)));
    }
  }

  static class ClosesTheSecret extends Good {
    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return super.encryptKey(systemKey).doOnNext(wrapped -> systemKey.close());
    }
  }

  static class WipesWhatItUnwraps extends Good {
    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return Mono.defer(() -> super.decryptKey(encryptedKey.clone()))
          .doOnNext(key -> Arrays.fill(encryptedKey, (byte) 0));
    }
  }

  static class EmptyForErrors extends Good {
    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return super.decryptKey(encryptedKey).onErrorComplete();
    }
  }

  static class AnotherException extends Good {
    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return super.decryptKey(encryptedKey)
          .onErrorMap(KmsException.class, e -> new IllegalStateException(e));
    }
  }

  static class AnotherKeyForErrors extends Good {
    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return super.decryptKey(encryptedKey)
          .onErrorResume(
              e -> Mono.fromSupplier(() -> CryptoKey.takeOwnershipOf(new byte[CryptoKey.LENGTH])));
    }
  }

  /** Puts a byte in front that nothing covers, and that it does not look at. */
  static class HasAByteWithoutTag extends Good {
    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return super.encryptKey(systemKey)
          .map(
              wrapped -> {
                byte[] longer = new byte[wrapped.length + 1];
                System.arraycopy(wrapped, 0, longer, 1, wrapped.length);
                return longer;
              });
    }

    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return super.decryptKey(
          Arrays.copyOfRange(encryptedKey, Math.min(1, encryptedKey.length), encryptedKey.length));
    }
  }

  static class ReadsTheSecretAtAssembly extends Good {
    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      byte[] key = new Answers(Await.TIMEOUT).of(systemKey.withBytes(byte[]::clone));
      return CountingSecret.FACTORY.create(key).flatMap(super::encryptKey).cache();
    }
  }

  static class RemembersTheAnswer extends Good {
    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return super.encryptKey(systemKey).cache();
    }

    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return super.decryptKey(encryptedKey).cache();
    }
  }

  static class ThrowsAtAssembly extends Good {
    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      if (encryptedKey.length < 60) {
        throw new KmsException(KmsException.Kind.INVALID_CIPHERTEXT, "too short", null);
      }
      return super.decryptKey(encryptedKey);
    }
  }

  static class LosesConnectionsToCancellation extends Good {
    private final AtomicInteger connections = new AtomicInteger(10);

    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return Mono.defer(
          () ->
              connections.getAndUpdate(free -> Math.max(0, free - 1)) == 0
                  ? Mono.never()
                  : super.decryptKey(encryptedKey).doOnTerminate(connections::incrementAndGet));
    }
  }

  static class MixesUpWhatIsConcurrent extends Good {
    private final AtomicReference<byte[]> buffer = new AtomicReference<>(new byte[0]);

    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return super.encryptKey(systemKey)
          .doOnNext(buffer::set)
          .delayElement(Duration.ofMillis(10))
          .map(wrapped -> buffer.get());
    }
  }

  static class Blocks extends Good {
    @Override
    public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
      return Mono.fromCallable(() -> new CountDownLatch(1).await(1, TimeUnit.MILLISECONDS))
          .then(super.decryptKey(encryptedKey));
    }
  }

  static class NeverAnswers extends Good {
    @Override
    public Mono<byte[]> encryptKey(Secret systemKey) {
      return Mono.never();
    }

    @Override
    public Mono<CryptoKey> decryptKey(byte[] wrappedKey) {
      return Mono.never();
    }
  }

  static class HasAStrangeName extends Good {
    @Override
    public String name() {
      return "AWS KMS";
    }
  }

  static Stream<Arguments> broken() {
    return Stream.of(
        broken(AlwaysTheSameKey::new, "wrappedKey_isUnwrappedToTheSameBytes"),
        broken(DoesNotWrap::new, "wrappedKey_doesNotContainTheKey"),
        broken(UnwrapsTheLatestOnly::new, "keyWrappedTwice_isUnwrappedFromBoth"),
        broken(
            ClosesTheSecret::new,
            "wrapping_leavesTheSecretAsItWas",
            "cancelledSubscriptions_leaveItUsable"),
        broken(WipesWhatItUnwraps::new, "unwrapping_leavesTheArrayAsItWas"),
        broken(
            EmptyForErrors::new,
            "tamperedKey_isAnError",
            "truncatedKey_isAnError",
            "whatNeverWasAWrappedKey_isAnError"),
        broken(
            AnotherException::new,
            "tamperedKey_isAnError",
            "truncatedKey_isAnError",
            "whatNeverWasAWrappedKey_isAnError"),
        broken(
            AnotherKeyForErrors::new,
            "tamperedKey_isAnError",
            "truncatedKey_isAnError",
            "whatNeverWasAWrappedKey_isAnError"),
        broken(HasAByteWithoutTag::new, "tamperedKey_isAnError"),
        broken(ReadsTheSecretAtAssembly::new, "wrappingSubscribedTwice_readsTheSecretTwice"),
        broken(
            RemembersTheAnswer::new,
            "wrappingSubscribedTwice_readsTheSecretTwice",
            "unwrappingSubscribedTwice_givesTwoKeys",
            "whatIsHandedOut_belongsToTheSubscriber"),
        broken(ThrowsAtAssembly::new, "unwrappingWithoutSubscription_doesNothing"),
        broken(LosesConnectionsToCancellation::new, "cancelledSubscriptions_leaveItUsable"),
        broken(MixesUpWhatIsConcurrent::new, "concurrentCalls_eachGetTheirOwn"),
        broken(Blocks::new, "subscribedOnANonBlockingThread_works"),
        broken(HasAStrangeName::new, "name_isAShortWord"));
  }

  private static Arguments broken(Supplier<KeyManagementService> kms, String... expectedFailures) {
    return arguments(Named.of(kms.get().getClass().getSimpleName(), kms), Set.of(expectedFailures));
  }

  @ParameterizedTest
  @MethodSource("broken")
  void brokenService_isFound(Supplier<KeyManagementService> kms, Set<String> expectedFailures) {
    // One of them leaves calls without an answer.
    Subject.timeout = Duration.ofSeconds(1);
    try {
      assertThat(run(kms).failed()).containsAll(expectedFailures);
    } finally {
      Subject.timeout = Await.TIMEOUT;
    }
  }

  @Test
  void missingAnswer_isFoundAfterTheTimeout() {
    Subject.timeout = Duration.ofMillis(50);
    try {
      assertThat(run(NeverAnswers::new).failed()).contains("wrappedKey_isUnwrappedToTheSameBytes");
    } finally {
      Subject.timeout = Await.TIMEOUT;
    }
  }

  @Test
  void swallowedErrors_areFound() {
    Subject.unreachable = Optional.of(new EmptyForErrors());
    try {
      assertThat(run(Good::new).failed()).containsExactly("unreachableService_isAnError");
    } finally {
      Subject.unreachable = Optional.empty();
    }
  }

  @Test
  void byteWithoutTag_isToleratedWhereThatIsDeclared() {
    Subject.isEveryByteAuthenticated = false;
    try {
      assertThat(run(HasAByteWithoutTag::new).failed()).isEmpty();
      assertThat(run(AnotherKeyForErrors::new).failed()).contains("tamperedKey_isAnError");
      assertThat(run(EmptyForErrors::new).failed()).contains("tamperedKey_isAnError");
    } finally {
      Subject.isEveryByteAuthenticated = true;
    }
  }

  @Test
  void goodService_passes_andWhatCannotBeTestedIsReported() {
    KitRun run = run(Good::new);

    assertThat(run.failed()).isEmpty();
    assertThat(run.aborted()).containsExactly("unreachableService_isAnError");
  }

  @Test
  void everyTest_failsForSomeBrokenService() {
    Set<String> proven = new HashSet<>(Set.of("unreachableService_isAnError"));
    broken()
        .flatMap(broken -> ((Set<?>) broken.get()[1]).stream())
        .forEach(test -> proven.add((String) test));

    assertThat(proven).isEqualTo(run(Good::new).started());
  }
}
