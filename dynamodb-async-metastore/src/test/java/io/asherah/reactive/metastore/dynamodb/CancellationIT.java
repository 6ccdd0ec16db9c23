package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testaws.DynamoDbFront;
import io.asherah.reactive.testaws.DynamoDbServer;
import io.asherah.reactive.testsupport.Await;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.reactivestreams.Publisher;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.util.context.Context;
import software.amazon.awssdk.http.HttpMetric;
import software.amazon.awssdk.metrics.MetricCollection;
import software.amazon.awssdk.metrics.MetricPublisher;
import software.amazon.awssdk.metrics.MetricRecord;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;

/** Operations that are given up, and what is left of the connections. */
class CancellationIT {
  private static final int CANCELLATIONS = 10_000;
  private static final int LOT = 50;
  private static final EnvelopeKeyRecord RECORD = Aws.record(Aws.CREATED, 1);

  private final Aws aws = new Aws();
  private final Connections connections = new Connections();
  private final AtomicInteger begun = new AtomicInteger();
  private final AtomicInteger underWay = new AtomicInteger();
  private DynamoDbFront front;

  @BeforeEach
  void open() {
    front = DynamoDbFront.to(DynamoDbServer.shared());
  }

  @AfterEach
  void close() {
    aws.close();
    front.close();
  }

  private DynamoDbMetastore metastore(Aws.Http kind) {
    DynamoDbAsyncClient client =
        aws.client(
            front.endpoint(),
            aws.http(kind),
            builder ->
                builder.overrideConfiguration(
                    o ->
                        o.retryStrategy(DefaultRetryStrategy.doNotRetry())
                            .addMetricPublisher(connections)));
    return Aws.patient(counted(client), Aws.newTable(client)).build();
  }

  /** Counts calls that were begun, and those that have not ended, wherever they are. */
  private DynamoDbAsyncClient counted(DynamoDbAsyncClient client) {
    return (DynamoDbAsyncClient)
        Proxy.newProxyInstance(
            DynamoDbAsyncClient.class.getClassLoader(),
            new Class<?>[] {DynamoDbAsyncClient.class},
            (proxy, method, arguments) -> {
              Object result = method.invoke(client, arguments);
              if (result instanceof CompletableFuture<?> call) {
                underWay.incrementAndGet();
                begun.incrementAndGet();
                call.whenComplete((answer, e) -> underWay.decrementAndGet());
              }
              return result;
            });
  }

  @ParameterizedTest
  @EnumSource
  @Timeout(300)
  void cancellations_leaveNoConnectionInUse(Aws.Http kind) {
    DynamoDbMetastore metastore = metastore(kind);
    String there = Aws.freshId();
    Aws.get(metastore.store(there, Aws.CREATED, RECORD));
    front.delay(Duration.ofMillis(10));
    int before = front.calls().size();
    for (int done = 0; done < CANCELLATIONS; done += LOT) {
      boolean isAtOnce = done / LOT % 4 == 0;
      boolean isHeld = done / LOT % 4 == 3;
      if (isHeld) {
        front.hold();
      }
      int begunBefore = begun.get();
      List<Disposable> lot = new ArrayList<>();
      for (int i = 0; i < LOT; i++) {
        lot.add(Flux.from(any(metastore, there, i)).subscribe());
      }
      if (!isAtOnce) {
        Await.until(() -> begun.get() - begunBefore >= LOT);
      }
      if (isHeld) {
        assertThat(lot).noneMatch(Disposable::isDisposed);
      }
      lot.forEach(Disposable::dispose);
      front.release();
      // They go on, and those that come now would wait behind them.
      Await.until(() -> underWay.get() < Aws.CONNECTIONS);
    }
    Await.until(() -> underWay.get() == 0);
    front.healthy();

    assertThat(front.calls().size() - before)
        .as("calls that were begun")
        .isGreaterThan(CANCELLATIONS / 4);
    Await.until(() -> connections.inUse(metastore, there) <= (kind == Aws.Http.CRT ? 1 : 0));
    List<EnvelopeKeyRecord> found =
        Aws.get(
            Flux.range(0, 4 * Aws.CONNECTIONS)
                .flatMap(i -> metastore.load(there, Aws.CREATED), 4 * Aws.CONNECTIONS)
                .collectList());
    assertThat(found).hasSize(4 * Aws.CONNECTIONS).containsOnly(RECORD);
  }

