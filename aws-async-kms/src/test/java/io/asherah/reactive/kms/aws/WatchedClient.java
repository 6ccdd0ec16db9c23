package io.asherah.reactive.kms.aws;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import software.amazon.awssdk.awscore.AwsRequestOverrideConfiguration;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kms.KmsAsyncClient;
import software.amazon.awssdk.services.kms.KmsServiceClientConfiguration;
import software.amazon.awssdk.services.kms.model.DecryptRequest;
import software.amazon.awssdk.services.kms.model.DecryptResponse;
import software.amazon.awssdk.services.kms.model.EncryptRequest;
import software.amazon.awssdk.services.kms.model.EncryptResponse;
import software.amazon.awssdk.services.kms.model.GenerateDataKeyRequest;
import software.amazon.awssdk.services.kms.model.GenerateDataKeyResponse;

/** A client that keeps the arrays of data keys that it hands out, and of those it is given. */
final class WatchedClient implements KmsAsyncClient {
  private final KmsAsyncClient client;
  private final List<byte[]> handedOut = Collections.synchronizedList(new ArrayList<>());
  private final List<byte[]> given = Collections.synchronizedList(new ArrayList<>());
  private final AtomicInteger underWay = new AtomicInteger();
  private final AtomicBoolean sawZeros = new AtomicBoolean();
  private final AtomicBoolean isClosed = new AtomicBoolean();
  private @Nullable Duration limit;

  WatchedClient(KmsAsyncClient client) {
    this.client = client;
  }

  /** Has calls end earlier than they were asked to; with null, when they were asked to. */
  WatchedClient limit(@Nullable Duration newLimit) {
    limit = newLimit;
    return this;
  }

  /** The arrays of all answers so far, not copies. */
  List<byte[]> handedOut() {
    return List.copyOf(handedOut);
  }

  /** The arrays of all calls to Encrypt so far, not copies. */
  List<byte[]> given() {
    return List.copyOf(given);
  }

  /** Whether a plaintext of zeros came or went. */
  boolean sawZeros() {
    return sawZeros.get();
  }

  int underWay() {
    return underWay.get();
  }

  boolean isClosed() {
    return isClosed.get();
  }

  static boolean isZeros(byte[] bytes) {
    for (byte one : bytes) {
      if (one != 0) {
        return false;
      }
    }
    return true;
  }

  private void keep(List<byte[]> kept, @Nullable SdkBytes plaintext) {
    if (plaintext != null) {
      byte[] bytes = plaintext.asByteArrayUnsafe();
      kept.add(bytes);
      if (isZeros(bytes)) {
        sawZeros.set(true);
      }
    }
  }

  private AwsRequestOverrideConfiguration limited(
      @Nullable AwsRequestOverrideConfiguration configuration) {
    AwsRequestOverrideConfiguration.Builder builder =
        configuration == null
            ? AwsRequestOverrideConfiguration.builder()
            : configuration.toBuilder();
    return (limit == null ? builder : builder.apiCallTimeout(limit)).build();
  }

  private <T> CompletableFuture<T> counted(CompletableFuture<T> call) {
    underWay.incrementAndGet();
    return call.whenComplete((any, e) -> underWay.decrementAndGet());
  }

  @Override
  public CompletableFuture<GenerateDataKeyResponse> generateDataKey(
      GenerateDataKeyRequest request) {
    return counted(
        client
            .generateDataKey(
                request.toBuilder()
                    .overrideConfiguration(limited(request.overrideConfiguration().orElse(null)))
                    .build())
            .thenApply(
                response -> {
                  keep(handedOut, response.plaintext());
                  return response;
                }));
  }

  @Override
  public CompletableFuture<EncryptResponse> encrypt(EncryptRequest request) {
    keep(given, request.plaintext());
    CompletableFuture<EncryptResponse> call =
        client.encrypt(
            request.toBuilder()
                .overrideConfiguration(limited(request.overrideConfiguration().orElse(null)))
                .build());
    return counted(call);
  }

  @Override
  public CompletableFuture<DecryptResponse> decrypt(DecryptRequest request) {
    return counted(
        client
            .decrypt(
                request.toBuilder()
                    .overrideConfiguration(limited(request.overrideConfiguration().orElse(null)))
                    .build())
            .thenApply(
                response -> {
                  keep(handedOut, response.plaintext());
                  return response;
                }));
  }

  @Override
  public KmsServiceClientConfiguration serviceClientConfiguration() {
    return client.serviceClientConfiguration();
  }

  @Override
  public String serviceName() {
    return client.serviceName();
  }

  @Override
  public void close() {
    isClosed.set(true);
  }
}
