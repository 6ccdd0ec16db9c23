package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.done;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;

import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.kms.aws.KeyEnvelope.Kek;
import io.asherah.reactive.kms.aws.KmsScenario.Failed;
import io.asherah.reactive.kms.aws.KmsScenario.Http;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testaws.KmsRequest;
import io.asherah.reactive.testsupport.Await;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.assertj.core.api.SoftAssertions;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.identity.spi.IdentityProvider;
import software.amazon.awssdk.identity.spi.ResolveIdentityRequest;
import software.amazon.awssdk.services.kms.KmsAsyncClient;

/** A region whose client or credentials do not come, while another one is well. */
class StalledRegionIT {
  private static final byte[] PAYLOAD = "payload".getBytes(StandardCharsets.UTF_8);

  /** Shorter than what the last region may take to get ready. */
  private static final Duration CALL_TIMEOUT = Duration.ofSeconds(9);

  /** Two of them, and a call, are shorter than that. */
  private static final Duration REGION_TIMEOUT = Duration.ofSeconds(3);

  enum Stall {
    CREDENTIALS_THAT_ARE_PROMISED("us-west-1", "us-west-2"),
    CREDENTIALS_THAT_KEEP_A_THREAD("eu-west-1", "eu-west-2"),
    CLIENT("ap-south-1", "ap-south-2");

    private final List<String> regions;

    Stall(String... regions) {
      this.regions = List.of(regions);
    }
  }

  private interface Check {
    void accept(Case stalled) throws Exception;
  }

  /** All at the same time, since each waits for seconds; nothing of one is of another. */
  private static void forEachStall(Check check) {
    List<Case> cases = Stream.of(Stall.values()).map(Case::new).toList();
    ExecutorService threads = Executors.newFixedThreadPool(cases.size());
    try {
      List<Future<?>> checks = new ArrayList<>();
      for (Case one : cases) {
        checks.add(
            threads.submit(
                () -> {
                  check.accept(one);
                  return null;
                }));
      }
      SoftAssertions all = new SoftAssertions();
      for (int i = 0; i < checks.size(); i++) {
        Future<?> one = checks.get(i);
        all.assertThatCode(() -> one.get(KmsScenario.PATIENCE.toSeconds(), TimeUnit.SECONDS))
            .as(cases.get(i).stall.name())
            .doesNotThrowAnyException();
      }
      all.assertAll();
    } finally {
      threads.shutdown();
      cases.forEach(Case::close);
    }
  }

  /** Two regions, of which the first is stalled. */
  private static final class Case implements AutoCloseable {
    final Stall stall;
    final KmsScenario scenario;
    private final InMemoryMetastore metastore = new InMemoryMetastore();
    private final CountDownLatch end = new CountDownLatch(1);
    private final Map<String, KmsAsyncClient> stalled = new ConcurrentHashMap<>();

    /** The first call of a JVM, and of a client, takes longer. */
    Case(Stall stall) {
      this.stall = stall;
      scenario = new KmsScenario(stall.regions, Http.NETTY);
      unwrap(scenario.builder().build(), scenario.wrap(scenario.builder().build(), 1));
    }

    @Override
    public void close() {
      end.countDown();
      stalled.values().forEach(KmsAsyncClient::close);
      scenario.close();
    }

