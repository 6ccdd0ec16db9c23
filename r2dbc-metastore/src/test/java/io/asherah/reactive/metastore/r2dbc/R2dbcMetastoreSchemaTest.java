package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.testsupport.Await;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.Result;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class R2dbcMetastoreSchemaTest {
  private final ConnectionFactory database = ConnectionsTest.h2();
  private final R2dbcMetastoreSchema schema = R2dbcMetastore.create(database).schema();

  private void execute(String sql) {
    Mono.usingWhen(
            database.create(),
            connection ->
                Flux.from(connection.createStatement(sql).execute())
                    .flatMap(Result::getRowsUpdated)
                    .then(),
            Connection::close)
        .subscribeOn(Schedulers.boundedElastic())
        .block(Await.TIMEOUT);
  }

  private long rows() {
    return Objects.requireNonNull(
        Mono.usingWhen(
                database.create(),
                connection ->
                    Flux.from(
                            connection
                                .createStatement("SELECT COUNT(*) FROM encryption_key")
                                .execute())
                        .flatMap(result -> result.map((row, metadata) -> row.get(0, Long.class)))
                        .single(),
                Connection::close)
            .subscribeOn(Schedulers.boundedElastic())
            .block(Await.TIMEOUT));
  }

  // Creating.

  @Test
  void create_twice_createsOnce() {
    schema.create().block(Await.TIMEOUT);
    execute("INSERT INTO encryption_key VALUES ('a', TIMESTAMP '2024-01-01 00:00:00', '{}')");
    schema.create().block(Await.TIMEOUT);
    assertThat(rows()).isOne();
  }

  @Test
  void create_byManyAtOnce_createsForAll() {
    Flux.range(0, 50)
        .flatMap(i -> schema.create().subscribeOn(Schedulers.parallel()), 50)
        .blockLast(Await.TIMEOUT);
    assertThat(rows()).isZero();
  }

  @Test
  void create_inASchemaThatIsMissing_isAnError() {
    StepVerifier.create(
            R2dbcMetastore.builder(database).schema("nowhere").build().schema().create())
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(MetastoreException.class)
                    .hasMessageContaining("failed to create the table"))
        .verify();
  }

  @Test
  void create_notSubscribed_doesNothing() {
    schema.create();
    schema.validate();
    StepVerifier.create(schema.validate())
        .expectErrorSatisfies(e -> assertThat(e).hasMessageContaining("does not exist"))
        .verify();
  }

  @Test
  void ddl_isWhatCreateExecutes() {
    R2dbcMetastore metastore =
        R2dbcMetastore.builder(database).schema("keys").table("of_service").build();
    execute("CREATE SCHEMA keys");
    assertThat(metastore.schema().ddl()).hasSize(1).first().asString().contains("keys.of_service");
    metastore.schema().ddl().forEach(this::execute);
    metastore.schema().validate().block(Await.TIMEOUT);
  }

  // Validating.

  @Test
  void validate_ofOurs_isWellAndLeavesNothing() {
    schema.create().block(Await.TIMEOUT);
    StepVerifier.create(schema.validate()).verifyComplete();
    StepVerifier.create(schema.validate()).verifyComplete();
    assertThat(rows()).isZero();
  }

  @Test
  void validate_byManyAtOnce_isWell() {
    schema.create().block(Await.TIMEOUT);
    Flux.range(0, 10).flatMap(i -> schema.validate(), 10).blockLast(Await.TIMEOUT);
    assertThat(rows()).isZero();
  }

  @ParameterizedTest
  @ValueSource(ints = {3, 20, 60, 100})
  void validate_ofShorterIds_isWellWhereTheyAreAgreed(int length) {
    execute(table("id VARCHAR(%d) NOT NULL".formatted(length), CREATED, RECORD, KEY));
    StepVerifier.create(
            R2dbcMetastore.builder(database).maxIdLength(length).build().schema().validate())
        .verifyComplete();
    assertThat(unfit(R2dbcMetastore.builder(database).maxIdLength(length + 1).build()))
        .contains(SchemaCheck.LENGTH.problem);
  }

  private static final String ID = "id VARCHAR(255) NOT NULL";
  private static final String CREATED = "created TIMESTAMP(0) NOT NULL";
  private static final String RECORD = "key_record VARCHAR(100000) NOT NULL";
  private static final String KEY = "PRIMARY KEY (id, created)";

  private static String table(String... columns) {
    return "CREATE TABLE encryption_key (%s)".formatted(String.join(", ", columns));
  }

  static Stream<Arguments> defects() {
    return Stream.of(
        defect(List.of("id VARCHAR(254) NOT NULL", CREATED, RECORD, KEY), SchemaCheck.LENGTH),
        defect(List.of("id VARCHAR(40) NOT NULL", CREATED, RECORD, KEY), SchemaCheck.LENGTH),
        defect(
            List.of("id VARCHAR_IGNORECASE(255) NOT NULL", CREATED, RECORD, KEY), SchemaCheck.CASE),
        defect(List.of("id CHAR(255) NOT NULL", CREATED, RECORD, KEY), SchemaCheck.SPACES),
        defect(List.of(ID, "created DATE NOT NULL", RECORD, KEY), SchemaCheck.TIME),
        defect(
            List.of(ID, "created TIMESTAMP(0) NOT NULL ON UPDATE CURRENT_TIMESTAMP", RECORD, KEY),
            SchemaCheck.TIME_OF_UPDATE),
        defect(List.of(ID, CREATED, "key_record VARCHAR(2000) NOT NULL", KEY), SchemaCheck.RECORD),
        defect(List.of(ID, CREATED, RECORD), SchemaCheck.UNIQUE),
        defect(
            List.of("id VARCHAR(100) NOT NULL", CREATED, "key_record VARCHAR(999) NOT NULL"),
            SchemaCheck.LENGTH,
            SchemaCheck.RECORD,
            SchemaCheck.UNIQUE));
  }

  private static Arguments defect(List<String> columns, SchemaCheck... problems) {
    return Arguments.of(columns, List.of(problems));
  }

  @ParameterizedTest
  @MethodSource("defects")
  void validate_ofATableWithADefect_saysWhichAndLeavesNothing(
      List<String> columns, List<SchemaCheck> problems) {
    execute(table(columns.toArray(String[]::new)));
    assertThat(unfit(R2dbcMetastore.create(database)))
        .containsAll(problems.stream().map(check -> check.problem).toList());
    if (!columns.get(1).contains("DATE NOT")) {
      assertThat(unfit(R2dbcMetastore.create(database))).hasSize(problems.size());
    }
    assertThat(rows()).isZero();
  }

  /** What is not well. */
  private static List<String> unfit(R2dbcMetastore metastore) {
    MetastoreException e =
        Objects.requireNonNull(
            metastore
                .schema()
                .validate()
                .then(Mono.<MetastoreException>empty())
                .onErrorResume(MetastoreException.class, Mono::just)
                .block(Await.TIMEOUT));
    assertThat(e.isRetryable()).isFalse();
    String before = "the table encryption_key of H2 cannot be trusted with keys: ";
    String after = ". See docs/metastores.md";
    String message = Objects.requireNonNull(e.getMessage());
    assertThat(message).startsWith(before).endsWith(after);
    return Arrays.asList(
        message.substring(before.length(), message.length() - after.length()).split("; "));
  }

  @Test
  void validate_withoutTable_saysSo() {
    assertIsRefused("does not exist", "R2dbcMetastoreSchema.create()");
  }

  @ParameterizedTest
  @ValueSource(strings = {"id", "created", "key_record"})
  void validate_withoutColumn_saysSo(String column) {
    execute(table(ID, CREATED, RECORD));
    execute("ALTER TABLE encryption_key RENAME COLUMN %s TO other".formatted(column));
    assertIsRefused("other columns than id, created and key_record");
  }

  private void assertIsRefused(String... messageParts) {
    StepVerifier.create(schema.validate())
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .asInstanceOf(type(MetastoreException.class))
                    .matches(failure -> !failure.isRetryable())
                    .extracting(Throwable::getMessage)
                    .asString()
                    .contains(messageParts))
        .verify();
  }
}
