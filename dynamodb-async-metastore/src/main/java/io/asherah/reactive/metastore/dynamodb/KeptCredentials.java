package io.asherah.reactive.metastore.dynamodb;

import java.util.concurrent.CompletableFuture;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.identity.spi.ResolveIdentityRequest;

/** Credentials of the user's, which the SDK would close together with the client. */
record KeptCredentials(AwsCredentialsProvider provider) implements AwsCredentialsProvider {
  @Override
  public AwsCredentials resolveCredentials() {
    return provider.resolveCredentials();
  }

  @Override
  public CompletableFuture<AwsCredentialsIdentity> resolveIdentity(ResolveIdentityRequest request) {
    return provider.resolveIdentity(request);
  }

  @Override
  public String toString() {
    return provider.toString();
  }
}