    private void await() {
      try {
        assertThat(end.await(KmsScenario.PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }

    private KmsAsyncClient client(String region) {
      if (!region.equals(scenario.name(0))) {
        return scenario.client(region);
      }
      return switch (stall) {
        case CLIENT -> {
          await();
          yield scenario.client(region);
        }
        case CREDENTIALS_THAT_ARE_PROMISED -> withCredentials(region, CompletableFuture::new);
        case CREDENTIALS_THAT_KEEP_A_THREAD ->
            withCredentials(
                region,
                () -> {
                  await();
                  return CompletableFuture.completedFuture(FakeClient.identity());
                });
      };
    }

    private KmsAsyncClient withCredentials(
        String region, Supplier<CompletableFuture<AwsCredentialsIdentity>> credentials) {
      return stalled.computeIfAbsent(
          region,
          name ->
              scenario
                  .anonymousClientBuilder(name)
                  .credentialsProvider(
                      new IdentityProvider<AwsCredentialsIdentity>() {
                        @Override
                        public Class<AwsCredentialsIdentity> identityType() {
                          return AwsCredentialsIdentity.class;
                        }

                        @Override
                        public CompletableFuture<AwsCredentialsIdentity> resolveIdentity(
                            ResolveIdentityRequest request) {
                          return credentials.get();
                        }
                      })
                  .build());
    }

    AwsKeyManagementService.Builder builder() {
      return scenario
          .withRegions(AwsKeyManagementService.builder())
          .regionTimeout(REGION_TIMEOUT)
          .clientFactory(this::client);
    }

    SessionFactory factory(AwsKeyManagementService kms, Duration callTimeout) {
      return SessionFactory.builder("product", "service")
          .metastore(metastore)
          .keyManagementService(kms)
          .callTimeout(callTimeout)
          .loadTimeout(KmsScenario.PATIENCE)
          .callAttempts(1)
          .build();
    }

    void assertOneTimeoutIsCounted() {
      assertThat(scenario.recorder.take())
          .containsExactly(new Failed("aws", scenario.name(0), Kind.TIMEOUT));
    }

    /** What was logged of the stalled region; there is nothing of the other. */
    List<String> warnings(Log log) {
      assertThat(log.warnings()).noneMatch(line -> line.startsWith(scenario.name(1)));
      return log.warnings().stream()
          .filter(line -> line.startsWith(scenario.name(0) + " "))
          .toList();
    }
  }

  @Test
  void recordIsOpened_byTheOtherRegion_withinTheCallTimeout() {
    forEachStall(
        stalled -> {
          KmsScenario scenario = stalled.scenario;
          SessionFactory first = stalled.factory(scenario.builder().build(), KmsScenario.PATIENCE);
          byte[] record = get(first.session("partition").encryptToJson(PAYLOAD));
          done(first.close());
          int before = scenario.server.requests().size();
          SessionFactory second = stalled.factory(stalled.builder().build(), CALL_TIMEOUT);

          assertThat(get(second.session("partition").decryptJson(record))).isEqualTo(PAYLOAD);

          stalled.assertOneTimeoutIsCounted();
          assertThat(scenario.server.requests().stream().skip(before))
              .extracting(KmsRequest::region, KmsRequest::operation)
              .containsExactly(tuple(scenario.name(1), "Decrypt"));
          done(second.close());
        });
  }

  @Test
  void keyIsMade_byTheOtherRegion_withinTheCallTimeout_andTheStalledOneIsLeftOut() {
    try (Log log = new Log()) {
      forEachStall(
          stalled -> {
            KmsScenario scenario = stalled.scenario;
            int before = scenario.server.requests().size();
            SessionFactory factory = stalled.factory(stalled.builder().build(), CALL_TIMEOUT);

            assertThat(get(factory.session("partition").encrypt(PAYLOAD))).isNotNull();

            done(factory.close());
            assertThat(stalled.warnings(log))
                .satisfiesExactly(
                    made ->
                        assertThat(made)
                            .startsWith(scenario.name(0) + " could not make a data key: "),
                    leftOut ->
                        assertThat(leftOut)
                            .startsWith(
                                scenario.name(0)
                                    + " will not be able to open the new system key: "));
            // It was not waited for once more.
            stalled.assertOneTimeoutIsCounted();
            assertThat(scenario.server.requests().stream().skip(before).map(KmsRequest::operation))
                .containsExactly("GenerateDataKey");
          });
    }
  }

  @Test
  void regionThatStallsWhereItWraps_isLeftOut_withAWarning() {
    try (Log log = new Log()) {
      forEachStall(
          stalled -> {
            KmsScenario scenario = stalled.scenario;
            AwsKeyManagementService kms =
                stalled.builder().preferredRegion(scenario.name(1)).build();

            byte[] wrapped = scenario.wrap(kms, 2);

            assertThat(KeyEnvelope.fromJson(wrapped).keks())
                .extracting(Kek::region)
                .containsExactly(scenario.name(1));
            assertThat(stalled.warnings(log))
                .singleElement()
                .asString()
                .startsWith(scenario.name(0) + " will not be able to open the new system key: ");
            assertThat(unwrap(kms, wrapped)).isEqualTo(bytes(2));
            stalled.assertOneTimeoutIsCounted();
          });
    }
  }

  @Test
  void stalledRegionThatIsRequired_isAnErrorThatMayPass() {
    forEachStall(
        stalled -> {
          KmsScenario scenario = stalled.scenario;
          AwsKeyManagementService kms =
              stalled.builder().preferredRegion(scenario.name(1)).minimumRegions(2).build();
          try (Secret secret = scenario.secret(1)) {
            StepVerifier.create(kms.encryptKey(secret))
                .verifyErrorSatisfies(e -> assertThat(((KmsException) e).isRetryable()).isTrue());
          }
        });
  }

  /** So that those that wrap are ready when a data key is there. */
  @Test
  void allRegionsAreMadeReady_beforeADataKeyIsMade() {
    Set<String> built = ConcurrentHashMap.newKeySet();
    try (KmsScenario scenario = new KmsScenario(2)) {
      AwsKeyManagementService kms =
          scenario
              .withRegions(AwsKeyManagementService.builder())
              .clientFactory(
                  region -> {
                    built.add(region);
                    return scenario.client(region);
                  })
              .build();
      scenario.region(0).hold();
      try (Secret secret = scenario.secret(1)) {
        CompletableFuture<byte[]> wrapped = kms.encryptKey(secret).toFuture();
        Await.until(() -> scenario.region(0).underWay() == 1);
        Await.until(() -> built.size() == 2);
        scenario.region(0).release();
        assertThat(get(Mono.fromFuture(wrapped))).isNotEmpty();
      }
    }
  }
}
