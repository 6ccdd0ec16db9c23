package io.asherah.reactive.micrometer;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import io.micrometer.observation.Observation;
import io.micrometer.observation.contextpropagation.ObservationThreadLocalAccessor;
import io.micrometer.observation.tck.TestObservationRegistry;
import java.time.Instant;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

class ObservedMetastoreTest {
  static final String KEY = "micrometer.observation";
  private static final String ID = "_IK_tenant-secret-42_service_product";
  private static final Instant CREATED = Instant.ofEpochSecond(60);
  private static final EnvelopeKeyRecord RECORD =
      new EnvelopeKeyRecord(CREATED, new byte[60], null, false);

  private final TestObservationRegistry observations = TestObservationRegistry.create();
  private final InMemoryMetastore inner = new InMemoryMetastore("us-west-2");
  private final Metastore observed = ObservedMetastore.create(inner, observations);

  /** A metastore whose loadLatest is what is given, with a name that Reactor could mistake. */
  private static Metastore answering(Mono<EnvelopeKeyRecord> answer) {
    return new Metastore() {
      @Override
      public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
        throw new IllegalStateException("thrown");
      }

      @Override
      public Mono<EnvelopeKeyRecord> loadLatest(String id) {
        return answer.name("name of its own").tag("id", id);
      }

      @Override
      public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
        return Mono.error(new AssertionError());
      }
    };
  }

  @Test
  void nameAndSuffix_areThoseOfTheMetastore() {
    assertThat(observed.name()).isEqualTo("memory");
    assertThat(observed.keySuffix()).isEqualTo("us-west-2");
  }

  @Test
  void inventory_isOneOnlyWhereTheMetastoreIsOne() {
    assertThat(observed).isInstanceOf(KeyInventory.class);
    assertThat(ObservedMetastore.create(answering(Mono.empty()), observations))
        .isNotInstanceOf(KeyInventory.class);
  }

  @Test
  void answers_areThoseOfTheMetastore() {
    StepVerifier.create(observed.loadLatest(ID)).verifyComplete();
    StepVerifier.create(observed.store(ID, CREATED, RECORD)).expectNext(true).verifyComplete();
    StepVerifier.create(observed.store(ID, CREATED, RECORD)).expectNext(false).verifyComplete();
    StepVerifier.create(observed.load(ID, CREATED)).expectNext(RECORD).verifyComplete();
    StepVerifier.create(observed.loadLatest(ID)).expectNext(RECORD).verifyComplete();
    KeyInventory inventory = (KeyInventory) observed;
    StepVerifier.create(inventory.list(KeySelector.id(ID))).expectNextCount(1).verifyComplete();
    StepVerifier.create(inventory.revoke(KeySelector.id(ID))).expectNext(1L).verifyComplete();
    StepVerifier.create(inventory.delete(KeySelector.id(ID))).expectNext(1L).verifyComplete();
    assertThat(inner.list(KeySelector.idPrefix("")).collectList().block()).isEmpty();
  }

  static Stream<Arguments> calls() {
    InMemoryMetastore inner = new InMemoryMetastore();
    TestObservationRegistry observations = TestObservationRegistry.create();
    Metastore observed = ObservedMetastore.create(inner, observations);
    KeyInventory inventory = (KeyInventory) observed;
    KeySelector selector = KeySelector.id(ID);
    return Stream.of(
        Arguments.of("load", observations, observed.load(ID, CREATED)),
        Arguments.of("loadlatest", observations, observed.loadLatest(ID)),
        Arguments.of("store", observations, observed.store(ID, CREATED, RECORD)),
        Arguments.of("list", observations, inventory.list(selector)),
        Arguments.of("revoke", observations, inventory.revoke(selector)),
        Arguments.of("delete", observations, inventory.delete(selector)));
  }

  @ParameterizedTest
  @MethodSource("calls")
  void eachSubscription_isOneObservation_whoseParentIsInTheContext(
      String call, TestObservationRegistry observations, Publisher<?> answer) {
    observations.clear();
    assertThat(observations).doesNotHaveAnyObservation();
    Observation parent = Observation.start("caller", observations);

    Flux.from(answer).contextWrite(context -> context.put(KEY, parent)).blockLast();
    Flux.from(answer).contextWrite(context -> context.put(KEY, parent)).blockLast();
    parent.stop();

    assertThat(observations)
        .hasNumberOfObservationsEqualTo(3)
        .forAllObservationsWithNameEqualTo(
            "asherah.metastore." + call,
            observation ->
                observation
                    .doesNotHaveError()
                    .hasContextualNameEqualTo("asherah.metastore." + call)
                    .hasLowCardinalityKeyValue("metastore", "memory")
                    .hasOnlyKeys("metastore", "reactor.status", "reactor.type")
                    .hasParentObservationEqualTo(parent))
        .hasNumberOfObservationsWithNameEqualTo("asherah.metastore." + call, 2)
        .hasHandledContextsThatSatisfy(
            contexts ->
                assertThat(contexts)
                    .allSatisfy(
                        context -> assertThat(context.toString()).doesNotContain("tenant")));
  }

  @Test
  void keyInTheContext_isThatOfMicrometer() {
    assertThat(ObservationThreadLocalAccessor.KEY).isEqualTo(KEY);
  }

  @Test
  void noParentInTheContext_isARoot() {
    StepVerifier.create(observed.loadLatest(ID)).verifyComplete();

    assertThat(observations)
        .hasSingleObservationThat()
        .hasLowCardinalityKeyValue("reactor.status", "completedEmpty")
        .doesNotHaveParentObservation();
  }

  @Test
  void metastore_seesTheObservation_andTheRestOfTheContext() {
    Metastore metastore =
        answering(
            Mono.deferContextual(
                context -> {
                  Observation current = context.get(KEY);
                  assertThat(current.getContext().getName())
                      .isEqualTo("asherah.metastore.loadlatest");
                  assertThat(context.<String>get("allowed")).isEqualTo("yes");
                  return Mono.just(RECORD);
                }));

    StepVerifier.create(
            ObservedMetastore.create(metastore, observations)
                .loadLatest(ID)
                .contextWrite(context -> context.put("allowed", "yes")))
        .expectNext(RECORD)
        .verifyComplete();
  }

  @Test
  void namesAndTagsOfTheMetastoresOwnMono_areNotTaken() {
    ObservedMetastore.create(answering(Mono.just(RECORD)), observations).loadLatest(ID).block();

    assertThat(observations)
        .hasSingleObservationThat()
        .hasNameEqualTo("asherah.metastore.loadlatest")
        .hasLowCardinalityKeyValue("metastore", "custom")
        .hasOnlyKeys("metastore", "reactor.status", "reactor.type");
  }

  @Test
  void error_isReportedAndPassedOn() {
    MetastoreException error = new MetastoreException("down", null, true);

    StepVerifier.create(
            ObservedMetastore.create(answering(Mono.error(error)), observations).loadLatest(ID))
        .verifyErrorSatisfies(e -> assertThat(e).isSameAs(error));

    assertThat(observations)
        .hasSingleObservationThat()
        .hasBeenStopped()
        .hasLowCardinalityKeyValue("reactor.status", "error")
        .hasError(error);
  }

  @Test
  void exceptionThatIsThrown_isSignalledAndReported() {
    Mono<EnvelopeKeyRecord> load =
        ObservedMetastore.create(answering(Mono.empty()), observations).load(ID, CREATED);

    StepVerifier.create(load).verifyErrorMessage("thrown");

    assertThat(observations).hasSingleObservationThat().hasBeenStopped().hasError();
  }

  @Test
  void cancel_endsTheObservation() {
    StepVerifier.create(
            ObservedMetastore.create(answering(Mono.never()), observations).loadLatest(ID))
        .thenCancel()
        .verify();

    assertThat(observations)
        .hasSingleObservationThat()
        .hasBeenStopped()
        .doesNotHaveError()
        .hasLowCardinalityKeyValue("reactor.status", "cancelled");
  }

  @Test
  void nothing_happensBeforeASubscription() {
    KeyInventory inventory = (KeyInventory) observed;
    List<Publisher<?>> publishers =
        List.of(
            observed.load(ID, CREATED),
            observed.loadLatest(ID),
            observed.store(ID, CREATED, RECORD),
            inventory.list(KeySelector.id(ID)),
            inventory.revoke(KeySelector.id(ID)),
            inventory.delete(KeySelector.id(ID)));

    assertThat(publishers).doesNotContainNull();
    assertThat(observations).doesNotHaveAnyObservation();
  }
}
