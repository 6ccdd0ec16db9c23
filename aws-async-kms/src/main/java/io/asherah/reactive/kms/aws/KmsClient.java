package io.asherah.reactive.kms.aws;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import software.amazon.awssdk.auth.credentials.AwsCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider;
import software.amazon.awssdk.awscore.AwsRequestOverrideConfiguration;
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.identity.spi.IdentityProvider;
import software.amazon.awssdk.identity.spi.ResolveIdentityRequest;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.kms.KmsAsyncClient;
import software.amazon.awssdk.services.kms.KmsAsyncClientBuilder;
import software.amazon.awssdk.services.kms.KmsServiceClientConfiguration;

/**
 * The client of a region, got when it is used first. To build one reads files, and may ask the
 * instance it runs on; all of this is for threads that may wait.
 */
final class KmsClient {
  /** How long credentials are waited for where no other region could be asked. */
  static final Duration PATIENCE = Duration.ofSeconds(10);

  private final Supplier<KmsAsyncClient> factory;
  private final boolean isOurs;
  private final Scheduler blocking = Schedulers.boundedElastic();
  private final AtomicReference<Sinks.@Nullable One<Ready>> pending = new AtomicReference<>();

  private @Nullable KmsAsyncClient client;
  private boolean isClosed;

  private KmsClient(Supplier<KmsAsyncClient> factory, boolean isOurs) {
    this.factory = factory;
    this.isOurs = isOurs;
  }

  static KmsClient ofUser(String region, Function<String, KmsAsyncClient> factory) {
    return new KmsClient(
        () -> Objects.requireNonNull(factory.apply(region), "what clientFactory returned"), false);
  }

  static KmsClient built(
      String region,
      @Nullable AwsCredentialsProvider credentials,
      @Nullable String profile,
      @Nullable BiConsumer<String, KmsAsyncClientBuilder> customizer) {
    return new KmsClient(
        () -> {
          KmsAsyncClientBuilder builder =
              KmsAsyncClient.builder()
                  .region(Region.of(region))
                  .overrideConfiguration(
                      override -> override.retryStrategy(DefaultRetryStrategy.doNotRetry()));
          if (credentials != null) {
            builder.credentialsProvider(new KeptCredentials(credentials));
          }
          if (profile != null) {
            builder.credentialsProvider(ProfileCredentialsProvider.create(profile));
          }
          if (customizer != null) {
            customizer.accept(region, builder);
            keepToOneAttempt(builder);
          }
          return builder.build();
        },
        true);
  }

  /**
   * A session factory makes a call again that failed, and counts it. Who sets something else than
   * attempts sets all of the configuration anew, and would have the SDK's own attempts again.
   */
  private static void keepToOneAttempt(KmsAsyncClientBuilder builder) {
    ClientOverrideConfiguration override = builder.overrideConfiguration();
    if (override.retryStrategy().isEmpty()
        && override.retryStrategyConfigurator().isEmpty()
        && override.retryMode().isEmpty()
        && override.retryPolicy().isEmpty()) {
      builder.overrideConfiguration(
          override.toBuilder().retryStrategy(DefaultRetryStrategy.doNotRetry()).build());
    }
  }

  /** A client, and the credentials that it has at this moment, where it tells them. */
  record Ready(KmsAsyncClient client, @Nullable AwsCredentialsIdentity identity) {
    /**
     * Of a call that is made now. The SDK need not get credentials again, which takes long for some
     * providers and would count as part of the call.
     */
    AwsRequestOverrideConfiguration oneCall(Duration timeout) {
      AwsRequestOverrideConfiguration.Builder call =
          AwsRequestOverrideConfiguration.builder().apiCallTimeout(timeout);
      if (identity != null) {
        call.credentialsProvider(new GivenCredentials(identity));
      }
      return call.build();
    }

    @Override
    public String toString() {
      return "Ready[****]";
    }
  }

