package io.asherah.reactive.testaws;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.ChildJvm;
import java.net.ConnectException;
import java.net.URI;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.ConditionalCheckFailedException;
import software.amazon.awssdk.services.dynamodb.model.PutItemRequest;
import software.amazon.awssdk.services.dynamodb.model.ResourceNotFoundException;

class DynamoDbServerIT {
  private static final Map<String, AttributeValue> ITEM = Map.of("Id", AttributeValue.fromS("x"));

  /** Uses a server and closes it. */
  public static final class User {
    private User() {}

    public static void main(String[] arguments) {
      try (DynamoDbServer server = DynamoDbServer.start();
          Clients clients = new Clients()) {
        DynamoDbAsyncClient client = clients.dynamoDb(server.endpoint());
        Clients.createTable(client, "User");
        client.putItem(b -> b.tableName("User").item(ITEM)).join();
        client.getItem(b -> b.tableName("Missing").key(ITEM)).handle((item, error) -> "").join();
      }
    }
  }

  private final Clients clients = new Clients();

  @AfterEach
  void close() {
    clients.close();
  }

  @Test
  void aTable_isCreatedInOneRegion_isThatOfAnother() {
    URI endpoint = DynamoDbServer.shared().endpoint();
    assertStoresOnce("Netty", endpoint, clients.netty());
  }

  @Test
  void aTable_isUsedThroughCrt_storesAsThroughNetty() {
    URI endpoint = DynamoDbServer.shared().endpoint();
    assertStoresOnce("Crt", endpoint, clients.crt());
  }

  private void assertStoresOnce(String table, URI endpoint, SdkAsyncHttpClient http) {
    DynamoDbAsyncClient west = clients.dynamoDb(endpoint, "us-west-2", http);
    DynamoDbAsyncClient east = clients.dynamoDb(endpoint, "us-east-1", http);
    Clients.createTable(west, table);

    west.putItem(b -> once(b, table)).join();

    assertThat(Clients.failure(east.putItem(b -> once(b, table))))
        .isInstanceOf(ConditionalCheckFailedException.class);
    assertThat(east.getItem(b -> b.tableName(table).key(ITEM)).join().item()).isEqualTo(ITEM);
  }

  private static void once(PutItemRequest.Builder put, String table) {
    put.tableName(table).item(ITEM).conditionExpression("attribute_not_exists(Id)");
  }

  @Test
  void manyClients_storeTheSameItemAtOnce_oneSucceeds() {
    DynamoDbAsyncClient client = clients.dynamoDb(DynamoDbServer.shared().endpoint());
    Clients.createTable(client, "Race");

    long stored =
        IntStream.range(0, 200)
            .mapToObj(i -> client.putItem(b -> once(b, "Race")).handle((done, e) -> e == null))
            .toList()
            .stream()
            .filter(CompletableFuture::join)
            .count();

    assertThat(stored).isEqualTo(1);
  }

  @Test
  void theSharedServer_isClosed_goesOn() {
    DynamoDbServer shared = DynamoDbServer.shared();

    shared.close();

    assertThat(DynamoDbServer.shared()).isSameAs(shared);
    DynamoDbAsyncClient client = clients.dynamoDb(shared.endpoint());
    assertThat(client.listTables().join()).isNotNull();
  }

  @Test
  void aServer_isStarted_hasDataOfItsOwnAndRefusesOnceItIsClosed() {
    DynamoDbAsyncClient other = clients.dynamoDb(DynamoDbServer.shared().endpoint());
    URI endpoint;
    try (DynamoDbServer server = DynamoDbServer.start()) {
      endpoint = server.endpoint();
      Clients.createTable(clients.dynamoDb(endpoint), "Own");
      assertThat(Clients.failure(other.describeTable(b -> b.tableName("Own"))))
          .isInstanceOf(ResourceNotFoundException.class);
    }

    assertThat(Clients.failure(clients.dynamoDb(endpoint).listTables()))
        .hasRootCauseInstanceOf(ConnectException.class);
  }

  @Test
  void aJvm_hasUsedAServerAndClosedIt_endsByItselfAndPrintsNothing(@TempDir Path directory) {

    ChildJvm.Ended ended =
        ChildJvm.main(User.class).options("--sun-misc-unsafe-memory-access=allow").run(directory);

    assertThat(ended.exitCode()).as(ended.toString()).isZero();
    assertThat(ended.out()).isEmpty();
    assertThat(ended.err()).isEmpty();
    assertThat(directory).isEmptyDirectory();
  }
}
