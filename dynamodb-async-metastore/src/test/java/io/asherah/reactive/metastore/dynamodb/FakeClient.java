package io.asherah.reactive.metastore.dynamodb;

import io.asherah.reactive.KeyMeta;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.identity.spi.IdentityProvider;
import software.amazon.awssdk.identity.spi.ResolveIdentityRequest;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbServiceClientConfiguration;
import software.amazon.awssdk.services.dynamodb.model.AttributeDefinition;
import software.amazon.awssdk.services.dynamodb.model.ConsumedCapacity;
import software.amazon.awssdk.services.dynamodb.model.CreateTableRequest;
import software.amazon.awssdk.services.dynamodb.model.CreateTableResponse;
import software.amazon.awssdk.services.dynamodb.model.DeleteItemRequest;
import software.amazon.awssdk.services.dynamodb.model.DeleteItemResponse;
import software.amazon.awssdk.services.dynamodb.model.DescribeTableRequest;
import software.amazon.awssdk.services.dynamodb.model.DescribeTableResponse;
import software.amazon.awssdk.services.dynamodb.model.DynamoDbRequest;
import software.amazon.awssdk.services.dynamodb.model.GetItemRequest;
import software.amazon.awssdk.services.dynamodb.model.GetItemResponse;
import software.amazon.awssdk.services.dynamodb.model.KeySchemaElement;
import software.amazon.awssdk.services.dynamodb.model.PutItemRequest;
import software.amazon.awssdk.services.dynamodb.model.PutItemResponse;
import software.amazon.awssdk.services.dynamodb.model.QueryRequest;
import software.amazon.awssdk.services.dynamodb.model.QueryResponse;
import software.amazon.awssdk.services.dynamodb.model.ScanRequest;
import software.amazon.awssdk.services.dynamodb.model.ScanResponse;
import software.amazon.awssdk.services.dynamodb.model.TableDescription;
import software.amazon.awssdk.services.dynamodb.model.UpdateItemRequest;
import software.amazon.awssdk.services.dynamodb.model.UpdateItemResponse;

/**
 * A client without a service, for what depends on moments: a test says when credentials and answers
 * come, and on which thread. Its table has one key of {@link #ID}.
 */
final class FakeClient implements DynamoDbAsyncClient {
  static final String ID = "_SK_fake";

  private static final ConsumedCapacity CAPACITY =
      ConsumedCapacity.builder().tableName("table").capacityUnits(1.0).build();

  private final List<DynamoDbRequest> requests = Collections.synchronizedList(new ArrayList<>());
  private final Supplier<@Nullable DynamoDbServiceClientConfiguration> configuration;
  private volatile Function<Object, CompletableFuture<?>> sender =
      CompletableFuture::completedFuture;
  private volatile String sentByIt = "";

  private FakeClient(Supplier<@Nullable DynamoDbServiceClientConfiguration> configuration) {
    this.configuration = configuration;
  }

  /** One that has credentials, or will have them. */
  static FakeClient with(Supplier<CompletableFuture<AwsCredentialsIdentity>> credentials) {
    DynamoDbServiceClientConfiguration told =
        DynamoDbServiceClientConfiguration.builder()
            .credentialsProvider(new Provider(credentials))
            .build();
    return new FakeClient(() -> told);
  }

  /** One that tells what it likes of its configuration. */
  static FakeClient telling(Supplier<@Nullable DynamoDbServiceClientConfiguration> configuration) {
    return new FakeClient(configuration);
  }

  static FakeClient ready() {
    return with(() -> CompletableFuture.completedFuture(identity()));
  }

  static AwsCredentialsIdentity identity() {
    return AwsCredentialsIdentity.create("id", "secret");
  }

  /** How the answers to one operation come; by default they come at once. */
  FakeClient sending(String operation, Function<Object, CompletableFuture<?>> newSender) {
    sentByIt = operation;
    sender = newSender;
    return this;
  }

  List<DynamoDbRequest> requests() {
    return List.copyOf(requests);
  }

  List<String> operations() {
    return requests().stream().map(FakeClient::nameOf).toList();
  }

  private static String nameOf(DynamoDbRequest request) {
    return request.getClass().getSimpleName().replace("Request", "");
  }

  @SuppressWarnings("unchecked")
  private <T> CompletableFuture<T> send(DynamoDbRequest request, T response) {
    requests.add(request);
    return nameOf(request).equals(sentByIt)
        ? (CompletableFuture<T>) sender.apply(response)
        : CompletableFuture.completedFuture(response);
  }

  @Override
  public CompletableFuture<GetItemResponse> getItem(GetItemRequest request) {
    return send(request, GetItemResponse.builder().consumedCapacity(CAPACITY).build());
  }

  @Override
  public CompletableFuture<QueryResponse> query(QueryRequest request) {
    return send(
        request,
        QueryResponse.builder()
            .items(List.of(KeyItem.of(new KeyMeta(ID, Aws.CREATED), Aws.record(Aws.CREATED, 1))))
            .consumedCapacity(CAPACITY)
            .build());
  }

  @Override
  public CompletableFuture<ScanResponse> scan(ScanRequest request) {
    return send(
        request, ScanResponse.builder().items(List.of()).consumedCapacity(CAPACITY).build());
  }

  @Override
  public CompletableFuture<PutItemResponse> putItem(PutItemRequest request) {
    return send(request, PutItemResponse.builder().consumedCapacity(CAPACITY).build());
  }

  @Override
  public CompletableFuture<UpdateItemResponse> updateItem(UpdateItemRequest request) {
    return send(request, UpdateItemResponse.builder().consumedCapacity(CAPACITY).build());
  }

  @Override
  public CompletableFuture<DeleteItemResponse> deleteItem(DeleteItemRequest request) {
    return send(request, DeleteItemResponse.builder().consumedCapacity(CAPACITY).build());
  }

  @Override
  public CompletableFuture<CreateTableResponse> createTable(CreateTableRequest request) {
    return send(request, CreateTableResponse.builder().tableDescription(table()).build());
  }

  @Override
  public CompletableFuture<DescribeTableResponse> describeTable(DescribeTableRequest request) {
    return send(request, DescribeTableResponse.builder().table(table()).build());
  }

  private static TableDescription table() {
    return TableDescription.builder()
        .tableStatus("ACTIVE")
        .keySchema(
            KeySchemaElement.builder().attributeName("Id").keyType("HASH").build(),
            KeySchemaElement.builder().attributeName("Created").keyType("RANGE").build())
        .attributeDefinitions(
            AttributeDefinition.builder().attributeName("Id").attributeType("S").build(),
            AttributeDefinition.builder().attributeName("Created").attributeType("N").build())
        .build();
  }

  @Override
  @SuppressWarnings("NullAway") // as a client of the user's may do
  public DynamoDbServiceClientConfiguration serviceClientConfiguration() {
    return configuration.get();
  }

  @Override
  public String serviceName() {
    return "dynamodb";
  }

  @Override
  public void close() {}

  private record Provider(Supplier<CompletableFuture<AwsCredentialsIdentity>> credentials)
      implements IdentityProvider<AwsCredentialsIdentity> {
    @Override
    public Class<AwsCredentialsIdentity> identityType() {
      return AwsCredentialsIdentity.class;
    }

    @Override
    public CompletableFuture<AwsCredentialsIdentity> resolveIdentity(
        ResolveIdentityRequest request) {
      return credentials.get();
    }
  }
}
