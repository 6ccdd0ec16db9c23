package io.asherah.reactive;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.time.Instant;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class InMemoryMetastoreTest {
  private final InMemoryMetastore metastore = new InMemoryMetastore();

  private static EnvelopeKeyRecord record(long created) {
    return new EnvelopeKeyRecord(
        Instant.ofEpochSecond(created), new byte[] {(byte) created}, null, false);
  }

  private Boolean store(String id, long created) {
    return Scenario.get(metastore.store(id, Instant.ofEpochSecond(created), record(created)));
  }

  @Test
  void absent_isEmpty() {
    store("b", 1);
    StepVerifier.create(metastore.load("a", Instant.ofEpochSecond(1))).verifyComplete();
    StepVerifier.create(metastore.load("b", Instant.ofEpochSecond(2))).verifyComplete();
    StepVerifier.create(metastore.loadLatest("a")).verifyComplete();
    StepVerifier.create(metastore.loadLatest("bb")).verifyComplete();
  }

  @Test
  void latest_isTheOneCreatedLast_ofThatVeryId() {
    store("a", 3);
    store("a", 10);
    store("a", 2);
    store("a2", 99);
    store("A", 99);

    StepVerifier.create(metastore.loadLatest("a")).expectNext(record(10)).verifyComplete();
    StepVerifier.create(metastore.load("a", Instant.ofEpochSecond(2)))
        .expectNext(record(2))
        .verifyComplete();
  }

  @Test
  void duplicate_isRefused_andTheFirstStays() {
    assertThat(store("a", 1)).isTrue();
    EnvelopeKeyRecord other =
        new EnvelopeKeyRecord(Instant.ofEpochSecond(1), new byte[] {9}, null, false);
    StepVerifier.create(metastore.store("a", Instant.ofEpochSecond(1), other))
        .expectNext(false)
        .verifyComplete();
    StepVerifier.create(metastore.loadLatest("a")).expectNext(record(1)).verifyComplete();
  }

  @Test
  void concurrentStores_ofOneKey_oneWins() {
    Long won =
        Flux.range(0, 1_000)
            .flatMap(
                i ->
                    metastore
                        .store("a", Instant.ofEpochSecond(1), record(1))
                        .subscribeOn(Schedulers.parallel()))
            .filter(stored -> stored)
            .count()
            .block(Await.TIMEOUT);

    assertThat(won).isOne();
  }
}
