package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.Samples;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** The code of docs/recipes.md, between the marks below. */
class RecipesTest {
  private final Queue<String> deadLetters = new ConcurrentLinkedQueue<>();
  private final Queue<String> alerts = new ConcurrentLinkedQueue<>();

  private record Incoming(int offset, String tenant, byte[] value) {}

  private record Outgoing(Incoming record, byte[] json) {}

  private Mono<Outgoing> deadLetter(Incoming record, Throwable e) {
    deadLetters.add(record.offset() + ": " + e.getMessage());
    return Mono.empty();
  }

  private void alert(KeyMeta key, @Nullable Throwable cause) {
    alerts.add(key + " " + cause);
  }

  @Test
  void manyRecordsOfManyTenants_keepTheirOrder_andOneThatFailsGoesItsOwnWay() {
    CryptoPolicy policy = CryptoPolicy.builder().maxCachedIntermediateKeys(10).build();
    try (Scenario scenario = new Scenario(new InMemoryMetastore(), policy, "")) {
      SessionFactory factory = scenario.factory;
      AtomicInteger stores = new AtomicInteger();
      scenario.calls.change(
          "store(IK)",
          answer ->
              stores.getAndIncrement() == 5
                  ? Mono.error(new MetastoreException("full", null, false))
                  : answer);
      List<Incoming> all =
          IntStream.range(0, 5_000)
              .mapToObj(i -> new Incoming(i, "tenant" + i % 37, utf8("value" + i)))
              .toList();
      AtomicInteger underWay = new AtomicInteger();
      AtomicInteger mostUnderWay = new AtomicInteger();
      Flux<Incoming> records =
          Flux.fromIterable(all)
              .doOnNext(
                  record -> mostUnderWay.accumulateAndGet(underWay.incrementAndGet(), Math::max));
      int concurrency = 64;

      // many records
      Flux<Outgoing> sealed =
          records.flatMapSequential(
              record ->
                  factory
                      .session(record.tenant())
                      .encryptToJson(record.value())
                      .map(json -> new Outgoing(record, json))
                      .onErrorResume(e -> deadLetter(record, e)),
              concurrency);
      // end

      List<Outgoing> out = get(sealed.doOnNext(o -> underWay.decrementAndGet()).collectList());

      assertThat(out.stream().map(o -> o.record().offset())).isSorted();
      assertThat(deadLetters).isNotEmpty().allMatch(letter -> letter.endsWith(": full"));
      assertThat(out).hasSize(all.size() - deadLetters.size());
      for (Outgoing one : out.subList(0, 100)) {
        assertThat(get(factory.session(one.record().tenant()).decryptJson(one.json())))
            .isEqualTo(one.record().value());
      }
    }
  }

  @Test
  void erasingATenant_isOnRecord() {
    try (Scenario scenario = new Scenario()) {
      SessionFactory factory = scenario.factory;
      String tenant = "tenant";
      get(factory.session(tenant).encrypt(utf8("payload")));
      scenario.pass(Duration.ofMinutes(1));
      Queue<String> audit = new ConcurrentLinkedQueue<>();

      // erasing
      Mono<ShredReport> erased =
          factory
              .keysOf(tenant) // look before
              .doOnNext(key -> audit.add("will delete " + key.meta().id()))
              .then(factory.shred(tenant))
              .doOnNext(
                  report -> report.deleted().forEach(key -> audit.add("deleted " + key.id())));
      // end

      assertThat(get(erased).deleted()).hasSize(1);
      assertThat(audit)
          .containsExactly(
              "will delete _IK_tenant_service_product", "deleted _IK_tenant_service_product");
    }
  }

  @Test
  void watchingKeys_alerts() {
    try (Scenario scenario = new Scenario()) {
      SessionFactory factory = scenario.factory;

      // watching
      Disposable watching =
          factory
              .keyEvents()
              .filter(event -> event.type() == KeyEvent.Type.REFRESH_FAILED)
              .subscribe(event -> alert(event.key(), event.cause()));
      // end

      get(factory.session("tenant").encrypt(utf8("payload")));
      scenario.calls.fail("loadLatest(IK)", new MetastoreException("down", null, false));
      scenario.pass(Duration.ofMinutes(54));
      get(factory.session("tenant").encrypt(utf8("payload")));
      Await.until(() -> !alerts.isEmpty());
      watching.dispose();
      assertThat(alerts.peek()).contains("down").doesNotContain("tenant");
    }
  }

  @Test
  void document_showsTheCode() throws IOException {
    List<String> shown = Samples.inDocument("docs/recipes.md", "java");
    assertThat(shown)
        .containsExactly(
            Samples.inTest(RecipesTest.class, "many records"),
            Samples.inTest(RecipesTest.class, "erasing"),
            Samples.inTest(RecipesTest.class, "watching"));
  }
}
