package io.asherah.reactive.micrometer;

import static io.asherah.reactive.micrometer.ObservedMetastoreTest.KEY;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.Session;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testsupport.Await;
import io.micrometer.observation.Observation;
import io.micrometer.observation.tck.TestObservationRegistry;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.observability.micrometer.Micrometer;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.util.context.ContextView;

/** Who is the parent of what, through a session factory. */
class TracingTest {
  private final TestObservationRegistry observations = TestObservationRegistry.create();
  private final HeldMetastore metastore = new HeldMetastore();
  private final SessionFactory factory =
      SessionFactory.builder("product", "service")
          .metastore(ObservedMetastore.create(metastore, observations))
          .keyManagementService(
              ObservedKeyManagementService.create(
                  StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"),
                  observations))
          .build();
  private final Session session = factory.session("tenant-secret-42");

  /** Answers nothing before it is told to, and keeps the contexts of all calls. */
  private static final class HeldMetastore implements Metastore {
    private final Metastore memory = new InMemoryMetastore();
    private final Sinks.Empty<Void> held = Sinks.empty();
    private final Queue<ContextView> contexts = new ConcurrentLinkedQueue<>();

    private <T> Mono<T> answer(Mono<T> answer) {
      return Mono.deferContextual(
          context -> {
            contexts.add(context);
            return held.asMono().then(answer);
          });
    }

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return answer(memory.load(id, created));
    }

    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return answer(memory.loadLatest(id));
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return answer(memory.store(id, created, record));
    }
  }

  @AfterEach
  void close() {
    factory.close().block(Await.TIMEOUT);
  }

  /** Encrypts as a program would that observes it; emits the observation found after it. */
  private Mono<Observation> encryptObserved(String name) {
    return session
        .encrypt(new byte[1])
        .flatMap(record -> Mono.deferContextual(context -> Mono.just(context.get(KEY))))
        .cast(Observation.class)
        .name(name)
        .tap(Micrometer.observation(observations));
  }

  @Test
  void callsOfALoad_belongToTheOperationThatStartedIt_andNotToOneThatJoined() throws Exception {
    CompletableFuture<Observation> first = encryptObserved("caller.first").toFuture();
    Await.until(() -> !metastore.contexts.isEmpty());
    CompletableFuture<Observation> second = encryptObserved("caller.second").toFuture();
    metastore.held.tryEmitEmpty();

    Observation ofFirst = first.get(Await.TIMEOUT.toSeconds(), TimeUnit.SECONDS);
    Observation ofSecond = second.get(Await.TIMEOUT.toSeconds(), TimeUnit.SECONDS);

    assertThat(ofFirst.getContext().getName()).isEqualTo("caller.first");
    assertThat(ofSecond.getContext().getName()).isEqualTo("caller.second");
    assertThat(observations)
        .hasHandledContextsThatSatisfy(
            contexts -> {
              List<Observation.Context> calls =
                  contexts.stream()
                      .filter(context -> String.valueOf(context.getName()).startsWith("asherah."))
                      .toList();
              assertThat(calls)
                  .extracting(Observation.Context::getName)
                  .containsOnlyOnce("asherah.kms.encryptkey")
                  .contains("asherah.metastore.loadlatest", "asherah.metastore.store");
              assertThat(calls)
                  .extracting(Observation.Context::getParentObservation)
                  .doesNotContainNull()
                  .extracting(parent -> Objects.requireNonNull(parent).getContextView().getName())
                  .containsOnly("caller.first");
            });
  }

  @Test
  void entriesOfTheContextThatAreNotAllowed_areNotVisibleToTheMetastore() {
    metastore.held.tryEmitEmpty();

    encryptObserved("caller")
        .contextWrite(context -> context.put("tenant", "t1"))
        .block(Await.TIMEOUT);

    assertThat(metastore.contexts)
        .isNotEmpty()
        .allSatisfy(context -> assertThat(context.hasKey("tenant")).isFalse())
        .allSatisfy(context -> assertThat(context.hasKey(KEY)).isTrue());
  }

  @Test
  void operation_isObservedWhereItIsCalled() {
    metastore.held.tryEmitEmpty();
    Observation request = Observation.start("request", observations);

    session
        .encrypt(new byte[1])
        .name("orders.encrypt")
        .tap(Micrometer.observation(observations))
        .contextWrite(context -> context.put(KEY, request))
        .block(Await.TIMEOUT);
    request.stop();

    assertThat(observations)
        .hasObservationWithNameEqualTo("orders.encrypt")
        .that()
        .hasBeenStopped()
        .doesNotHaveError()
        .hasParentObservationEqualTo(request);
  }
}
