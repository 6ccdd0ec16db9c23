package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.CryptoPolicy;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.ShredReport;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.testaws.DynamoDbFront;
import io.asherah.reactive.testaws.DynamoDbServer;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.Samples;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;

/** Which actions of DynamoDB a role has to be allowed: those that are called, and no others. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class PermissionsIT {
  /** As in docs/aws.md. */
  static final Map<String, Set<String>> ACTIONS =
      Map.ofEntries(
          Map.entry("read", Set.of("GetItem", "Query")),
          Map.entry("read and write", Set.of("GetItem", "Query", "PutItem")),
          Map.entry("be warned of replicas", Set.of("DescribeTable")),
          Map.entry("list keys of one id", Set.of("Query")),
          Map.entry("list keys of many ids", Set.of("Scan")),
          Map.entry("revoke keys", Set.of("Query", "Scan", "UpdateItem")),
          Map.entry("delete keys", Set.of("Query", "Scan", "DeleteItem")),
          Map.entry("list the keys of a partition", Set.of("Scan")),
          Map.entry("shred a partition", Set.of("Scan", "Query", "DeleteItem")),
          Map.entry("create the table", Set.of("CreateTable", "DescribeTable")),
          Map.entry("validate the table", Set.of("DescribeTable")));

  private final Aws aws = new Aws();
  private final SdkAsyncHttpClient http = aws.http(Aws.Http.NETTY);
  private final String id = Aws.freshId();
  private final KeySelector one = KeySelector.id(id);
  private final KeySelector many = KeySelector.idPrefix(id);
  private String table;
  private DynamoDbFront front;
  private DynamoDbMetastore metastore;

  @BeforeAll
  void createTable() {
    DynamoDbAsyncClient direct = aws.client(Aws.server(), http, builder -> {});
    table = Aws.newTable(direct);
    front = DynamoDbFront.to(DynamoDbServer.shared());
  }

  @BeforeEach
  void countAnew() {
    front.close();
    front = DynamoDbFront.to(DynamoDbServer.shared());
    metastore = metastore("us-west-2");
  }

  private DynamoDbMetastore metastore(String suffix) {
    return Aws.patient(aws.client(front.endpoint(), http, builder -> {}), table)
        .keySuffix(suffix)
        .build();
  }

  @AfterAll
  void close() {
    aws.close();
    front.close();
  }

  @Test
  void readers() {
    metastore.warmUp().block(Aws.TIMEOUT);
    metastore.load(id, Aws.CREATED).block(Aws.TIMEOUT);
    metastore.loadLatest(id).block(Aws.TIMEOUT);

    assertNeeds("read");
  }

  @Test
  void writers() {
    metastore.load(id, Aws.CREATED).block(Aws.TIMEOUT);
    metastore.loadLatest(id).block(Aws.TIMEOUT);
    metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)).block(Aws.TIMEOUT);
    metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)).block(Aws.TIMEOUT);
    front.on("PutItem").times(1).fail(400, "ReplicatedWriteConflictException", null);
    metastore.store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1)).block(Aws.TIMEOUT);

    assertNeeds("read and write");
  }

  @Test
  void whoeverHasNoSuffix() {
    metastore("").warmUp().block(Aws.TIMEOUT);
    Await.until(() -> front.calls("DescribeTable") == 1);

    assertNeeds("be warned of replicas");
  }

  @Test
  void whoeverLists() {
    metastore.list(one).blockLast(Aws.TIMEOUT);
    assertNeeds("list keys of one id");

    countAnew();
    metastore.list(many).blockLast(Aws.TIMEOUT);
    assertNeeds("list keys of many ids");
  }

  @Test
  void whoeverRevokes() {
    store();
    metastore.revoke(one).block(Aws.TIMEOUT);
    metastore.revoke(many).block(Aws.TIMEOUT);

    assertNeeds("revoke keys");
  }

  @Test
  void whoeverDeletes() {
    store();
    metastore.delete(KeySelector.version(new KeyMeta(id, Aws.CREATED))).block(Aws.TIMEOUT);
    metastore.delete(many).block(Aws.TIMEOUT);

    assertNeeds("delete keys");
  }

  @Test
  void whoeverShreds() {
    StaticKeyManagementService kms = StaticKeyManagementService.of(new byte[32]);
    DynamoDbAsyncClient direct = aws.client(Aws.server(), http, builder -> {});
    SessionFactory writer = factory(Aws.patient(direct, table).keySuffix("eu").build(), kms);
    writer.session("partition").encrypt(new byte[7]).block(Aws.TIMEOUT);
    writer.close().block(Aws.TIMEOUT);
    SessionFactory shredder = factory(metastore, kms);

    assertThat(shredder.keysOf("partition").collectList().block(Aws.TIMEOUT)).hasSize(1);
    assertNeeds("list the keys of a partition");

    assertThat(shredder.shred("partition").map(ShredReport::deleted).block(Aws.TIMEOUT)).hasSize(1);
    assertNeeds("shred a partition");
    shredder.close().block(Aws.TIMEOUT);
  }

  private static SessionFactory factory(DynamoDbMetastore metastore, KeyManagementService kms) {
    return SessionFactory.builder("product", "service")
        .metastore(metastore)
        .keyManagementService(kms)
        .cryptoPolicy(CryptoPolicy.builder().createdPrecision(Duration.ofSeconds(1)).build())
        .callTimeout(Aws.TIMEOUT)
        .loadTimeout(Aws.TIMEOUT)
        .build();
  }

  // What docs/aws.md says.

  private static String guide() throws IOException {
    return Files.readString(Path.of("..", "docs", "aws.md"));
  }

  /** The rows of the table, actions and what for. */
  private static List<MatchResult> rows() throws IOException {
    return Pattern.compile("(?m)^\\| (`dynamodb:[^|]*) \\| (.*) \\|$")
        .matcher(guide())
        .results()
        .toList();
  }

  /** The actions of the row whose last cell has an expression, without the name of the service. */
  private static Set<String> actionsFor(String what) throws IOException {
    Pattern pattern = Pattern.compile(what);
    List<Set<String>> found =
        rows().stream()
            .filter(row -> pattern.matcher(row.group(2)).find())
            .map(row -> actionsIn(row.group(1)))
            .toList();
    assertThat(found).as(what).hasSize(1);
    return found.get(0);
  }

  private static Set<String> actionsIn(String text) {
    return Pattern.compile("dynamodb:(\\w+)")
        .matcher(text)
        .results()
        .map(action -> action.group(1))
        .collect(Collectors.toCollection(TreeSet::new));
  }

  private static Set<String> all(Set<String> some, Set<String> others) {
    return Stream.concat(some.stream(), others.stream())
        .collect(Collectors.toCollection(TreeSet::new));
  }

  @Test
  void tableOfTheGuide_isWhatWasRecorded() throws IOException {
    Set<String> lists = actionsFor("^`list` of one id, and of a prefix; .* `revoke` and `delete`$");
    Map<String, Set<String>> told =
        Map.ofEntries(
            Map.entry("read", actionsFor("^to read keys; .* only reads$")),
            Map.entry(
                "read and write",
                all(actionsFor("^to read keys"), actionsFor("to store new keys"))),
            Map.entry("be warned of replicas", actionsFor("^the warning for replicated tables")),
            Map.entry("validate the table", actionsFor("`table\\(\\)\\.validate\\(\\)`")),
            Map.entry("revoke keys", all(lists, actionsFor("^`revoke`$"))),
            Map.entry("delete keys", all(lists, actionsFor("^`delete`$"))),
            Map.entry("shred a partition", actionsFor("^`SessionFactory.shred`; `keysOf` needs")),
            Map.entry("create the table", actionsFor("^`table\\(\\)\\.create\\(\\)`$")));
    told.forEach((role, actions) -> assertThat(actions).as(role).isEqualTo(ACTIONS.get(role)));

    // What is said of one action among several goes by their order.
    assertThat(guide())
        .contains(
            "| `dynamodb:%s`, `dynamodb:%s` | `list` of one id, and of a prefix;"
                .formatted(only("list keys of one id"), only("list keys of many ids")),
            "| `dynamodb:%s`, `dynamodb:Query`, `dynamodb:DeleteItem` | `SessionFactory.shred`; `keysOf` needs the first |"
                .formatted(only("list the keys of a partition")));
    assertThat(lists)
        .containsExactlyInAnyOrder(only("list keys of one id"), only("list keys of many ids"));
    // And nothing else is in the table.
    assertThat(rows().stream().flatMap(row -> actionsIn(row.group(1)).stream()).distinct())
        .containsExactlyInAnyOrderElementsOf(
            ACTIONS.values().stream().flatMap(Set::stream).distinct().toList());
  }

  private static Set<String> needed(String role) {
    return Objects.requireNonNull(ACTIONS.get(role));
  }

  private static String only(String role) {
    return String.join("", needed(role));
  }

  @Test
  void policyOfTheGuide_isWhatWasRecorded() throws IOException {
    List<Set<String>> statements =
        Samples.inDocument("docs/aws.md", "json").stream()
            .flatMap(
                block -> Pattern.compile("\"Action\": *\\[([^\\]]*)]").matcher(block).results())
            .map(action -> actionsIn(action.group(1)))
            .filter(actions -> !actions.isEmpty())
            .toList();

    assertThat(statements)
        .containsExactly(all(needed("read and write"), needed("be warned of replicas")));
  }

  @Test
  void whoeverCreatesTheTable() {
    metastore.table().create().block(Aws.TIMEOUT);

    assertNeeds("create the table");
  }

  @Test
  void whoeverValidatesTheTable() {
    metastore.table().validate().block(Aws.TIMEOUT);

    assertNeeds("validate the table");
  }

  private void store() {
    DynamoDbAsyncClient direct = aws.client(Aws.server(), http, builder -> {});
    Aws.patient(direct, table)
        .build()
        .store(id, Aws.CREATED, Aws.record(Aws.CREATED, 1))
        .block(Aws.TIMEOUT);
  }

  private void assertNeeds(String role) {
    assertThat(new TreeSet<>(front.operations())).isEqualTo(ACTIONS.get(role));
  }
}
