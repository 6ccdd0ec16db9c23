package io.asherah.reactive.metastore.dynamodb;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testkit.MetastoreTestKit;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import reactor.core.publisher.Flux;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;

/** The contract kit on a table of DynamoDB Local, and what is the same for all HTTP clients. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class MetastoreContract implements MetastoreTestKit {
  private final Aws aws = new Aws();
  private final SdkAsyncHttpClient http;
  private DynamoDbMetastore metastore;

  MetastoreContract(Aws.Http kind) {
    http = aws.http(kind);
  }

  @BeforeAll
  final void createTable() {
    var client = aws.client(Aws.server(), http, builder -> {});
    metastore = Aws.patient(client, Aws.newTable(client)).build();
  }

  @AfterAll
  final void closeClients() {
    aws.close();
  }

  @Override
  public Metastore metastore() {
    return metastore;
  }

  @Override
  public Optional<Metastore> unreachableMetastore() {
    // Nothing listens there.
    var client = aws.client(URI.create("http://127.0.0.1:1"), http, builder -> {});
    // Far below the limit of the kit: it happened that the SDK did not tell at once.
    return Optional.of(
        Aws.patient(client, "EncryptionKey").callTimeout(Duration.ofSeconds(10)).build());
  }

  @Override
  public Duration timeout() {
    return Aws.TIMEOUT;
  }

  @Test
  void storesOfOneKey_oneWins() {
    String id = Aws.freshId();
    EnvelopeKeyRecord record = Aws.record(Aws.CREATED, 1);

    List<Boolean> answers =
        Aws.get(
            Flux.range(0, 50)
                .flatMap(i -> metastore.store(id, Aws.CREATED, record), 50)
                .collectList());

    assertThat(answers).hasSize(50).containsOnlyOnce(true);
  }

  @Test
  void manyCallsAtOnce_areAllAnswered() {
    String id = Aws.freshId();
    Instant created = Aws.CREATED;
    EnvelopeKeyRecord record = new EnvelopeKeyRecord(created, Aws.bytes(6_000, 3), null, false);
    assertThat(Aws.get(metastore.store(id, created, record))).isTrue();

    List<EnvelopeKeyRecord> found =
        Aws.get(Flux.range(0, 200).flatMap(i -> metastore.loadLatest(id), 200).collectList());

    assertThat(found).hasSize(200).containsOnly(record);
  }

  /** Two keys whose ids differ in no letter but one that cannot be written as UTF-8. */
  @Test
  void idsThatNoKeyCanHave_areAbsent() {
    String id = Aws.freshId();
    Aws.get(metastore.store(id + "?", Aws.CREATED, Aws.record(Aws.CREATED, 1)));

    for (String other : List.of(id + "\ud83d", "", id + "x".repeat(2_100))) {
      assertThat(metastore.load(other, Aws.CREATED).blockOptional(Aws.TIMEOUT)).isEmpty();
      assertThat(metastore.loadLatest(other).blockOptional(Aws.TIMEOUT)).isEmpty();
    }
  }

  @Test
  void longestId_isKept() {
    String id = Aws.freshId();
    String longest = id + "\u00e9".repeat((2_048 - id.length()) / 2);
    longest += "x".repeat(2_048 - longest.getBytes(StandardCharsets.UTF_8).length);

    assertThat(Aws.get(metastore.store(longest, Aws.CREATED, Aws.record(Aws.CREATED, 1)))).isTrue();

    assertThat(Aws.get(metastore.loadLatest(longest))).isEqualTo(Aws.record(Aws.CREATED, 1));
  }
}
