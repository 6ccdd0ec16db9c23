package io.asherah.reactive.kms.aws;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.identity.spi.IdentityProvider;
import software.amazon.awssdk.identity.spi.ResolveIdentityRequest;
import software.amazon.awssdk.services.kms.KmsAsyncClient;
import software.amazon.awssdk.services.kms.KmsServiceClientConfiguration;
import software.amazon.awssdk.services.kms.model.DecryptRequest;
import software.amazon.awssdk.services.kms.model.DecryptResponse;
import software.amazon.awssdk.services.kms.model.EncryptRequest;
import software.amazon.awssdk.services.kms.model.EncryptResponse;
import software.amazon.awssdk.services.kms.model.GenerateDataKeyRequest;
import software.amazon.awssdk.services.kms.model.GenerateDataKeyResponse;
import software.amazon.awssdk.services.kms.model.KmsRequest;

/**
 * A client without a service, for what depends on moments: a test says when credentials and answers
 * come, and on which thread. What it wraps is as it was.
 */
final class FakeClient implements KmsAsyncClient {
  private final List<KmsRequest> requests = Collections.synchronizedList(new ArrayList<>());
  private final Supplier<@Nullable KmsServiceClientConfiguration> configuration;
  private volatile Function<Object, CompletableFuture<?>> sender =
      CompletableFuture::completedFuture;

  private FakeClient(Supplier<@Nullable KmsServiceClientConfiguration> configuration) {
    this.configuration = configuration;
  }

  /** One that has credentials, or will have them. */
  static FakeClient with(Supplier<CompletableFuture<AwsCredentialsIdentity>> credentials) {
    KmsServiceClientConfiguration told =
        KmsServiceClientConfiguration.builder()
            .credentialsProvider(new Provider(credentials))
            .build();
    return new FakeClient(() -> told);
  }

  /** One that tells what it likes of its configuration. */
  static FakeClient telling(Supplier<@Nullable KmsServiceClientConfiguration> configuration) {
    return new FakeClient(configuration);
  }

  static FakeClient ready() {
    return with(() -> CompletableFuture.completedFuture(identity()));
  }

  static AwsCredentialsIdentity identity() {
    return AwsCredentialsIdentity.create("id", "secret");
  }

  /** How answers come, by default at once. */
  FakeClient sending(Function<Object, CompletableFuture<?>> newSender) {
    sender = newSender;
    return this;
  }

  List<KmsRequest> requests() {
    return List.copyOf(requests);
  }

  List<String> operations() {
    return requests().stream()
        .map(request -> request.getClass().getSimpleName().replace("Request", ""))
        .toList();
  }

  @SuppressWarnings("unchecked")
  private <T> CompletableFuture<T> send(KmsRequest request, T response) {
    requests.add(request);
    return (CompletableFuture<T>) sender.apply(response);
  }

  @Override
  public CompletableFuture<GenerateDataKeyResponse> generateDataKey(
      GenerateDataKeyRequest request) {
    byte[] key = new byte[32];
    Arrays.fill(key, (byte) 7);
    return send(
        request,
        GenerateDataKeyResponse.builder()
            .plaintext(SdkBytes.fromByteArray(key))
            .ciphertextBlob(SdkBytes.fromByteArray(key))
            .build());
  }

  @Override
  public CompletableFuture<EncryptResponse> encrypt(EncryptRequest request) {
    return send(
        request,
        EncryptResponse.builder()
            .ciphertextBlob(SdkBytes.fromByteArray(request.plaintext().asByteArray()))
            .build());
  }

  @Override
  public CompletableFuture<DecryptResponse> decrypt(DecryptRequest request) {
    return send(
        request,
        DecryptResponse.builder()
            .plaintext(SdkBytes.fromByteArray(request.ciphertextBlob().asByteArray()))
            .build());
  }

  @Override
  @SuppressWarnings("NullAway") // as a client of the user's may do
  public KmsServiceClientConfiguration serviceClientConfiguration() {
    return configuration.get();
  }

  @Override
  public String serviceName() {
    return "kms";
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
