package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.DataRowRecord;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.testservers.DatabaseServer;
import io.r2dbc.pool.ConnectionPool;
import io.r2dbc.pool.ConnectionPoolConfiguration;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.blockhound.BlockingOperationError;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** Many cold keys over few connections, on threads of which none may block. */
class PoolOfOneIT {
  private static final Duration TIMEOUT = Duration.ofSeconds(90);

  @ParameterizedTest
  @EnumSource
  void coldPartitionsByTheHundreds_overOneConnection_complete(Driver driver) {
    withMetastore(driver, 1, metastore -> encryptAndDecrypt(metastore, 500));
  }

  @ParameterizedTest
  @EnumSource
  void coldLoads_onThreadsOfTheDriver_doNotBlock_andABlockThereIsFound(Driver driver) {
    withMetastore(
        driver,
        5,
        metastore -> {
          encryptAndDecrypt(metastore, 100);

          AtomicReference<Thread> thread = new AtomicReference<>();
          Mono<Boolean> blocking =
              metastore
                  .loadLatest("_SK_service_product")
                  // An answer that is there before it is asked for comes on the thread that asks.
                  .filter(any -> Thread.currentThread().getName().startsWith("reactor-tcp-"))
                  .repeatWhenEmpty(1_000, Function.identity())
                  .map(
                      any -> {
                        thread.set(Thread.currentThread());
                        return isInterruptedSoon();
                      });
          assertThatThrownBy(() -> blocking.block(TIMEOUT))
              .hasRootCauseInstanceOf(BlockingOperationError.class);
          Thread drivers = Objects.requireNonNull(thread.get());
          assertThat(drivers.getName()).startsWith("reactor-tcp-");
          assertThat(Schedulers.isNonBlockingThread(drivers)).isTrue();
        });
  }

  private static boolean isInterruptedSoon() {
    try {
      Thread.sleep(1);
      return false;
    } catch (InterruptedException e) {
      return true;
    }
  }

  /** All at once, each way with a factory that has no key yet. */
  private static void encryptAndDecrypt(R2dbcMetastore metastore, int partitions) {
    List<DataRowRecord> records =
        withFactory(
            metastore,
            factory ->
                Flux.range(0, partitions)
                    .flatMapSequential(
                        i -> factory.session("p" + i).encrypt(payload(i)), partitions)
                    .collectList());
    List<String> payloads =
        withFactory(
            metastore,
            factory ->
                Flux.range(0, partitions)
                    .flatMapSequential(
                        i -> factory.session("p" + i).decrypt(records.get(i)), partitions)
                    .map(payload -> new String(payload, StandardCharsets.UTF_8))
                    .collectList());

    assertThat(payloads)
        .isEqualTo(
            IntStream.range(0, partitions)
                .mapToObj(i -> new String(payload(i), StandardCharsets.UTF_8))
                .toList());
    assertThat(records.stream().map(record -> record.key().parentKeyMeta().orElseThrow().id()))
        .doesNotHaveDuplicates();
  }

  private static byte[] payload(int i) {
    return ("payload " + i).getBytes(StandardCharsets.UTF_8);
  }

  private static <T> T withFactory(
      R2dbcMetastore metastore, Function<SessionFactory, Mono<T>> use) {
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(metastore)
            .keyManagementService(
                StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"))
            // On a machine that is busy with other things too.
            .loadTimeout(TIMEOUT)
            .callTimeout(TIMEOUT)
            .build();
    T result = use.apply(factory).blockOptional(TIMEOUT).orElseThrow();
    factory.close().block(TIMEOUT);
    return result;
  }

  private static void withMetastore(Driver driver, int size, Consumer<R2dbcMetastore> test) {
    DatabaseServer server = driver.sharedServer();
    ConnectionPool pool =
        new ConnectionPool(
            ConnectionPoolConfiguration.builder(driver.connections(server, server.newDatabase()))
                .initialSize(0)
                .maxSize(size)
                .build());
    R2dbcMetastore metastore = MetastoreContract.patient(pool).build();
    metastore.schema().create().block(TIMEOUT);
    test.accept(metastore);
    assertThat(pool.getMetrics().orElseThrow().allocatedSize()).isLessThanOrEqualTo(size);
    pool.close().block(TIMEOUT);
  }
}
