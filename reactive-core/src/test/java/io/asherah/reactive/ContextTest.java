package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testsupport.Await;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** Which Reactor context is seen where. */
class ContextTest {
  private static final List<String> CALLS =
      List.of("loadLatest(IK)", "loadLatest(SK)", "encryptKey", "store(SK)", "store(IK)");

  /** Where Reactor keeps the hook with which the library wipes a key that a back end discards. */
  private static final String OWN_HOOK = "reactor.onDiscard.local";

  /** Notes the entries of the context that back ends see, by call. */
  private static Map<String, Map<Object, Object>> watch(Scenario scenario, List<String> calls) {
    Map<String, Map<Object, Object>> seen = new ConcurrentHashMap<>();
    calls.forEach(
        call ->
            scenario.calls.watch(
                call,
                answer ->
                    Mono.deferContextual(
                        context -> {
                          Map<Object, Object> entries = new ConcurrentHashMap<>();
                          context.forEach(entries::put);
                          entries.remove(OWN_HOOK);
                          seen.put(call, entries);
                          return answer;
                        })));
    return seen;
  }

  @Test
  void namedEntriesOfTheCallerThatStartsALoad_reachTheBackEnds_andNoOthers() {
    InMemoryMetastore store = new InMemoryMetastore();
    try (Scenario scenario =
        new Scenario(
            store,
            CryptoPolicy.defaults(),
            options -> options.loadContextKeys(List.of("trace", "absent")))) {
      Map<String, Map<Object, Object>> seen = watch(scenario, CALLS);

      get(
          scenario
              .session()
              .encrypt(utf8("payload"))
              .contextWrite(context -> context.put("trace", 7).put("transaction", "open")));

      assertThat(seen.keySet()).containsExactlyInAnyOrderElementsOf(CALLS);
      assertThat(seen.values())
          .allSatisfy(entries -> assertThat(entries).isEqualTo(Map.of("trace", 7)));
    }
  }

  @Test
  void discardHookOfTheCaller_staysOutside() {
    List<Object> discarded = new CopyOnWriteArrayList<>();
    try (Scenario scenario = new Scenario()) {
      CALLS.forEach(
          call ->
              scenario.calls.watch(
                  call, answer -> Flux.range(0, 3).filter(i -> false).then(answer)));

      get(scenario.session().encrypt(utf8("payload")).doOnDiscard(Object.class, discarded::add));

      assertThat(discarded).isEmpty();
    }
  }

  @Test
  void byDefault_theObservationOfMicrometerIsNamed() {
    try (Scenario scenario = new Scenario()) {
      Map<String, Map<Object, Object>> seen = watch(scenario, CALLS);

      get(
          scenario
              .session()
              .encrypt(utf8("payload"))
              .contextWrite(c -> c.put("micrometer.observation", "span").put("user", "alice")));

      assertThat(seen.values())
          .allSatisfy(
              entries -> assertThat(entries).isEqualTo(Map.of("micrometer.observation", "span")));
    }
  }

  @Test
  void alsoWithoutCaches_backEndsSeeNothingElse() {
    CryptoPolicy policy = CryptoPolicy.builder().cacheNothing().build();
    InMemoryMetastore store = new InMemoryMetastore();
    try (Scenario scenario = new Scenario(store, policy, "")) {
      DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));
      Map<String, Map<Object, Object>> seen =
          watch(scenario, List.of("load(IK)", "load(SK)", "decryptKey"));

      get(
          scenario
              .session()
              .decrypt(record)
              .contextWrite(c -> c.put("micrometer.observation", "span").put("user", "alice")));

      assertThat(seen).hasSize(3);
      assertThat(seen.values())
          .allSatisfy(
              entries -> assertThat(entries).isEqualTo(Map.of("micrometer.observation", "span")));
    }
  }

  @Test
  void refreshInTheBackground_seesNothingOfTheCaller() {
    try (Scenario scenario = new Scenario()) {
      get(scenario.session().encrypt(utf8("payload")));
      Map<String, Map<Object, Object>> seen = watch(scenario, List.of("loadLatest(IK)"));
      scenario.pass(CryptoPolicy.defaults().revokeCheckPeriod().multipliedBy(9).dividedBy(10));

      get(
          scenario
              .session()
              .encrypt(utf8("payload"))
              .contextWrite(c -> c.put("micrometer.observation", "a span that is over by then")));

      Await.until(() -> seen.containsKey("loadLatest(IK)"));
      assertThat(seen.get("loadLatest(IK)")).isEmpty();
    }
  }

  @Test
  void theOneThatStartsALoad_andThoseThatJoinIt_goOnInTheirOwnContexts() {
    try (Scenario scenario = new Scenario()) {
      Sinks.Empty<Void> gate = Sinks.empty();
      scenario.calls.change("store(IK)", answer -> gate.asMono().then(answer));
      List<CompletableFuture<Integer>> seen = new ArrayList<>();
      for (int i = 0; i < 10; i++) {
        int caller = i;
        seen.add(
            scenario
                .session()
                .encrypt(utf8("payload"))
                .flatMap(record -> Mono.deferContextual(c -> Mono.just(c.<Integer>get("caller"))))
                .contextWrite(context -> context.put("caller", caller))
                .toFuture());
        if (i == 0) {
          Await.until(() -> scenario.calls.count("store(IK)") == 1);
        }
      }

      gate.tryEmitEmpty();

      for (int i = 0; i < 10; i++) {
        assertThat(seen.get(i).orTimeout(30, TimeUnit.SECONDS).join()).isEqualTo(i);
      }
      assertThat(scenario.calls.count("store(IK)")).isOne();
    }
  }

  @Test
  void keyMadeInsideACallersTransaction_isThereAfterItsRollBack() {
    TransactionalMetastore store = new TransactionalMetastore();
    SessionFactory factory =
        SessionFactory.builder("product", "service")
            .metastore(store)
            .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
            .build();

    DataRowRecord record = get(store.rolledBack(factory.session("partition").encrypt(utf8("x"))));

    KeyMeta key = record.key().parentKeyMeta().orElseThrow();
    assertThat(get(store.load(key.id(), key.created()))).isNotNull();
    // The fake would have lost it.
    get(store.rolledBack(store.store("_IK_lost", key.created(), record.key())));
    assertThat(store.load("_IK_lost", key.created()).blockOptional()).isEmpty();
    factory.close().block(Await.TIMEOUT);
  }

  /** Joins a transaction that it finds in the Reactor context, as R2DBC with Spring does. */
  private static final class TransactionalMetastore implements Metastore {
    private final InMemoryMetastore committed = new InMemoryMetastore();

    /** Runs something in a transaction, and rolls it back. */
    <T> Mono<T> rolledBack(Mono<T> work) {
      return work.contextWrite(c -> c.put("transaction", new InMemoryMetastore()));
    }

    private Mono<InMemoryMetastore> table() {
      return Mono.deferContextual(
          c -> Mono.just(c.<InMemoryMetastore>getOrEmpty("transaction").orElse(committed)));
    }

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return table().flatMap(table -> table.load(id, created));
    }

    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return table().flatMap(table -> table.loadLatest(id));
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return table().flatMap(table -> table.store(id, created, record));
    }
  }
}
