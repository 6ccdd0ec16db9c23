package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

/** Metastore or key management service out of order, at every call and in every way. */
class OutageTest {
  /** Where there is no answer: short, but enough for the other calls on a machine that is busy. */
  private static final Duration CALL_TIMEOUT = Duration.ofMillis(400);

  /** Calls of the first encrypt of all, of one that finds keys, and of a decrypt. */
  private static final List<String> MAKING =
      List.of("loadLatest(IK)", "loadLatest(SK)", "encryptKey", "store(SK)", "store(IK)");

  private static final List<String> FINDING = List.of("loadLatest(IK)", "load(SK)", "decryptKey");
  private static final List<String> READING = List.of("load(IK)", "load(SK)", "decryptKey");

  /** What happens to a call. */
  enum Outage {
    RETRYABLE_ERROR(true),
    LASTING_ERROR(false),
    ERROR_OF_A_DRIVER(false),
    NO_ANSWER(true),
    LATE_ANSWER(true);

    private final boolean isRetryable;

    Outage(boolean isRetryable) {
      this.isRetryable = isRetryable;
    }

    Duration callTimeout() {
      return this == NO_ANSWER || this == LATE_ANSWER ? CALL_TIMEOUT : Await.TIMEOUT;
    }

    Mono<Object> instead(String call, Mono<Object> answer) {
      return switch (this) {
        case RETRYABLE_ERROR ->
            Mono.error(
                isKms(call)
                    ? new KmsException(KmsException.Kind.UNAVAILABLE, "down", null)
                    : new MetastoreException("down", null, true));
        case LASTING_ERROR ->
            Mono.error(
                isKms(call)
                    ? new KmsException(KmsException.Kind.KEY_DISABLED, "disabled", null)
                    : new MetastoreException("no such table", null, false));
        case ERROR_OF_A_DRIVER -> Mono.error(new IllegalStateException("broken"));
        case NO_ANSWER -> Mono.never();
        // Late also where the thread of the call's own timer is held up.
        case LATE_ANSWER -> answer.delaySubscription(CALL_TIMEOUT.multipliedBy(100));
      };
    }
  }

  private static boolean isKms(String call) {
    return call.endsWith("cryptKey");
  }

  static Stream<Arguments> outages() {
    return Stream.of(Outage.values())
        .flatMap(
            outage ->
                Stream.of(
                        MAKING.stream().map(call -> Arguments.of("making", call, outage)),
                        FINDING.stream().map(call -> Arguments.of("finding", call, outage)),
                        READING.stream().map(call -> Arguments.of("reading", call, outage)))
                    .flatMap(arguments -> arguments));
  }

  @ParameterizedTest
  @MethodSource("outages")
  void outage_isTheRightError_makesNoKey_andIsOverWhenItIsOver(
      String operation, String call, Outage outage) {
    InMemoryMetastore store = new InMemoryMetastore();
    DataRowRecord record = null;
    if (!operation.equals("making")) {
      try (Scenario writer = new Scenario(store, CryptoPolicy.defaults(), "")) {
        record = get(writer.session().encrypt(utf8("payload")));
      }
    }
    long keys = count(store);
    try (Scenario scenario =
        new Scenario(
            store,
            CryptoPolicy.defaults(),
            options -> options.callTimeout(outage.callTimeout()).callAttempts(2))) {
      Session session = scenario.session();
      Mono<?> mono =
          operation.equals("reading") && record != null
              ? session.decrypt(record)
              : session.encrypt(utf8("payload"));
      scenario.calls.change(call, answer -> outage.instead(call, answer));

      StepVerifier.create(mono)
          .verifyErrorSatisfies(
              e -> {
                assertThat(e)
                    .isInstanceOf(isKms(call) ? KmsException.class : MetastoreException.class);
                assertThat(((AppEncryptionException) e).isRetryable())
                    .isEqualTo(outage.isRetryable);
                if (isKms(call) && outage.name().endsWith("_ANSWER")) {
                  assertThat(((KmsException) e).kind()).isEqualTo(KmsException.Kind.TIMEOUT);
                }
              });

      List<String> asked = scenario.calls.take();
      assertThat(asked).endsWith(call);
      assertThat(asked.stream().filter(call::equals)).hasSize(outage.isRetryable ? 2 : 1);
      // One system key may have been stored before an intermediate key could not be.
      assertThat(asked.stream().filter(name -> name.startsWith("store")).distinct().toList())
          .isEqualTo(
              Stream.of("store(SK)", "store(IK)")
                  .filter(asked::contains)
                  .filter(name -> name.equals(call) || call.equals("store(IK)"))
                  .toList());
      if (!call.startsWith("store")) {
        assertThat(count(store)).isEqualTo(keys);
      }
      assertThat(scenario.factory.stats().cachedIntermediateKeys()).isZero();

      scenario.calls.answerAsBefore();
      StepVerifier.create(mono).expectNextCount(1).verifyComplete();
    }
  }

  private static long count(InMemoryMetastore store) {
    return get(store.list(KeySelector.idPrefix("")).count());
  }
}
