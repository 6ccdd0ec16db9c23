package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.done;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.kms.aws.KmsScenario.Http;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testsupport.Await;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.nio.NioEventLoopGroup;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.Disposable;
import reactor.core.Disposables;
import software.amazon.awssdk.http.HttpMetric;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.http.crt.AwsCrtAsyncHttpClient;
import software.amazon.awssdk.metrics.MetricCollection;
import software.amazon.awssdk.metrics.MetricPublisher;
import software.amazon.awssdk.retries.DefaultRetryStrategy;

/** Thousands of subscribers that go away. */
class CancellationIT {
  private static final int CANCELS = 10_000;
  private static final int LOT = 50;
  private static final int CONNECTIONS = 500;

  /** What the HTTP client told last. */
  private static final class Connections implements MetricPublisher {
    private volatile int leased = -1;
    private volatile int pending = -1;
    private final AtomicInteger samples = new AtomicInteger();

    @Override
    public void publish(MetricCollection collection) {
      collection.metricValues(HttpMetric.LEASED_CONCURRENCY).forEach(value -> leased = value);
      collection
          .metricValues(HttpMetric.PENDING_CONCURRENCY_ACQUIRES)
          .forEach(value -> pending = value);
      collection.children().forEach(this::publish);
      samples.incrementAndGet();
    }

    @Override
    public void close() {}
  }

  @ParameterizedTest
  @EnumSource
  @Timeout(value = 4, unit = TimeUnit.MINUTES)
  void tenThousandCancels_leaveNoConnectionLeased(Http http) {
    Connections connections = new Connections();
    // One loop: with more, the SDK now and then forgets who waits where a connection is refused.
    EventLoopGroup group = new NioEventLoopGroup(1);
    try (KmsScenario scenario = new KmsScenario(1);
        Secret secret = scenario.secret(1);
        SdkAsyncHttpClient client =
            http == Http.CRT
                ? AwsCrtAsyncHttpClient.builder().maxConcurrency(CONNECTIONS).build()
                : KmsScenario.netty(group, CONNECTIONS)) {
      AwsKeyManagementService kms =
          scenario
              .withRegions(AwsKeyManagementService.builder())
              .credentialsProvider(KmsScenario.credentials())
              .clientCustomizer(
                  (region, builder) ->
                      builder
                          .httpClient(client)
                          .endpointOverride(scenario.server.region(region).endpoint())
                          .overrideConfiguration(
                              o ->
                                  o.retryStrategy(DefaultRetryStrategy.doNotRetry())
                                      .addMetricPublisher(connections)))
              .build();
      byte[] wrapped = get(kms.encryptKey(secret));
      scenario.region(0).delay(Duration.ofMillis(300));

      for (int i = 0; i < CANCELS; i += LOT) {
        int arrived = scenario.region(0).calls().size();
        Disposable.Composite lot = Disposables.composite();
        for (int j = 0; j < LOT; j++) {
          lot.add((j % 2 == 0 ? kms.encryptKey(secret) : kms.decryptKey(wrapped)).subscribe());
        }
        if (i % (2 * LOT) == 0) {
          // Cancelled when each has called; the other lots, before they begin or while they do.
          Await.until(() -> scenario.region(0).calls().size() >= arrived + LOT);
        }
        lot.dispose();
        Await.until(() -> scenario.region(0).underWay() < CONNECTIONS - LOT);
      }
      scenario.server.healthy();
      Await.until(() -> scenario.region(0).underWay() == 0);

      // Netty tells what was leased before the call that tells it, CRT counts that call, too.
      int idle = http == Http.CRT ? 1 : 0;
      Await.until(
          () -> {
            int before = connections.samples.get();
            unwrap(kms, wrapped);
            Await.until(() -> connections.samples.get() > before);
            return connections.leased == idle && connections.pending == 0;
          });
      assertThat(unwrap(kms, scenario.wrap(kms, 2))).isEqualTo(bytes(2));
      assertThat(scenario.recorder.take()).isEmpty();
      assertThat(scenario.region(0).calls()).hasSizeGreaterThan(CANCELS / 2);
      assertThat(scenario.region(0).calls()).noneMatch(call -> !call.isAnswered());
      done(kms.close());
    } finally {
      group.shutdownGracefully(0, 30, TimeUnit.SECONDS).syncUninterruptibly();
    }
  }
}
