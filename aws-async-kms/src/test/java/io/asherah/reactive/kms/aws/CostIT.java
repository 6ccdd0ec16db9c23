package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.done;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.Session;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.testaws.KmsRequest;
import io.asherah.reactive.testsupport.Await;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * How many calls of AWS KMS are paid for. {@code -Dkms.cost.encrypts} takes another number of
 * operations.
 */
class CostIT {
  private static final int ENCRYPTS = Integer.getInteger("kms.cost.encrypts", 1_000_000);
  private static final int PARTITIONS = 10_000;
  private static final int COLD_STARTS = 1_000;
  private static final byte[] PAYLOAD = "payload".getBytes(StandardCharsets.UTF_8);

  private final KmsScenario scenario = new KmsScenario(1);
  private final InMemoryMetastore metastore = new InMemoryMetastore();

  @AfterEach
  void close() {
    scenario.close();
  }

  private SessionFactory factory() {
    return SessionFactory.builder("product", "service")
        .metastore(metastore)
        .keyManagementService(scenario.builder().build())
        .cryptoPolicy(
            CryptoPolicy.builder()
                .maxCachedIntermediateKeys(2 * PARTITIONS)
                .revokeCheckPeriod(Duration.ofHours(1))
                .build())
        .callTimeout(KmsScenario.PATIENCE)
        .loadTimeout(KmsScenario.PATIENCE)
        .build();
  }

  @Test
  @Timeout(value = 10, unit = TimeUnit.MINUTES)
  void manyEncryptsOfManyPartitions_areOneCall() {
    SessionFactory factory = factory();
    long start = System.nanoTime();
    List<Session> sessions =
        IntStream.range(0, PARTITIONS).mapToObj(i -> factory.session("p" + i)).toList();

    Long sealed =
        get(
            Flux.range(0, 2)
                .flatMap(
                    half ->
                        Flux.range(0, ENCRYPTS / 2)
                            .flatMap(
                                i -> sessions.get((2 * i + half) % PARTITIONS).encrypt(PAYLOAD), 64)
                            .count()
                            .subscribeOn(Schedulers.parallel()))
                .reduce(0L, Long::sum));

    assertThat(sealed).isEqualTo(ENCRYPTS);
    assertThat(scenario.server.requests())
        .extracting(KmsRequest::operation)
        .containsExactly("GenerateDataKey");
    System.err.printf(
        "CostIT: %d encrypts of %d partitions, 1 call, %d ms%n",
        ENCRYPTS, PARTITIONS, TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start));
    done(factory.close());
  }

  @Test
  void manyColdStartsAtOnce_areOneCall() {
    SessionFactory first = factory();
    byte[] record = get(first.session("partition").encryptToJson(PAYLOAD));
    done(first.close());
    int before = scenario.server.requests().size();
    SessionFactory second = factory();
    // Nobody is answered before all have come.
    scenario.region(0).hold();

    CompletableFuture<Long> opened =
        Flux.range(0, COLD_STARTS)
            .flatMap(
                i ->
                    i % 2 == 0
                        ? second.session("partition").decryptJson(record)
                        : second.session("p" + i).encryptToJson(PAYLOAD),
                COLD_STARTS)
            .count()
            .toFuture();
    Await.until(() -> scenario.region(0).underWay() > 0);
    scenario.region(0).release();

    assertThat(get(Mono.fromFuture(opened))).isEqualTo(COLD_STARTS);
    assertThat(scenario.server.requests().stream().skip(before).map(KmsRequest::operation))
        .containsExactly("Decrypt");
    done(second.close());
  }
}
