package io.asherah.reactive.kms.aws;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.MetricsRecorder;
import io.asherah.reactive.testaws.KmsKey;
import io.asherah.reactive.testaws.KmsRegion;
import io.asherah.reactive.testaws.KmsServer;
import io.asherah.reactive.testsupport.Await;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.nio.NioEventLoopGroup;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
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
import software.amazon.awssdk.services.kms.KmsAsyncClient;
import software.amazon.awssdk.services.kms.KmsAsyncClientBuilder;

/**
 * A server with some regions and a key in each, clients for them, and locked memory. Closing it
 * ends everything, and checks that no secret is left.
 */
final class KmsScenario implements AutoCloseable {
  /** How long a call may take, which none needs on any machine. */
  static final Duration PATIENCE = Duration.ofSeconds(100);

  private static final List<String> NAMES = List.of("us-west-2", "eu-west-1", "ap-south-1");

  /** What calls a region over the network. */
  enum Http {
    NETTY,
    CRT
  }

  /** What a recorder is told. */
  record Failed(String kms, String region, KmsException.Kind kind) {}

  /** Keeps what it is told. */
  static final class Recorder implements MetricsRecorder {
    private final Queue<Failed> told = new ConcurrentLinkedQueue<>();

    @Override
    public void kmsRegionFailed(String kms, String region, KmsException.Kind kind) {
      told.add(new Failed(kms, region, kind));
    }

    /** What it was told since this was asked before. */
    List<Failed> take() {
      List<Failed> taken = new ArrayList<>();
      for (Failed next = told.poll(); next != null; next = told.poll()) {
        taken.add(next);
      }
      return taken;
    }
  }

  final KmsServer server;
  final List<KmsKey> keys;
  private final List<String> names;
  final SecretFactory secrets = SecretFactory.builder().shutdownGrace(Duration.ZERO).build();
  final Recorder recorder = new Recorder();
  // One loop: with more, the SDK now and then forgets who waits where a connection is refused.
  private final EventLoopGroup group = new NioEventLoopGroup(1);
  private final SdkAsyncHttpClient http;
  private final Map<String, KmsAsyncClient> clients = new ConcurrentHashMap<>();

  KmsScenario(int regions) {
    this(regions, Http.NETTY);
  }

  KmsScenario(int regions, Http kind) {
    this(NAMES.subList(0, regions), kind);
  }

  /** With regions of its own, so that what is logged of it can be told from the rest. */
  KmsScenario(List<String> names, Http kind) {
    this.names = List.copyOf(names);
    server = KmsServer.start(names.toArray(String[]::new));
    keys = IntStream.range(0, names.size()).mapToObj(i -> region(i).createKey()).toList();
    http = kind == Http.CRT ? crt() : netty(group, 100);
  }

  static SdkAsyncHttpClient netty(EventLoopGroup group, int connections) {
    return NettyNioAsyncHttpClient.builder()
        .eventLoopGroup(SdkEventLoopGroup.create(group))
        .maxConcurrency(connections)
        .connectionAcquisitionTimeout(PATIENCE)
        .connectionTimeout(PATIENCE)
        .readTimeout(PATIENCE)
        .build();
  }

  private static SdkAsyncHttpClient crt() {
    return AwsCrtAsyncHttpClient.builder().maxConcurrency(100).build();
  }

  static AwsCredentialsProvider credentials() {
    return StaticCredentialsProvider.create(AwsBasicCredentials.create("id", "secret"));
  }

  String name(int region) {
    return names.get(region);
  }

  KmsRegion region(int region) {
    return server.region(name(region));
  }

  KmsKey key(int region) {
    return keys.get(region);
  }

  /** Everything that clients of the region need, without credentials. */
  KmsAsyncClientBuilder anonymousClientBuilder(String region) {
    return KmsAsyncClient.builder()
        .httpClient(http)
        .endpointOverride(server.region(region).endpoint())
        .region(Region.of(region))
        .overrideConfiguration(o -> o.retryStrategy(DefaultRetryStrategy.doNotRetry()));
  }

  /** A client of the region, which this closes. */
  KmsAsyncClient client(String region) {
    return clients.computeIfAbsent(
        region, name -> anonymousClientBuilder(name).credentialsProvider(credentials()).build());
  }

  /** Of a service with all regions, in their order, and patience. */
  AwsKeyManagementService.Builder builder() {
    return withRegions(AwsKeyManagementService.builder()).clientFactory(this::client);
  }

  /** Adds regions and keys, patience and the recorder, and no clients. */
  AwsKeyManagementService.Builder withRegions(AwsKeyManagementService.Builder builder) {
    for (int i = 0; i < keys.size(); i++) {
      builder.region(name(i), key(i).arn());
    }
    return builder.regionTimeout(PATIENCE).metricsRecorder(recorder);
  }

  /** Of a service that builds its clients, on the HTTP client of this. */
  AwsKeyManagementService.Builder ownClients() {
    return withRegions(AwsKeyManagementService.builder()).clientCustomizer(this::customize);
  }

  void customize(String region, KmsAsyncClientBuilder builder) {
    builder.httpClient(http).endpointOverride(server.region(region).endpoint());
  }

  /** A service that has one of the regions only. */
  AwsKeyManagementService only(String region) {
    return AwsKeyManagementService.builder()
        .region(region, key(names.indexOf(region)).arn())
        .regionTimeout(PATIENCE)
        .clientFactory(this::client)
        .build();
  }

  /** A secret of 32 bytes, easy to tell from others. */
  Secret secret(int seed) {
    return get(secrets.create(bytes(seed)));
  }

  static byte[] bytes(int seed) {
    byte[] key = new byte[CryptoKey.LENGTH];
    IntStream.range(0, key.length).forEach(i -> key[i] = (byte) (seed + 7 * i));
    return key;
  }

  byte[] wrap(KeyManagementService kms, int seed) {
    try (Secret secret = secret(seed)) {
      return get(kms.encryptKey(secret));
    }
  }

  static byte[] unwrap(KeyManagementService kms, byte[] wrapped) {
    return get(kms.decryptKey(wrapped)).take();
  }

  static <T> T get(Mono<T> mono) {
    return Objects.requireNonNull(mono.block(PATIENCE));
  }

  static void done(Mono<Void> mono) {
    mono.block(PATIENCE);
  }

  @Override
  public void close() {
    server.healthy();
    clients.values().forEach(KmsAsyncClient::close);
    http.close();
    server.close();
    group.shutdownGracefully(0, 30, TimeUnit.SECONDS).syncUninterruptibly();
    Await.until(() -> secrets.stats().liveSecrets() == 0);
    boolean leaked = secrets.stats().leakedSecrets() != 0;
    done(secrets.close());
    if (leaked) {
      throw new AssertionError("a secret was lost without being closed");
    }
  }
}