  /**
   * Begins to look for the client and its credentials. One thread looks, however many ask, so that
   * slow ones keep no more than that from other work.
   *
   * @return both, when they are there; whoever no longer waits is forgotten, also where they never
   *     come
   */
  Mono<Ready> ready() {
    Sinks.One<Ready> mine = Sinks.one();
    Sinks.One<Ready> others = pending.compareAndExchange(null, mine);
    if (others != null) {
      return others.asMono();
    }
    try {
      blocking.schedule(() -> look(mine));
    } catch (RejectedExecutionException e) {
      end(mine, null, e);
    }
    return mine.asMono();
  }

  private void look(Sinks.One<Ready> mine) {
    try {
      KmsAsyncClient built = get();
      CompletableFuture<? extends @Nullable AwsCredentialsIdentity> identity = credentials(built);
      // It keeps no thread, and may have been forgotten: who comes later looks anew.
      Disposable forgetting =
          identity.isDone()
              ? Disposables.disposed()
              : Schedulers.parallel()
                  .schedule(
                      () -> pending.compareAndSet(mine, null),
                      PATIENCE.toMillis(),
                      TimeUnit.MILLISECONDS);
      identity.whenComplete(
          (it, e) -> {
            forgetting.dispose();
            end(mine, e == null ? new Ready(built, it) : null, e);
          });
    } catch (Throwable e) {
      end(mine, null, e);
    }
  }

  private void end(Sinks.One<Ready> mine, @Nullable Ready ready, @Nullable Throwable error) {
    pending.compareAndSet(mine, null);
    // Emitted once, by one thread, so that it cannot fail.
    if (ready != null) {
      mine.tryEmitValue(ready).orThrow();
    } else {
      mine.tryEmitError(Objects.requireNonNull(error)).orThrow();
    }
  }

  private static CompletableFuture<? extends @Nullable AwsCredentialsIdentity> credentials(
      KmsAsyncClient client) {
    IdentityProvider<? extends AwsCredentialsIdentity> provider = null;
    try {
      KmsServiceClientConfiguration configuration = client.serviceClientConfiguration();
      provider = configuration == null ? null : configuration.credentialsProvider();
    } catch (UnsupportedOperationException e) {
      // A client of the user's that does not tell.
    }
    // Else it gets them when it is called.
    return provider == null
        ? CompletableFuture.<@Nullable AwsCredentialsIdentity>completedFuture(null)
        : provider.resolveIdentity();
  }

  private synchronized KmsAsyncClient get() {
    if (isClosed) {
      throw new KmsException(Kind.OTHER, "the key management service is closed", null);
    }
    if (client == null) {
      client = factory.get();
    }
    return client;
  }

  /** Closes the client unless it is the user's, who may go on using it. Waits for it. */
  synchronized void close() {
    isClosed = true;
    KmsAsyncClient built = client;
    client = null;
    if (isOurs && built != null) {
      built.close();
    }
  }

  /** Credentials of the user's, which the SDK would close together with the client. */
  private record KeptCredentials(AwsCredentialsProvider provider)
      implements AwsCredentialsProvider {
    @Override
    public AwsCredentials resolveCredentials() {
      return provider.resolveCredentials();
    }

    @Override
    public CompletableFuture<AwsCredentialsIdentity> resolveIdentity(
        ResolveIdentityRequest request) {
      return provider.resolveIdentity(request);
    }

    @Override
    public String toString() {
      return provider.toString();
    }
  }

  private record GivenCredentials(AwsCredentialsIdentity identity)
      implements IdentityProvider<AwsCredentialsIdentity> {
    @Override
    public Class<AwsCredentialsIdentity> identityType() {
      return AwsCredentialsIdentity.class;
    }

    @Override
    public CompletableFuture<AwsCredentialsIdentity> resolveIdentity(
        ResolveIdentityRequest request) {
      return CompletableFuture.completedFuture(identity);
    }

    @Override
    public String toString() {
      return "GivenCredentials[****]";
    }
  }
}
