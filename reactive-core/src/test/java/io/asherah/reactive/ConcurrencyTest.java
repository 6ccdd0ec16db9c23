package io.asherah.reactive;

import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Schedulers;

class ConcurrencyTest {
  private static final int MANY = 1_000;

  @Test
  void firstEncryptsOfOnePartition_makeOneKeyOfEachKind() {
    try (Scenario scenario = new Scenario()) {
      List<DataRowRecord> records =
          Flux.range(0, MANY)
              .flatMap(
                  i ->
                      scenario
                          .session()
                          .encrypt(utf8("payload"))
                          .subscribeOn(Schedulers.parallel()),
                  MANY)
              .collectList()
              .block(Await.TIMEOUT);

      assertThat(records).hasSize(MANY);
      assertThat(parents(Objects.requireNonNull(records))).hasSize(1);
      assertThat(scenario.calls.take())
          .containsExactly(
              "loadLatest(IK)", "loadLatest(SK)", "encryptKey", "store(SK)", "store(IK)");
      assertThat(scenario.secrets.stats().liveSecrets()).isEqualTo(2);
    }
  }

  @Test
  void firstEncryptsOfManyPartitions_makeOneIntermediateKeyEach_andOneSystemKey() {
    CryptoPolicy policy = CryptoPolicy.builder().maxCachedIntermediateKeys(2 * MANY).build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "")) {
      List<DataRowRecord> records =
          Flux.range(0, 3 * MANY)
              .flatMap(
                  i ->
                      scenario
                          .factory
                          .session("partition" + i % MANY)
                          .encrypt(utf8("payload"))
                          .subscribeOn(Schedulers.parallel()),
                  3 * MANY)
              .collectList()
              .block(Await.TIMEOUT);

      assertThat(records).hasSize(3 * MANY);
      assertThat(parents(Objects.requireNonNull(records))).hasSize(MANY);
      assertThat(scenario.calls.count("store(SK)")).isOne();
      assertThat(scenario.calls.count("encryptKey")).isOne();
      assertThat(scenario.calls.count("decryptKey")).isZero();
      assertThat(scenario.calls.count("loadLatest(IK)")).isEqualTo(MANY);
      assertThat(scenario.calls.count("store(IK)")).isEqualTo(MANY);
      assertThat(scenario.factory.stats().cachedIntermediateKeys()).isEqualTo(MANY);
    }
  }

  @Test
  void moreKeysAtOnceThanMayWaitForLockedMemory_allGetIn() {
    try (Scenario scenario =
        new Scenario(new InMemoryMetastore(), CryptoPolicy.defaults(), "", 4)) {
      Long sealed =
          Flux.range(0, MANY)
              .flatMap(
                  i ->
                      scenario
                          .factory
                          .session("partition" + i)
                          .encrypt(utf8("payload"))
                          .subscribeOn(Schedulers.parallel()),
                  MANY)
              .count()
              .block(Await.TIMEOUT);

      assertThat(sealed).isEqualTo(MANY);
      assertThat(scenario.calls.count("store(IK)")).isEqualTo(MANY);
    }
  }

  @Test
  void continuationSchedulerWithoutTime_isEnough() {
    ExecutorService threads = Executors.newFixedThreadPool(2);
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(new InMemoryMetastore())
            .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
            .continuationScheduler(Schedulers.fromExecutorService(threads))
            .build();

    Long opened =
        Flux.range(0, MANY)
            .flatMap(
                i -> {
                  Session session = factory.session("partition" + i % 100);
                  return session.encryptToJson(utf8("payload")).flatMap(session::decryptJson);
                })
            .count()
            .block(Await.TIMEOUT);

    assertThat(opened).isEqualTo(MANY);
    factory.close().block(Await.TIMEOUT);
    threads.shutdown();
  }

  @Test
  void firstDecryptsOfOnePartition_loadEachKeyOnce() {
    InMemoryMetastore shared = new InMemoryMetastore();
    try (Scenario writer = new Scenario(shared, CryptoPolicy.defaults(), "");
        Scenario reader = new Scenario(shared, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = Scenario.get(writer.session().encrypt(utf8("payload")));

      Long opened =
          Flux.range(0, MANY)
              .flatMap(
                  i -> reader.session().decrypt(record).subscribeOn(Schedulers.parallel()), MANY)
              .count()
              .block(Await.TIMEOUT);

      assertThat(opened).isEqualTo(MANY);
      assertThat(reader.calls.take()).containsExactly("load(IK)", "load(SK)", "decryptKey");
    }
  }

  private static Set<KeyMeta> parents(List<DataRowRecord> records) {
    return records.stream()
        .map(record -> record.key().parentKeyMeta().orElseThrow())
        .collect(Collectors.toSet());
  }
}
