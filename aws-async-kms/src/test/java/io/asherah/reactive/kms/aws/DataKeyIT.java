package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.kms.aws.KeyEnvelope.Kek;
import io.asherah.reactive.kms.aws.KmsScenario.Failed;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.testsupport.Await;
import java.lang.ref.Reference;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Hooks;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Operators;
import reactor.test.StepVerifier;

/**
 * What becomes of the plaintext of data keys: nobody seals zeros, and nothing else is left in the
 * end, whenever a subscriber goes away.
 */
class DataKeyIT {
  private static final String HOOK = DataKeyIT.class.getName();

  /** Of a region that is late, and of others that are not. */
  private static final Duration REGION_TIMEOUT = Duration.ofSeconds(4);

  private final KmsScenario scenario = new KmsScenario(3);
  private final Map<String, WatchedClient> clients = new ConcurrentHashMap<>();
  private final Secret secret = scenario.secret(1);

  private AwsKeyManagementService.Builder watched() {
    return scenario.withRegions(AwsKeyManagementService.builder()).clientFactory(this::client);
  }

  private WatchedClient client(String region) {
    return clients.computeIfAbsent(region, name -> new WatchedClient(scenario.client(name)));
  }

  private WatchedClient client(int region) {
    return client(scenario.name(region));
  }

  @AfterEach
  void everythingIsWiped() {
    Hooks.resetOnEachOperator(HOOK);
    scenario.server.healthy();
    Await.until(() -> clients.values().stream().allMatch(client -> client.underWay() == 0));
    Await.until(this::isAllWiped);
    assertThat(clients.values()).noneMatch(WatchedClient::sawZeros);
    assertThat(
            scenario.server.requests().stream()
                .filter(request -> request.operation().equals("Encrypt"))
                .map(request -> request.call().body()))
        .noneMatch(body -> body.contains("AAAAAAAAAAAAAAAA"));
    Reference.reachabilityFence(secret);
    secret.close();
    scenario.close();
  }

  private boolean isAllWiped() {
    return clients.values().stream()
        .allMatch(
            client ->
                client.handedOut().stream().allMatch(WatchedClient::isZeros)
                    && client.given().stream().allMatch(WatchedClient::isZeros));
  }

  /** The only data key so far. */
  private byte[] dataKey() {
    List<byte[]> all =
        clients.values().stream().flatMap(client -> client.handedOut().stream()).toList();
    assertThat(all).hasSize(1);
    return all.get(0);
  }

  /** Every region that an envelope names opens it, alone, and to the same key. */
  private void assertOpensEverywhere(byte[] envelope, String... regions) {
    assertThat(KeyEnvelope.fromJson(envelope).keks())
        .extracting(Kek::region)
        .containsExactly(regions);
    for (String region : regions) {
      assertThat(unwrap(scenario.only(region), envelope)).isEqualTo(bytes(1));
    }
  }

  // Without somebody who cancels.

  @Test
  void dataKey_isOneArray_whichIsWipedWhenAllIsDone() {
    AwsKeyManagementService kms = watched().build();

    byte[] envelope = get(kms.encryptKey(secret));

    Await.until(this::isAllWiped);
    assertThat(client(1).given()).singleElement().isSameAs(dataKey());
    assertThat(client(2).given()).singleElement().isSameAs(dataKey());
    assertOpensEverywhere(envelope, scenario.name(0), scenario.name(1), scenario.name(2));

    get(kms.decryptKey(envelope)).close();
    assertThat(client(0).handedOut()).hasSize(2);
    Await.until(this::isAllWiped);
  }

  @Test
  void tooFewRegions_dataKeyIsWiped() {
    scenario.key(1).deny();
    StepVerifier.create(watched().minimumRegions(3).build().encryptKey(secret))
        .verifyError(KmsException.class);
    assertThat(dataKey()).hasSize(32);
    Await.until(this::isAllWiped);
  }

  @Test
  void closedSystemKey_isItsError_andTheDataKeyIsWiped() {
    secret.close();
    StepVerifier.create(watched().build().encryptKey(secret))
        .verifyError(SecretClosedException.class);
    Await.until(this::isAllWiped);
  }

