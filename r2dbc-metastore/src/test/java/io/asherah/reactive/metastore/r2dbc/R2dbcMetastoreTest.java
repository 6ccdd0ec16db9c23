package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.assertThatNoException;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testsupport.Await;
import io.r2dbc.spi.Parameter;
import io.r2dbc.spi.R2dbcDataIntegrityViolationException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

class R2dbcMetastoreTest {
  private static final String ID = "_IK_alice_service_product";
  private static final Instant CREATED = Instant.parse("2031-05-06T07:08:09Z");
  private static final EnvelopeKeyRecord RECORD =
      new EnvelopeKeyRecord(
          CREATED, new byte[] {1, 2, 3}, new KeyMeta("_SK_service_product", CREATED), false);

  /** Connects to nothing. */
  private static R2dbcMetastore.Builder builder() {
    return R2dbcMetastore.builder(SqlDialectTest.named("PostgreSQL"));
  }

  // Names of tables and schemas.

  /** The documented grammar, in other words. */
  private static boolean isIdentifier(String name) {
    return !name.isEmpty()
        && name.length() <= 63
        && !(name.charAt(0) >= '0' && name.charAt(0) <= '9')
        && name.chars()
            .allMatch(
                c ->
                    c >= 'a' && c <= 'z'
                        || c >= 'A' && c <= 'Z'
                        || c >= '0' && c <= '9'
                        || c == '_');
  }

