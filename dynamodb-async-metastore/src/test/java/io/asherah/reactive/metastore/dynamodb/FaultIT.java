package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testaws.DynamoDbFront;
import io.asherah.reactive.testaws.DynamoDbServer;
import io.asherah.reactive.testaws.Faults;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;

/** Everything that can go wrong with a call, for every operation and HTTP client. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class FaultIT {
  private static final String TENANT = "tenant-4711";
  private static final String JSON = "application/x-amz-json-1.0";

  /** Of a call that is not answered. */
  private static final Duration LIMIT = Duration.ofSeconds(3);

  /**
   * What goes wrong, whether the call may succeed later, and what the message has to tell, with the
   * name of the call.
   */
  enum Fault {
    PROVISIONED(true, "capacity", service(400, "ProvisionedThroughputExceededException")),
    REQUEST_LIMIT(true, "capacity", service(400, "RequestLimitExceeded")),
    THROTTLING(true, "capacity", service(400, "ThrottlingException")),
    TOO_MANY(true, "capacity", faults -> faults.raw(429, "text/plain", TENANT)),
    NO_TABLE(false, "create it", service(400, "ResourceNotFoundException")),
    ACCESS_DENIED(false, "allow dynamodb:%s on", service(400, "AccessDeniedException")),
    EXPIRED_TOKEN(false, "allow dynamodb:%s on", service(400, "ExpiredTokenException")),
    UNRECOGNIZED(false, "allow dynamodb:%s on", service(400, "UnrecognizedClientException")),
    BAD_SIGNATURE(false, "clock", service(400, "InvalidSignatureException")),
    NO_TOKEN(false, "allow dynamodb:%s on", service(400, "MissingAuthenticationTokenException")),
    FORBIDDEN(
        false, "allow dynamodb:%s on", faults -> faults.raw(403, "text/html", "<html>" + TENANT)),
    INVALID(false, "Id (S) and Created (N)", service(400, "ValidationException")),
    UNKNOWN(false, "cause", service(400, "SomethingNewException")),
    INTERNAL(true, "later", service(500, "InternalServerError")),
    UNAVAILABLE(true, "later", service(503, "ServiceUnavailable")),
    HTML_503(true, "later", faults -> faults.raw(503, "text/html", "<html>" + TENANT)),
    HTML_502(true, "later", faults -> faults.raw(502, "text/html", "<html>" + TENANT)),
    HTML_200(false, "proxy", faults -> faults.raw(200, "text/html", "<html>" + TENANT)),
    GARBAGE(false, "proxy", Faults::garbage),
    LIST_FOR_OBJECT(false, "proxy", faults -> faults.raw(200, JSON, "[\"x\"]"));

    private final boolean isRetryable;
    private final String advice;
    private final Consumer<Faults> happens;

    Fault(boolean isRetryable, String advice, Consumer<Faults> happens) {
      this.isRetryable = isRetryable;
      this.advice = advice;
      this.happens = happens;
    }

    private static Consumer<Faults> service(int status, String code) {
      return faults -> faults.fail(status, code, "the item " + TENANT + " of your table");
    }
  }

  private final Aws aws = new Aws();
  private final Map<Aws.Http, DynamoDbMetastore> metastores = new EnumMap<>(Aws.Http.class);
  private final Map<Aws.Http, DynamoDbMetastore> impatient = new EnumMap<>(Aws.Http.class);
  private final String id = "_IK_%s_%s".formatted(TENANT, Aws.freshId());
  private DynamoDbFront front;
  private DynamoDbAsyncClient direct;
  private String table;

  @BeforeAll
  void createTable() {
    front = DynamoDbFront.to(DynamoDbServer.shared());
    direct = aws.client();
    table = Aws.newTable(direct);
    for (Aws.Http kind : Aws.Http.values()) {
      SdkAsyncHttpClient http = aws.http(kind);
      DynamoDbAsyncClient client = aws.client(front.endpoint(), http, builder -> {});
      // Does not ask for replicas, which would meet the faults.
      metastores.put(kind, Aws.patient(client, table).keySuffix("suffix").build());
      impatient.put(
          kind, Aws.patient(client, table).keySuffix("suffix").callTimeout(LIMIT).build());
    }
  }

  @AfterEach
  void heal() {
    front.healthy();
  }

  @AfterAll
  void close() {
    aws.close();
    front.close();
  }

  private static Stream<Arguments> faults() {
    List<Arguments> all = new ArrayList<>();
    for (Operation operation : Operation.values()) {
      for (Fault fault : Fault.values()) {
        // Where there is no table yet, it is waited for: see ClientTest.
        if (!operation.name().startsWith("CREATE") || fault != Fault.NO_TABLE) {
          all.add(
              Arguments.of(
                  operation, fault, Aws.Http.values()[all.size() % Aws.Http.values().length]));
        }
      }
    }
    return all.stream();
  }

  @ParameterizedTest
  @MethodSource("faults")
  void fault_isAnErrorThatTellsWhatToDo(Operation operation, Fault fault, Aws.Http kind) {
    assertFails(operation, fault.happens, fault.isRetryable, fault.advice, kind);
  }

  private static Stream<Arguments> operations() {
    return Stream.of(Operation.values())
        .flatMap(
            operation -> Stream.of(Aws.Http.values()).map(kind -> Arguments.of(operation, kind)));
  }

  @ParameterizedTest
  @MethodSource("operations")
  void answerCutShort_isRetryable(Operation operation, Aws.Http kind) {
    assertFails(operation, Faults::truncate, true, "later", kind);
  }

  @ParameterizedTest
  @MethodSource("operations")
  void connectionRefused_isRetryable(Operation operation, Aws.Http kind) {
    front.refuse();

    assertIsError(operation.of(of(metastores, kind), id), true, "network");

    front.healthy();
    assertIsAsBefore();
  }

  @Test
  void silentServer_isRetryable_whenTheLimitHasPassed() {
    restore();
    for (boolean isSecondCall : new boolean[] {false, true}) {
      List<Operation> operations =
          Stream.of(Operation.values()).filter(o -> o.isSecondCall() == isSecondCall).toList();
      Map<String, Integer> reached = new HashMap<>();
      for (Operation operation : operations) {
        reached.merge(operation.call, Aws.Http.values().length, Integer::sum);
      }
      Map<String, Integer> before = calls(reached.keySet());
      front.on(reached.keySet().toArray(String[]::new)).silent();

      List<Map.Entry<Operation, Throwable>> errors =
          Aws.get(
              Flux.fromArray(Aws.Http.values())
                  .flatMap(kind -> errors(operations, of(impatient, kind)))
                  .collectList());

      assertThat(errors).hasSize(operations.size() * Aws.Http.values().length);
      for (Map.Entry<Operation, Throwable> error : errors) {
        assertIsError(
            Mono.error(error.getValue()),
            true,
            // Where the limit of the SDK was first.
            "ApiCallTimeoutException; try again later",
            error.getKey().isChange() ? "whether it happened is not known" : "try again later");
      }
      Map<String, Integer> after = calls(reached.keySet());
      reached.forEach(
          (call, count) ->
              assertThat(of(after, call) - of(before, call)).as(call).isEqualTo(count));
      front.healthy();
    }
    assertIsAsBefore();
  }

  private Flux<Map.Entry<Operation, Throwable>> errors(
      List<Operation> operations, DynamoDbMetastore metastore) {
    return Flux.fromIterable(operations)
        .flatMap(
            operation ->
                Flux.from(operation.of(metastore, id))
                    .then(Mono.<Map.Entry<Operation, Throwable>>empty())
                    .onErrorResume(e -> Mono.just(Map.entry(operation, e))),
            operations.size());
  }

  private Map<String, Integer> calls(Collection<String> names) {
    return names.stream().collect(Collectors.toMap(name -> name, front::calls));
  }

  // Answers that are not of DynamoDB, though they look well.

  /** As of a portal that wants a login, or of a proxy. */
  enum Foreign {
    NO_MEMBERS(Faults::emptyAnswer),
    OTHER_JSON(faults -> faults.raw(200, JSON, "{\"error\":\"log in first\"}")),
    EMPTY(faults -> faults.raw(200, JSON, "")),
    /** What is said of it is only that it is not there. */
    NULLS(
        faults ->
            faults.raw(
                200,
                JSON,
                "{\"Item\":null,\"Items\":null,\"ConsumedCapacity\":null,\"Table\":null,"
                    + "\"TableDescription\":null}")),
    /** As of one that takes no notice of what is asked for. */
    NOTHING_ASKED_FOR(faults -> faults.raw(200, JSON, "{\"Items\":[],\"Count\":0}"));

    private final Consumer<Faults> happens;

    Foreign(Consumer<Faults> happens) {
      this.happens = happens;
    }
  }

  private static Stream<Arguments> foreignAnswers() {
    return operations()
        .flatMap(
            arguments ->
                Stream.of(Foreign.values())
                    .map(foreign -> Arguments.of(arguments.get()[0], arguments.get()[1], foreign)));
  }

  @ParameterizedTest
  @MethodSource("foreignAnswers")
  void foreignAnswer_isNeitherAbsenceNorSuccess(
      Operation operation, Aws.Http kind, Foreign foreign) {
    assertFails(
        operation,
        foreign.happens,
        false,
        "the answer is not one of DynamoDB: look at endpoint and proxy",
        kind);
  }

  @ParameterizedTest
  @EnumSource(names = {"LOAD_LATEST", "LIST", "LIST_OF_MANY", "REVOKE", "DELETE"})
  void answerWithoutItems_isNotThatThereAreNone(Operation operation) {
    assertFails(
        operation,
        faults ->
            faults.raw(200, JSON, "{\"ConsumedCapacity\":{\"TableName\":\"%s\"}}".formatted(table)),
        false,
        "the answer is not one of DynamoDB",
        Aws.Http.NETTY);
  }

  private static Stream<Arguments> foreignAnswersToAll() {
    return Stream.of(Foreign.values())
        .flatMap(foreign -> Stream.of(Aws.Http.values()).map(kind -> Arguments.of(foreign, kind)));
  }

  @ParameterizedTest
  @MethodSource("foreignAnswersToAll")
  void keyWhoseStoreWasAnsweredBySomebodyElse_sealsNothing(Foreign foreign, Aws.Http kind) {
    String service = "service" + UUID.randomUUID();
    byte[] payload = {1, 2, 3};
    SessionFactory writer = factory(service, kind);
    SessionFactory reader = factory(service, kind);
    int before = front.calls("PutItem");
    foreign.happens.accept(front.on("PutItem"));

    for (int i = 0; i < 2; i++) {
      assertIsError(writer.session("p").encryptToJson(payload), false, "proxy");
    }

    // Not even the key above it was believed.
    assertThat(front.calls("PutItem") - before).isEqualTo(2);
    assertThat(keysOf(service)).isZero();
    front.healthy();
    byte[] json = Aws.get(writer.session("p").encryptToJson(payload));
    assertThat(keysOf(service)).isEqualTo(2);
    assertThat(Aws.get(reader.session("p").decryptJson(json))).isEqualTo(payload);
    writer.close().block(Aws.TIMEOUT);
    reader.close().block(Aws.TIMEOUT);
  }

  private long keysOf(String service) {
    return Aws.get(
        Aws.patient(direct, table)
            .keySuffix("suffix")
            .build()
            .list(KeySelector.idPrefix("_"))
            .filter(key -> key.meta().id().contains(service))
            .count());
  }

  @ParameterizedTest
  @MethodSource("foreignAnswersToAll")
  void keyWhoseLoadWasAnsweredBySomebodyElse_isNotMissing(Foreign foreign, Aws.Http kind) {
    String service = "service" + UUID.randomUUID();
    byte[] payload = {1, 2, 3};
    SessionFactory writer = factory(service, kind);
    SessionFactory reader = factory(service, kind);
    byte[] json = Aws.get(writer.session("p").encryptToJson(payload));
    foreign.happens.accept(front);

    assertIsError(reader.session("p").decryptJson(json), false, "proxy");
    assertIsError(reader.session("p").encryptToJson(payload), false, "proxy");

    front.healthy();
    assertThat(Aws.get(reader.session("p").decryptJson(json))).isEqualTo(payload);
    assertThat(keysOf(service)).isEqualTo(2);
    writer.close().block(Aws.TIMEOUT);
    reader.close().block(Aws.TIMEOUT);
  }

  private SessionFactory factory(String service, Aws.Http kind) {
    return SessionFactory.builder("product", service)
        .metastore(of(metastores, kind))
        .keyManagementService(StaticKeyManagementService.of(new byte[32]))
        .callTimeout(Aws.TIMEOUT)
        .loadTimeout(Aws.TIMEOUT)
        .build();
  }

  @Test
  void storeThatHappenedButWasNotAnswered_isRetryable_andIsADuplicateThen() {
    String fresh = Aws.freshId();
    front.on("PutItem").times(1).delay(Duration.ofDays(1));

    assertIsError(
        of(impatient, Aws.Http.NETTY).store(fresh, Aws.CREATED, Aws.record(Aws.CREATED, 1)),
        true,
        "whether it happened is not known",
        "ApiCallTimeoutException");
    Await.until(() -> !Aws.item(direct, table, fresh, Aws.CREATED).isEmpty());

    assertThat(Aws.get(metastore().store(fresh, Aws.CREATED, Aws.record(Aws.CREATED, 2))))
        .isFalse();
    assertThat(Aws.get(metastore().load(fresh, Aws.CREATED))).isEqualTo(Aws.record(Aws.CREATED, 1));
  }

  @Test
  void storeThatHappenedButWasAnsweredWithAnError_isRetryable() {
    String fresh = Aws.freshId();
    front.on("PutItem").times(1).failAfterwards(500, "InternalServerError", TENANT);

    assertIsError(metastore().store(fresh, Aws.CREATED, Aws.record(Aws.CREATED, 1)), true, "later");

    assertThat(Aws.get(metastore().store(fresh, Aws.CREATED, Aws.record(Aws.CREATED, 2))))
        .isFalse();
  }

  @Test
  void eachOperation_makesOneAttempt() {
    front.fail(500, "InternalServerError", null);
    for (Operation operation :
        List.of(Operation.LOAD, Operation.LOAD_LATEST, Operation.STORE, Operation.LIST)) {
      int before = front.calls().size();

      assertIsError(operation.of(metastore(), id), true, "later");

      assertThat(front.calls()).hasSize(before + 1);
    }
  }

  /**
   * Neither the client of the user nor anything else makes more of it. It may go on trying after
   * that, where nobody else counts.
   */
  @Test
  void clientThatTriesAgain_hasOneTimeLimit() {
    try (DynamoDbFront failing = DynamoDbFront.to(DynamoDbServer.shared())) {
      DynamoDbAsyncClient insistent =
          aws.client(
              failing.endpoint(),
              aws.http(Aws.Http.NETTY),
              builder ->
                  builder.overrideConfiguration(ClientOverrideConfiguration.builder().build()));
      DynamoDbMetastore metastore =
          DynamoDbMetastore.builder().client(insistent).table(table).callTimeout(LIMIT).build();
      failing.on("GetItem").fail(500, "InternalServerError", null);

      assertIsError(metastore.load(id, Aws.CREATED), true, "");

      assertThat(failing.calls("GetItem")).isGreaterThan(1);
    }
  }

  private DynamoDbMetastore metastore() {
    return of(metastores, Aws.Http.NETTY);
  }

  private static <K, V> V of(Map<K, V> all, K key) {
    return Objects.requireNonNull(all.get(key));
  }

  /** One key, which is not revoked. */
  private void restore() {
    direct.deleteItem(b -> b.tableName(table).key(Aws.key(id, Aws.at(7)))).join();
    Aws.put(direct, table, KeyItem.of(new KeyMeta(id, Aws.CREATED), Aws.record(Aws.CREATED, 1)));
  }

  private void assertFails(
      Operation operation,
      Consumer<Faults> happens,
      boolean isRetryable,
      String advice,
      Aws.Http kind) {
    restore();
    int before = front.calls(operation.call);
    happens.accept(front.on(operation.call));

    assertIsError(
        operation.of(of(metastores, kind), id), isRetryable, advice.formatted(operation.call));

    assertThat(front.calls(operation.call)).isGreaterThan(before);
    front.healthy();
    assertIsAsBefore();
  }

  private void assertIsAsBefore() {
    restore();
    assertThat(Aws.get(metastore().load(id, Aws.CREATED)).created()).isEqualTo(Aws.CREATED);
  }

  /** With one of these in its message. */
  private void assertIsError(Publisher<?> work, boolean isRetryable, String... advice) {
    StepVerifier.create(Flux.from(work))
        .expectErrorSatisfies(
            e -> {
              assertThat(e).isInstanceOf(MetastoreException.class);
              assertThat(e.getMessage())
                  .startsWith("DynamoDB ")
                  .contains(" in the table " + table)
                  .containsAnyOf(advice)
                  .doesNotContain(TENANT);
              assertThat(((MetastoreException) e).isRetryable()).as("%s", e).isEqualTo(isRetryable);
            })
        .verify(Aws.TIMEOUT);
  }
}
