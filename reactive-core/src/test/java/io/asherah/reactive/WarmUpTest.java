package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

/** Loading keys ahead. */
class WarmUpTest {
  private final InMemoryMetastore store = new InMemoryMetastore();

  private static List<String> partitions(int count) {
    return IntStream.range(0, count).mapToObj(i -> "partition" + i).toList();
  }

  @Test
  void warmUp_loadsEachKeyOnce_andOperationsAskNothingAfterwards() {
    try (Scenario writer = new Scenario(store, CryptoPolicy.defaults(), "")) {
      StepVerifier.create(writer.factory.warmUp(partitions(500))).verifyComplete();
      assertThat(writer.calls.count("store(IK)")).isEqualTo(500);
    }
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      StepVerifier.create(scenario.factory.warmUp(Flux.fromIterable(partitions(500))))
          .verifyComplete();
      assertThat(scenario.calls.count("loadLatest(IK)")).isEqualTo(500);
      assertThat(scenario.calls.count("load(SK)")).isOne();
      assertThat(scenario.calls.count("decryptKey")).isOne();
      scenario.calls.take();

      StepVerifier.create(scenario.factory.warmUp(partitions(500))).verifyComplete();
      for (String partition : partitions(500)) {
        get(scenario.factory.session(partition).encrypt(utf8("payload")));
      }

      assertThat(scenario.calls.take()).isEmpty();
    }
  }

  @Test
  void partitionThatFails_doesNotKeepTheOthersFromBeingLoaded() {
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      get(scenario.factory.session("first").encrypt(utf8("payload")));
      AtomicInteger calls = new AtomicInteger();
      scenario.calls.change(
          "loadLatest(IK)",
          answer ->
              calls.getAndIncrement() == 0
                  ? Mono.error(new MetastoreException("down", null, false))
                  : answer);

      StepVerifier.create(scenario.factory.warmUp(partitions(10))).verifyErrorMessage("down");

      assertThat(scenario.factory.stats().cachedIntermediateKeys()).isEqualTo(1 + 9);
    }
  }

  @Test
  void manyFailures_areTheFirst_withTheOthersSuppressed() {
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      scenario.calls.change(
          "loadLatest(IK)", answer -> Mono.error(new MetastoreException("down", null, true)));

      StepVerifier.create(scenario.factory.warmUp(partitions(3)))
          .verifyErrorSatisfies(
              e -> {
                assertThat(e).isInstanceOf(MetastoreException.class).hasMessage("down");
                assertThat(e.getSuppressed()).hasSizeGreaterThanOrEqualTo(2);
              });
    }
  }

  @Test
  void partitionThatIsNone_isAnErrorSignal() {
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      StepVerifier.create(scenario.factory.warmUp(List.of("good", "")))
          .verifyError(IllegalArgumentException.class);
      assertThat(scenario.factory.stats().cachedIntermediateKeys()).isOne();
    }
  }

  @Test
  void nothingToLoad_completes_andAClosedFactorySaysSo() {
    Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "");
    StepVerifier.create(scenario.factory.warmUp(List.of())).verifyComplete();
    scenario.close();
    StepVerifier.create(scenario.factory.warmUp(List.of("partition")))
        .verifyError(FactoryClosedException.class);
  }

  @Test
  void withoutCache_keysAreMadeAhead() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheNothing().build();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      StepVerifier.create(scenario.factory.warmUp(partitions(3))).verifyComplete();
      assertThat(scenario.calls.count("store(IK)")).isEqualTo(3);
    }
  }
}