  private static Publisher<?> any(DynamoDbMetastore metastore, String there, int i) {
    return switch (i % 7) {
      case 0 -> metastore.load(there, Aws.CREATED);
      case 1 -> metastore.loadLatest(there);
      case 2 -> metastore.store(Aws.freshId(), Aws.CREATED, RECORD);
      case 3 -> metastore.store(there, Aws.CREATED, RECORD);
      case 4 -> metastore.list(KeySelector.id(there));
      case 5 -> metastore.revoke(KeySelector.id(Aws.freshId()));
      default -> metastore.delete(KeySelector.id(Aws.freshId()));
    };
  }

  /** Dropped means logged as an error, with the id that the SDK may quote. */
  @ParameterizedTest
  @EnumSource
  void errorThatMeetsACancellation_isNotDropped(Aws.Http kind) throws Exception {
    DynamoDbMetastore metastore = metastore(kind);
    Queue<Throwable> dropped = new ConcurrentLinkedQueue<>();
    front.fail(400, "AccessDeniedException", null);
    long longest = 1;
    for (int i = 0; i < 1_000; i++) {
      Deaf deaf = new Deaf(dropped);
      long start = System.nanoTime();
      Flux.from(any(metastore, "_SK_a", i)).subscribe(deaf);
      if (i % 10 == 0) {
        deaf.ended.await();
        longest = System.nanoTime() - start;
        continue;
      }
      long moment = start + ThreadLocalRandom.current().nextLong(longest);
      while (System.nanoTime() - moment < 0 && deaf.ended.getCount() > 0) {
        Thread.onSpinWait();
      }
      deaf.cancel();
    }
    Await.until(() -> underWay.get() == 0);

    assertThat(dropped).isEmpty();
  }

  /** Takes no notice of what comes after it has cancelled. */
  private record Deaf(
      AtomicReference<Subscription> subscription, CountDownLatch ended, Queue<Throwable> dropped)
      implements CoreSubscriber<Object> {
    Deaf(Queue<Throwable> dropped) {
      this(new AtomicReference<>(), new CountDownLatch(1), dropped);
    }

    void cancel() {
      Subscription current = subscription.get();
      if (current != null) {
        current.cancel();
      }
    }

    @Override
    public Context currentContext() {
      Consumer<Throwable> hook = dropped::add;
      return Context.of("reactor.onErrorDropped.local", hook);
    }

    @Override
    public void onSubscribe(Subscription upstream) {
      subscription.set(upstream);
      upstream.request(Long.MAX_VALUE);
    }

    @Override
    public void onNext(Object next) {}

    @Override
    public void onError(Throwable e) {
      ended.countDown();
    }

    @Override
    public void onComplete() {
      ended.countDown();
    }
  }

  /** What the HTTP client told last. That of CRT counts the call that asks. */
  private static final class Connections implements MetricPublisher {
    private final Map<String, Integer> last = new ConcurrentHashMap<>();

    int inUse(DynamoDbMetastore metastore, String id) {
      last.clear();
      Mono<EnvelopeKeyRecord> call = metastore.load(id, Aws.CREATED);
      Aws.get(call.subscribeOn(Schedulers.boundedElastic()));
      Await.until(() -> last.containsKey(HttpMetric.LEASED_CONCURRENCY.name()));
      return last.getOrDefault(HttpMetric.LEASED_CONCURRENCY.name(), Integer.MAX_VALUE)
          + last.getOrDefault(HttpMetric.PENDING_CONCURRENCY_ACQUIRES.name(), 0);
    }

    @Override
    public void publish(MetricCollection metrics) {
      for (MetricRecord<?> metric : metrics) {
        if (metric.value() instanceof Integer count) {
          last.put(metric.metric().name(), count);
        }
      }
      metrics.children().forEach(this::publish);
    }

    @Override
    public void close() {}
  }
}
