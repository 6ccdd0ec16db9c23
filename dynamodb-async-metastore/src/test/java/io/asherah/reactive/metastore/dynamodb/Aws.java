package io.asherah.reactive.metastore.dynamodb;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.testaws.DynamoDbServer;
import io.asherah.reactive.testsupport.Await;
import io.netty.channel.nio.NioEventLoopGroup;
import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import reactor.core.publisher.Mono;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.http.crt.AwsCrtAsyncHttpClient;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.http.nio.netty.SdkEventLoopGroup;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClientBuilder;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.GetItemResponse;
import software.amazon.awssdk.utils.SdkAutoCloseable;

/** Clients as an application has them; closing this ends their threads, too. */
final class Aws implements AutoCloseable {
  static final Duration TIMEOUT = Await.TIMEOUT;
  static final int CONNECTIONS = 50;
  static final Instant CREATED = Instant.ofEpochSecond(1_541_461_380);

  /** How long a part of a call may take, which none needs on any machine. */
  private static final Duration PATIENCE = Duration.ofSeconds(100);

  /** An HTTP client of the SDK. */
  enum Http {
    NETTY,
    CRT
  }

  private final List<SdkAutoCloseable> opened = new ArrayList<>();
  // One loop: with more, the SDK now and then forgets who waits where a connection is refused.
  private final NioEventLoopGroup group = new NioEventLoopGroup(1);

  SdkAsyncHttpClient http(Http kind) {
    SdkAsyncHttpClient http =
        switch (kind) {
          case NETTY ->
              NettyNioAsyncHttpClient.builder()
                  .eventLoopGroup(SdkEventLoopGroup.create(group))
                  .maxConcurrency(CONNECTIONS)
                  .maxPendingConnectionAcquires(20_000)
                  .connectionAcquisitionTimeout(PATIENCE)
                  .connectionTimeout(PATIENCE)
                  .readTimeout(PATIENCE)
                  .build();
          case CRT ->
              AwsCrtAsyncHttpClient.builder()
                  .maxConcurrency(CONNECTIONS)
                  .connectionTimeout(PATIENCE)
                  .connectionAcquisitionTimeout(PATIENCE)
                  .build();
        };
    opened.add(http);
    return http;
  }

  DynamoDbAsyncClient client() {
    return client(server());
  }

  DynamoDbAsyncClient client(URI endpoint) {
    return client(endpoint, http(Http.NETTY), builder -> {});
  }

  DynamoDbAsyncClient client(
      URI endpoint, SdkAsyncHttpClient http, Consumer<DynamoDbAsyncClientBuilder> options) {
    DynamoDbAsyncClientBuilder builder =
        DynamoDbAsyncClient.builder()
            .httpClient(http)
            .endpointOverride(endpoint)
            .region(Region.US_WEST_2)
            .credentialsProvider(credentials())
            .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry()));
    options.accept(builder);
    DynamoDbAsyncClient client = builder.build();
    // Before its connections.
    opened.add(0, client);
    return client;
  }

  @Override
  public void close() {
    opened.forEach(SdkAutoCloseable::close);
    group.shutdownGracefully(0, 30, TimeUnit.SECONDS).syncUninterruptibly();
  }

  static URI server() {
    return DynamoDbServer.shared().endpoint();
  }

  static AwsCredentialsProvider credentials() {
    return StaticCredentialsProvider.create(AwsBasicCredentials.create("access", "secret"));
  }

  /** A metastore on a machine that is busy with other things too. */
  static DynamoDbMetastore.Builder patient(DynamoDbAsyncClient client, String table) {
    return DynamoDbMetastore.builder().client(client).table(table).callTimeout(TIMEOUT);
  }

  /** Creates a table that nobody else uses. */
  static String newTable(DynamoDbAsyncClient client) {
    String table = "t" + UUID.randomUUID();
    patient(client, table).build().table().create().block(TIMEOUT.multipliedBy(2));
    return table;
  }

  // Keys.

  static String freshId() {
    return "_SK_test_" + UUID.randomUUID();
  }

  static Instant at(long seconds) {
    return Instant.ofEpochSecond(seconds);
  }

  static EnvelopeKeyRecord record(Instant created, int seed) {
    return new EnvelopeKeyRecord(created, bytes(60, seed), null, false);
  }

  static byte[] bytes(int length, int seed) {
    byte[] bytes = new byte[length];
    IntStream.range(0, length).forEach(i -> bytes[i] = (byte) (seed + 7 * i));
    return bytes;
  }

  // Without a metastore.

  static void put(DynamoDbAsyncClient client, String table, Map<String, AttributeValue> item) {
    client.putItem(b -> b.tableName(table).item(item)).orTimeout(60, TimeUnit.SECONDS).join();
  }

  static Map<String, AttributeValue> key(String id, Instant created) {
    return Map.of(
        "Id",
        AttributeValue.fromS(id),
        "Created",
        AttributeValue.fromN(Long.toString(created.getEpochSecond())));
  }

  /** An item as it is in the table, or nothing. */
  static Map<String, AttributeValue> item(
      DynamoDbAsyncClient client, String table, String id, Instant created) {
    GetItemResponse found =
        client
            .getItem(b -> b.tableName(table).key(key(id, created)).consistentRead(true))
            .orTimeout(60, TimeUnit.SECONDS)
            .join();
    return found.hasItem() ? found.item() : Map.of();
  }

  static <T> T get(Mono<T> answer) {
    return Objects.requireNonNull(answer.block(TIMEOUT.multipliedBy(2)), "no answer");
  }
}
