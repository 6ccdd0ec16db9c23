package io.asherah.reactive.testaws;

import io.netty.channel.nio.NioEventLoopGroup;
import java.net.URI;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.auth.credentials.AnonymousCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.awscore.client.builder.AwsAsyncClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.http.async.SdkAsyncHttpClient;
import software.amazon.awssdk.http.crt.AwsCrtAsyncHttpClient;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.http.nio.netty.SdkEventLoopGroup;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeDefinition;
import software.amazon.awssdk.services.dynamodb.model.BillingMode;
import software.amazon.awssdk.services.dynamodb.model.KeySchemaElement;
import software.amazon.awssdk.services.kms.KmsAsyncClient;
import software.amazon.awssdk.utils.SdkAutoCloseable;

/** Clients of AWS that make one attempt; closing this ends their threads, too. */
final class Clients implements AutoCloseable {
  static final int CONNECTIONS = 1000;

  /** How long a call may take, which none needs on any machine. */
  private static final Duration PATIENCE = Duration.ofSeconds(100);

  private final List<SdkAutoCloseable> opened = new ArrayList<>();
  // One loop: with more, the SDK now and then forgets who waits where a connection is refused.
  private final NioEventLoopGroup group = new NioEventLoopGroup(1);
  private final SdkAsyncHttpClient netty;

  Clients() {
    netty =
        NettyNioAsyncHttpClient.builder()
            .eventLoopGroup(SdkEventLoopGroup.create(group))
            .maxConcurrency(CONNECTIONS)
            .connectionAcquisitionTimeout(PATIENCE)
            .connectionTimeout(PATIENCE)
            .readTimeout(PATIENCE)
            .build();
    opened.add(netty);
  }

  SdkAsyncHttpClient netty() {
    return netty;
  }

  SdkAsyncHttpClient crt() {
    SdkAsyncHttpClient crt = AwsCrtAsyncHttpClient.builder().build();
    opened.add(crt);
    return crt;
  }

  DynamoDbAsyncClient dynamoDb(URI endpoint) {
    return dynamoDb(endpoint, "us-west-2", netty);
  }

  DynamoDbAsyncClient dynamoDb(URI endpoint, String region, SdkAsyncHttpClient http) {
    return build(DynamoDbAsyncClient.builder(), endpoint, region, http, credentials());
  }

  KmsAsyncClient kms(KmsRegion region) {
    return kms(region, netty);
  }

  KmsAsyncClient kms(KmsRegion region, SdkAsyncHttpClient http) {
    return build(KmsAsyncClient.builder(), region.endpoint(), region.name(), http, credentials());
  }

  KmsAsyncClient anonymousKms(KmsRegion region) {
    return build(
        KmsAsyncClient.builder(),
        region.endpoint(),
        region.name(),
        netty,
        AnonymousCredentialsProvider.create());
  }

  KmsAsyncClient kmsSignedFor(String otherRegion, KmsRegion region) {
    return build(KmsAsyncClient.builder(), region.endpoint(), otherRegion, netty, credentials());
  }

  /** Of a user of its own. */
  private static AwsCredentialsProvider credentials() {
    return StaticCredentialsProvider.create(
        AwsBasicCredentials.create(
            "key" + UUID.randomUUID().toString().replace("-", ""), "secret"));
  }

  private <
          B extends AwsClientBuilder<B, C> & AwsAsyncClientBuilder<B, C>,
          C extends SdkAutoCloseable>
      C build(
          B builder,
          URI endpoint,
          String region,
          SdkAsyncHttpClient http,
          AwsCredentialsProvider credentials) {
    C client =
        builder
            .httpClient(http)
            .endpointOverride(endpoint)
            .region(Region.of(region))
            .credentialsProvider(credentials)
            .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry()))
            .build();
    opened.add(0, client);
    return client;
  }

  static void createTable(DynamoDbAsyncClient client, String name) {
    client
        .createTable(
            b ->
                b.tableName(name)
                    .billingMode(BillingMode.PAY_PER_REQUEST)
                    .attributeDefinitions(
                        AttributeDefinition.builder()
                            .attributeName("Id")
                            .attributeType("S")
                            .build())
                    .keySchema(
                        KeySchemaElement.builder().attributeName("Id").keyType("HASH").build()))
        .join();
  }

  /** Waits for a call to fail, and returns with what. */
  static Throwable failure(CompletableFuture<?> call) {
    try {
      throw new AssertionError("the call succeeded with " + call.join());
    } catch (CompletionException e) {
      return Objects.requireNonNull(e.getCause());
    }
  }

  @Override
  public void close() {
    opened.forEach(SdkAutoCloseable::close);
    group.shutdownGracefully(0, 30, TimeUnit.SECONDS).syncUninterruptibly();
  }
}