  private static void assertAcceptedOnlyIfIdentifier(String name) {
    for (boolean isSchema : new boolean[] {true, false}) {
      R2dbcMetastore.Builder builder = builder();
      Function<String, R2dbcMetastore.Builder> set = isSchema ? builder::schema : builder::table;
      if (isIdentifier(name)) {
        set.apply(name);
        assertThat(builder.build().schema().ddl().get(0))
            .contains(" " + (isSchema ? name + ".encryption_key" : name) + " (");
      } else {
        assertThatIllegalArgumentException()
            .as(name)
            .isThrownBy(() -> set.apply(name))
            .withMessageStartingWith(isSchema ? "schema must be" : "table must be");
        assertThat(builder.build().schema().ddl()).isEqualTo(builder().build().schema().ddl());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        "a",
        "_",
        "a b",
        "a.b",
        "a;b",
        "a'b",
        "a\"b",
        "a--",
        "1a",
        "a1",
        "a\n",
        "\na",
        "a\u0000",
        "\u00e4",
        "a\u00e4",
        "\u0430",
        "\uff41",
        "a\u0301",
        "`a`",
        "[a]",
        "a$",
        "a#",
        "x; DROP TABLE y",
        "encryption_key",
        "ENCRYPTION_KEY",
        "${table}",
        "$1",
        "?"
      })
  void name_isTakenOnlyIfAnIdentifier(String name) {
    assertAcceptedOnlyIfIdentifier(name);
  }

  @Test
  void name_ofSixtyThreeCharacters_isTheLongest() {
    assertAcceptedOnlyIfIdentifier("a".repeat(63));
    assertAcceptedOnlyIfIdentifier("a".repeat(64));
  }

  @Test
  void names_atRandom_areTakenOnlyIfIdentifiers() {
    Random random = new Random(42);
    String likely = "abzAZ_019";
    String unlikely = " .;'\"`[]$-/*\n\r\t\0\\\u00e4\u0130\u212a\u0660\uff21%(){}@#";
    int accepted = 0;
    for (int i = 0; i < 5_000; i++) {
      StringBuilder name = new StringBuilder();
      int length = random.nextInt(8) == 0 ? random.nextInt(70) : random.nextInt(6);
      for (int at = 0; at < length; at++) {
        String from = random.nextInt(10) == 0 ? unlikely : likely;
        name.append(
            random.nextInt(50) == 0
                ? (char) random.nextInt(0xd800)
                : from.charAt(random.nextInt(from.length())));
      }
      accepted += isIdentifier(name.toString()) ? 1 : 0;
      assertAcceptedOnlyIfIdentifier(name.toString());
    }
    assertThat(accepted).isBetween(1_000, 4_000);
  }

  // Other options.

  static Stream<Arguments> timeouts() {
    return Stream.of(
        Arguments.of("acquireTimeout", timeout(R2dbcMetastore.Builder::acquireTimeout)),
        Arguments.of("statementTimeout", timeout(R2dbcMetastore.Builder::statementTimeout)),
        Arguments.of("closeTimeout", timeout(R2dbcMetastore.Builder::closeTimeout)));
  }

  private static java.util.function.BiFunction<
          R2dbcMetastore.Builder, Duration, R2dbcMetastore.Builder>
      timeout(
          java.util.function.BiFunction<R2dbcMetastore.Builder, Duration, R2dbcMetastore.Builder>
              option) {
    return option;
  }

  @ParameterizedTest
  @MethodSource("timeouts")
  void timeout_isPositiveAndAtMostOneDay(
      String name,
      java.util.function.BiFunction<R2dbcMetastore.Builder, Duration, R2dbcMetastore.Builder>
          option) {
    for (Duration good : List.of(Duration.ofNanos(1), Duration.ofMillis(1), Duration.ofDays(1))) {
      assertThatNoException().isThrownBy(() -> option.apply(builder(), good).build());
    }
    for (Duration bad :
        List.of(
            Duration.ZERO,
            Duration.ofNanos(-1),
            Duration.ofDays(1).plusNanos(1),
            Duration.ofSeconds(Long.MAX_VALUE),
            Duration.ofSeconds(Long.MIN_VALUE))) {
      assertThatIllegalArgumentException()
          .isThrownBy(() -> option.apply(builder(), bad))
          .withMessage("%s must be positive and at most one day, was %s", name, bad);
    }
  }

  @Test
  void keySuffix_isWithoutUnderscore() {
    assertThat(builder().build().keySuffix()).isEmpty();
    assertThat(builder().keySuffix("eu-west-1").build().keySuffix()).isEqualTo("eu-west-1");
    for (String bad : List.of("_", "eu_west", "eu_")) {
      assertThatIllegalArgumentException().isThrownBy(() -> builder().keySuffix(bad));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, -1, 4_001, Integer.MIN_VALUE})
  void maxIdLength_isOneTo4000(int length) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> builder().maxIdLength(length))
        .withMessage("maxIdLength must be 1 to 4000, was %d", length);
    assertThatNoException().isThrownBy(() -> builder().maxIdLength(1).build());
  }

  @ParameterizedTest
  @ValueSource(strings = {"SQL Server", "Oracle", "H2"})
  void auroraReadConsistency_ofWhatIsNeverAurora_isRefused(String dialect) {
    R2dbcMetastore.Builder builder =
        builder()
            .dialect(SqlDialectTest.dialect(dialect))
            .auroraReadConsistency(AuroraReadConsistency.SESSION);
    assertThatIllegalArgumentException()
        .isThrownBy(builder::build)
        .withMessageContainingAll("auroraReadConsistency", dialect);
  }

  @Test
  void auroraReadConsistency_isSetBeforeEveryStatement() {
    FakeDriver driver = ready(new FakeDriver());
    R2dbcMetastore metastore =
        R2dbcMetastore.builder(driver).auroraReadConsistency(AuroraReadConsistency.SESSION).build();
    metastore.loadLatest(ID).block(Await.TIMEOUT);
    assertThat(driver.sql)
        .hasSize(2)
        .first()
        .isEqualTo("SET apg_write_forward.consistency_mode = 'session'");
  }

  @Test
  void factory_ofAnUnknownDatabase_needsADialect() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> R2dbcMetastore.create(SqlDialectTest.named("Cockroach")));
    assertThat(
            R2dbcMetastore.builder(SqlDialectTest.named("Cockroach"))
                .dialect(SqlDialect.postgreSql())
                .schema("s")
                .table("t")
                .build())
        .hasToString("R2dbcMetastore[PostgreSQL, s.t]")
        .returns("r2dbc", R2dbcMetastore::name);
  }

  // Arguments.

  @Test
  void arguments_areCheckedWhenCalled() {
    R2dbcMetastore metastore = builder().build();
    assertThatIllegalArgumentException().isThrownBy(() -> metastore.store("", CREATED, RECORD));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> metastore.store(ID, CREATED.plusNanos(1), RECORD));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> metastore.store("_IK_\ud800", CREATED, RECORD));
  }

  @Test
  void calls_notSubscribed_askForNoConnection() {
    R2dbcMetastore metastore = builder().build();
    List<Publisher<?>> calls =
        List.of(
            metastore.load(ID, CREATED),
            metastore.loadLatest(ID),
            metastore.store(ID, CREATED, RECORD),
            metastore.list(KeySelector.idPrefix("")),
            metastore.revoke(KeySelector.id(ID)),
            metastore.delete(KeySelector.id(ID)),
            metastore.schema().create(),
            metastore.schema().validate());
    assertThat(calls).hasSize(8);
  }

  @ParameterizedTest
  @CsvSource({"PostgreSQL, 20", "MySQL, 20", "SQL Server, 20", "Oracle, 20", "H2, 40"})
  void id_thatIsTooLong_isRefusedWithoutAConnection(String dialect, int length) {
    String id = "_IK_" + "\ud83d\ude00".repeat(16);
    FakeDriver driver = new FakeDriver();
    Function<Integer, R2dbcMetastore> ofLength =
        max ->
            R2dbcMetastore.builder(driver)
                .dialect(SqlDialectTest.dialect(dialect))
                .maxIdLength(max)
                .build();
    int counted = dialect.equals("H2") ? 36 : 20;
    StepVerifier.create(ofLength.apply(counted - 1).store(id, CREATED, RECORD))
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .asInstanceOf(type(MetastoreException.class))
                    .matches(failure -> !failure.isRetryable())
                    .extracting(Throwable::getMessage)
                    .asString()
                    .contains(
                        "has " + counted + " characters", "keeps " + (counted - 1), "maxIdLength")
                    .doesNotContain("\ud83d\ude00"))
        .verify();
    assertThat(driver.calls).isEmpty();

    ready(driver);
    ofLength.apply(counted).store(id, CREATED, RECORD).onErrorComplete().block(Await.TIMEOUT);
    assertThat(driver.calls).contains("execute");
  }

  // SQL.

  private static FakeDriver ready(FakeDriver driver) {
    driver.connected();
    driver.answers();
    driver.endsEverything();
    return driver;
  }

  private record Call(String name, Function<R2dbcMetastore, Publisher<?>> call) {}

  private static final KeySelector RANGE =
      KeySelector.idPrefix("_IK_a%").createdFrom(CREATED).createdBefore(CREATED.plusSeconds(1));

  private static final List<Call> CALLS =
      List.of(
          new Call("load", metastore -> metastore.load(ID, CREATED)),
          new Call("loadLatest", metastore -> metastore.loadLatest(ID)),
          new Call("store", metastore -> metastore.store(ID, CREATED, RECORD)),
          new Call("list id", metastore -> metastore.list(KeySelector.id(ID))),
          new Call("delete id", metastore -> metastore.delete(KeySelector.id(ID))),
          new Call("list prefix", metastore -> metastore.list(RANGE)),
          new Call("delete prefix", metastore -> metastore.delete(RANGE)));

  private static FakeDriver called(SqlDialect dialect, Call call) {
    FakeDriver driver = ready(new FakeDriver());
    R2dbcMetastore metastore =
        R2dbcMetastore.builder(driver).dialect(dialect).schema("s").table("t").build();
    Flux.from(call.call.apply(metastore)).onErrorComplete().blockLast(Await.TIMEOUT);
    return driver;
  }

  @Test
  void sql_isThatOfTheDatabase() throws Exception {
    String found =
        SqlDialectTest.ALL.stream()
            .flatMap(
                dialect ->
                    CALLS.stream()
                        .flatMap(
                            call ->
                                called(dialect, call).sql.stream()
                                    .map(sql -> dialect + ", " + call.name + ": " + sql)))
            .collect(Collectors.joining("\n", "", "\n"));
    try (var expected =
        Objects.requireNonNull(R2dbcMetastoreTest.class.getResourceAsStream("statements.txt"))) {
      assertThat(found).isEqualTo(new String(expected.readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  @Test
  void sql_hasNoValueInItsText() {
    for (SqlDialect dialect : SqlDialectTest.ALL) {
      for (Call call : CALLS) {
        FakeDriver driver = called(dialect, call);
        assertThat(driver.sql).isNotEmpty();
        assertThat(driver.sql)
            .as("%s %s", dialect, call.name)
            .noneMatch(sql -> Stream.of("_IK_", "alice", "2031", "AQID").anyMatch(sql::contains));
        assertThat(driver.bound).isNotEmpty();
        if (!dialect.toString().equals("SQL Server")) {
          assertThat(driver.bound.stream().map(R2dbcMetastoreTest::text))
              .anyMatch(value -> value.startsWith("_IK_") || value.startsWith("!_IK!_a!%%"));
        }
      }
    }
  }

  private static String text(Object bound) {
    return String.valueOf(bound instanceof Parameter parameter ? parameter.getValue() : bound);
  }

  @Test
  void sqlServer_isAskedWithoutCursor() {
    // FakeDriver knows fetchSize; nothing else sets it.
    assertThat(called(SqlDialect.sqlServer(), CALLS.get(0)).calls).contains("fetchSize");
    assertThat(called(SqlDialect.postgreSql(), CALLS.get(0)).calls).doesNotContain("fetchSize");
  }

  // Answers.

  @Test
  void store_ofADuplicate_isFalse() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.endsEverything();
    driver.execute.error(new R2dbcDataIntegrityViolationException("twice", "23505"));
    StepVerifier.create(R2dbcMetastore.create(driver).store(ID, CREATED, RECORD))
        .expectNext(false)
        .verifyComplete();
  }

  @Test
  void store_ofADuplicateSaidByTheCommit_isFalse() {
    FakeDriver driver = new FakeDriver(false, false);
    driver.connected();
    driver.answers();
    driver.endsEverythingBut(driver.commit);
    driver.commit.error(new R2dbcDataIntegrityViolationException("twice", "23505"));
    StepVerifier.create(R2dbcMetastore.create(driver).store(ID, CREATED, RECORD))
        .expectNext(false)
        .verifyComplete();
  }

  @Test
  void store_inMySql_isInATransactionThatIsCommittedWhereTheTimeWasKept() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(FakeDriver.row("2031-05-06 07:08:09"));
    driver.endsEverything();
    StepVerifier.create(mySql(driver).store(ID, CREATED, RECORD)).expectNext(true).verifyComplete();
    assertThat(driver.calls).contains("begin", "commit").doesNotContain("rollback");
    assertThat(driver.count("begin")).isOne();
  }

  @Test
  void store_inMySqlWhichMovedTheTime_isRolledBackAndAnError() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(FakeDriver.row("2031-05-06 08:08:09"));
    driver.endsEverything();
    StepVerifier.create(mySql(driver).store(ID, CREATED, RECORD))
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(MetastoreException.class)
                    .hasMessageContainingAll("cannot keep the time", "_IK_****", "UTC")
                    .hasMessageNotContaining("alice"))
        .verify();
    assertThat(driver.calls).contains("rollback").doesNotContain("commit");
  }

  @Test
  void store_inMySqlWithoutAutoCommit_beginsOneTransaction() {
    FakeDriver driver = new FakeDriver(false, false);
    driver.connected();
    driver.answers(FakeDriver.row("2031-05-06 07:08:09"));
    driver.endsEverything();
    StepVerifier.create(mySql(driver).store(ID, CREATED, RECORD)).expectNext(true).verifyComplete();
    assertThat(driver.count("begin")).isOne();
    assertThat(driver.count("commit")).isOne();
  }

  private static R2dbcMetastore mySql(FakeDriver driver) {
    return R2dbcMetastore.builder(driver).dialect(SqlDialect.mySql()).build();
  }

  @Test
  void load_ofARecord_readsIt() {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(
        FakeDriver.row(new String(RECORD.toJson(), StandardCharsets.UTF_8), "2031-05-06"));
    driver.endsEverything();
    R2dbcMetastore metastore = R2dbcMetastore.create(driver);
    StepVerifier.create(metastore.load(ID, CREATED)).expectNext(RECORD).verifyComplete();
    StepVerifier.create(metastore.loadLatest(ID)).expectNext(RECORD).verifyComplete();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "{}", "null", "{\"Created\":1}", "secret-alice", "\u0000"})
  void load_ofNoRecord_isAnErrorThatNamesTheRow(String json) {
    FakeDriver driver = new FakeDriver();
    driver.connected();
    driver.answers(FakeDriver.row(json, "2031-05-06 07:08:09"));
    driver.endsEverything();
    Mono<EnvelopeKeyRecord> load = R2dbcMetastore.create(driver).load(ID, CREATED);
    assertThatThrownBy(() -> load.block(Await.TIMEOUT))
        .isInstanceOf(MetastoreException.class)
        .matches(e -> !((MetastoreException) e).isRetryable())
        .hasMessageContainingAll("_IK_****", "2031-05-06 07:08:09", "encryption_key", "backup")
        .hasMessageNotContaining("alice")
        .cause()
        .hasMessageContainingAll(ID, "2031-05-06 07:08:09");
  }
}