  @Test
  void systemKeyClosedMeanwhile_isItsError_andTheDataKeyIsWiped() {
    scenario.region(1).hold();
    StepVerifier.create(watched().build().encryptKey(secret))
        .then(() -> Await.until(() -> scenario.region(1).underWay() == 1))
        .then(secret::close)
        .then(scenario.region(1)::release)
        .verifyError(SecretClosedException.class);
    Await.until(this::isAllWiped);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 16, 33})
  void keyOfAnotherLength_isWiped(int length) {
    AwsKeyManagementService kms = watched().build();
    byte[] envelope = get(kms.encryptKey(secret));
    for (int i = 0; i < 3; i++) {
      scenario.region(i).keyLength(length);
    }
    StepVerifier.create(kms.encryptKey(secret)).verifyError(KmsException.class);
    StepVerifier.create(kms.decryptKey(envelope)).verifyError(KmsException.class);
    Await.until(() -> clients.values().stream().allMatch(c -> c.handedOut().size() >= 2));
    Await.until(
        () ->
            clients.values().stream()
                .flatMap(c -> c.handedOut().stream())
                .allMatch(WatchedClient::isZeros));
    clients.clear();
  }

  // While calls are held up.

  @Test
  void cancelledWhileARegionWraps_staysUntilTheRegionHasAnswered() {
    scenario.region(1).hold();
    Subscribed<byte[]> subscribed = new Subscribed<>(watched().build().encryptKey(secret));
    Await.until(() -> scenario.region(1).underWay() == 1);
    Await.until(() -> client(2).given().size() == 1 && client(2).underWay() == 0);

    subscribed.cancel();

    assertThat(WatchedClient.isZeros(dataKey())).isFalse();
    scenario.region(1).release();
    Await.until(this::isAllWiped);
    assertThat(subscribed.value()).isNull();
  }

  @Test
  void oneRegionFails_anotherWraps_cancelled_staysUntilTheOtherHasAnswered() {
    scenario.key(2).deny();
    scenario.region(1).hold();
    Subscribed<byte[]> subscribed = new Subscribed<>(watched().build().encryptKey(secret));
    Await.until(() -> scenario.region(1).underWay() == 1);
    Await.until(() -> client(2).given().size() == 1 && client(2).underWay() == 0);
    assertThat(WatchedClient.isZeros(dataKey())).isFalse();

    subscribed.cancel();

    assertThat(WatchedClient.isZeros(dataKey())).isFalse();
    scenario.region(1).release();
    Await.until(this::isAllWiped);
  }

  @Test
  void oneRegionFails_anotherWraps_notCancelled_bothAreWaitedFor() {
    scenario.key(2).deny();
    scenario.region(1).hold();
    Subscribed<byte[]> subscribed = new Subscribed<>(watched().build().encryptKey(secret));
    Await.until(() -> scenario.region(1).underWay() == 1);
    Await.until(() -> client(2).given().size() == 1 && client(2).underWay() == 0);
    assertThat(subscribed.hasEnded()).isFalse();

    scenario.region(1).release();
    subscribed.awaitEnd();

    assertOpensEverywhere(
        java.util.Objects.requireNonNull(subscribed.value()), scenario.name(0), scenario.name(1));
    clients.values().forEach(client -> assertThat(client.sawZeros()).isFalse());
  }

  @Test
  void cancelledWhileADataKeyIsMade_lateAnswerIsWiped_andNoOtherRegionIsAsked() {
    scenario.region(0).hold();
    Subscribed<byte[]> subscribed = new Subscribed<>(watched().build().encryptKey(secret));
    Await.until(() -> scenario.region(0).underWay() == 1);

    subscribed.cancel();
    scenario.region(0).release();

    Await.until(() -> client(0).handedOut().size() == 1 && client(0).underWay() == 0);
    Await.until(this::isAllWiped);
    assertThat(scenario.server.requests()).hasSize(1);
  }

  @Test
  void cancelledWhileADataKeyIsUnwrapped_lateAnswerIsWiped_andNoOtherRegionIsAsked() {
    byte[] envelope = scenario.wrap(scenario.builder().build(), 1);
    int before = scenario.server.requests().size();
    scenario.region(0).hold();
    Subscribed<CryptoKey> subscribed = new Subscribed<>(watched().build().decryptKey(envelope));
    Await.until(() -> scenario.region(0).underWay() == 1);

    subscribed.cancel();
    scenario.region(0).release();

    Await.until(() -> client(0).handedOut().size() == 1 && client(0).underWay() == 0);
    Await.until(this::isAllWiped);
    assertThat(scenario.server.requests()).hasSize(before + 1);
    assertThat(subscribed.value()).isNull();
  }

  @Test
  void regionThatAnswersAfterItsTimeout_isLeftOut_andTheDataKeyStaysUntilThen() {
    client(1).limit(KmsScenario.PATIENCE);
    firstCalls();
    scenario.region(1).hold();
    AwsKeyManagementService kms = watched().regionTimeout(REGION_TIMEOUT).build();

    byte[] envelope = get(kms.encryptKey(secret));

    assertThat(WatchedClient.isZeros(dataKey())).isFalse();
    assertThat(scenario.recorder.take())
        .containsExactly(new Failed("aws", scenario.name(1), KmsException.Kind.TIMEOUT));
    scenario.region(1).release();
    Await.until(this::isAllWiped);
    assertOpensEverywhere(envelope, scenario.name(0), scenario.name(2));
  }

  @Test
  void regionThatMakesADataKeyAfterItsTimeout_isPassedOver_andTheLateKeyIsWiped() {
    client(0).limit(KmsScenario.PATIENCE);
    firstCalls();
    scenario.region(0).times(1).hold();
    AwsKeyManagementService kms = watched().regionTimeout(REGION_TIMEOUT).build();

    byte[] envelope = get(kms.encryptKey(secret));

    byte[] used = client(1).handedOut().get(0);
    Await.until(() -> WatchedClient.isZeros(used));
    scenario.region(0).release();
    Await.until(() -> client(0).handedOut().size() == 1 && client(0).underWay() == 0);
    Await.until(this::isAllWiped);
    // Whoever was late is not asked to wrap.
    assertThat(client(0).given()).isEmpty();
    assertOpensEverywhere(envelope, scenario.name(1), scenario.name(2));
  }

  /** Those of a JVM and of a client take longer than the others; they are not watched. */
  private void firstCalls() {
    unwrap(scenario.builder().build(), scenario.wrap(scenario.builder().build(), 1));
  }

  // Cancelled at every moment.

  @Test
  void encryptCancelledAtEverySignal_nothingIsLeft_andWhatWasReturnedOpens() {
    scenario.key(1).deny("Encrypt");
    AwsKeyManagementService kms = watched().build();
    cancelAtEverySignal(
        () -> kms.encryptKey(secret),
        envelope -> assertOpensEverywhere(envelope, scenario.name(0), scenario.name(2)));
  }

  @Test
  void encryptWithAFailedMakerCancelledAtEverySignal_nothingIsLeft() {
    scenario.key(0).deny("GenerateDataKey");
    AwsKeyManagementService kms = watched().build();
    cancelAtEverySignal(
        () -> kms.encryptKey(secret),
        envelope ->
            assertOpensEverywhere(envelope, scenario.name(0), scenario.name(1), scenario.name(2)));
  }

  @Test
  void decryptCancelledAtEverySignal_nothingIsLeft_andWhatWasReturnedIsTheKey() {
    byte[] envelope = scenario.wrap(scenario.builder().build(), 1);
    scenario.key(0).deny("Decrypt");
    AwsKeyManagementService kms = watched().build();
    cancelAtEverySignal(
        () -> kms.decryptKey(envelope), key -> assertThat(key.take()).isEqualTo(bytes(1)));
  }

  private interface Check<T> {
    void accept(T value);
  }

  private <T> void cancelAtEverySignal(java.util.function.Supplier<Mono<T>> call, Check<T> check) {
    Signals signals = new Signals();
    Hooks.onEachOperator(HOOK, Operators.lift((scannable, actual) -> signals.watch(actual)));
    int moment = 0;
    int returned = 0;
    boolean wasCancelled = true;
    try (Log log = new Log()) {
      while (wasCancelled) {
        Subscribed<T> subscribed = new Subscribed<>();
        signals.arm(moment, subscribed::cancel);
        // As a session factory does.
        call.get().doOnDiscard(CryptoKey.class, CryptoKey::close).subscribe(subscribed);
        Await.until(() -> signals.hasFired() || subscribed.hasEnded());
        wasCancelled = signals.hasFired();
        signals.disarm();
        Await.until(() -> clients.values().stream().allMatch(c -> c.underWay() == 0));
        // Whoever cancelled may be about to hand over what it has.
        Await.until(signals::isQuiet);
        T value = subscribed.value();
        for (CryptoKey key : signals.takeKeys()) {
          if (key != value) {
            assertThatThrownBy(key::take).isInstanceOf(IllegalStateException.class);
          }
        }
        if (value != null) {
          check.accept(value);
          returned++;
        }
        Await.until(this::isAllWiped);
        moment++;
      }
      assertThat(log.text()).doesNotContain("cancelled");
      assertThat(scenario.recorder.take())
          .extracting(Failed::kind)
          .containsOnly(KmsException.Kind.ACCESS_DENIED);
    } finally {
      Hooks.resetOnEachOperator(HOOK);
    }
    assertThat(returned).isPositive();
    assertThat(moment).isGreaterThan(20);
  }

  /** Does something before a signal, of all that any operator gives. */
  private static final class Signals {
    private final AtomicInteger left = new AtomicInteger();
    private final AtomicReference<@Nullable Runnable> action = new AtomicReference<>();
    private final Queue<CryptoKey> keys = new ConcurrentLinkedQueue<>();
    private final AtomicInteger inside = new AtomicInteger();
    private volatile boolean hasFired;

    boolean isQuiet() {
      return inside.get() == 0;
    }

    /** The system keys on their way since this was asked before. */
    Set<CryptoKey> takeKeys() {
      Set<CryptoKey> taken = new HashSet<>(keys);
      keys.clear();
      return taken;
    }

    private void see(Object value) {
      if (value instanceof CryptoKey key) {
        keys.add(key);
      } else if (value instanceof Answer<?> answer
          && !answer.isFailure()
          && answer.value() instanceof CryptoKey key) {
        keys.add(key);
      }
    }

    void arm(int moment, Runnable then) {
      hasFired = false;
      left.set(moment);
      action.set(then);
    }

    void disarm() {
      action.set(null);
    }

    boolean hasFired() {
      return hasFired;
    }

    private void signal() {
      if (action.get() != null && left.getAndDecrement() == 0) {
        Runnable armed = action.getAndSet(null);
        if (armed != null) {
          armed.run();
          hasFired = true;
        }
      }
    }

    <T> CoreSubscriber<? super T> watch(CoreSubscriber<? super T> actual) {
      return new CoreSubscriber<T>() {
        @Override
        public reactor.util.context.Context currentContext() {
          return actual.currentContext();
        }

        @Override
        public void onSubscribe(Subscription subscription) {
          signal();
          actual.onSubscribe(subscription);
        }

        @Override
        public void onNext(T value) {
          inside.incrementAndGet();
          try {
            see(value);
            signal();
            actual.onNext(value);
          } finally {
            inside.decrementAndGet();
          }
        }

        @Override
        public void onError(Throwable e) {
          signal();
          actual.onError(e);
        }

        @Override
        public void onComplete() {
          signal();
          actual.onComplete();
        }
      };
    }
  }

  /** Keeps what comes. */
  private static final class Subscribed<T> extends BaseSubscriber<T> {
    private final AtomicReference<@Nullable T> value = new AtomicReference<>();
    private final CountDownLatch end = new CountDownLatch(1);

    Subscribed() {}

    Subscribed(Mono<T> call) {
      call.subscribe(this);
    }

    @Override
    protected void hookOnNext(T next) {
      value.set(next);
    }

    @Override
    protected void hookOnError(Throwable e) {
      end.countDown();
    }

    @Override
    protected void hookOnComplete() {
      end.countDown();
    }

    @Nullable T value() {
      return value.get();
    }

    boolean hasEnded() {
      return end.getCount() == 0;
    }

    void awaitEnd() {
      try {
        assertThat(end.await(KmsScenario.PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }
  }
}
