package io.asherah.reactive.metastore.dynamodb;

import io.asherah.reactive.MetastoreException;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import software.amazon.awssdk.awscore.AwsRequestOverrideConfiguration;
import software.amazon.awssdk.identity.spi.AwsCredentialsIdentity;
import software.amazon.awssdk.identity.spi.IdentityProvider;
import software.amazon.awssdk.identity.spi.ResolveIdentityRequest;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbServiceClientConfiguration;

/**
 * The client, got when it is used first. To build one reads files, and may ask the instance it runs
 * on; all of this is for threads that may wait.
 */
final class Client {
  /** For a client to be built and its credentials to be had. */
  static final Duration PATIENCE = Duration.ofSeconds(10);

  private final Supplier<DynamoDbAsyncClient> factory;
  private final boolean isOurs;
  private final Scheduler blocking = Schedulers.boundedElastic();
  private final AtomicReference<Sinks.@Nullable One<Ready>> pending = new AtomicReference<>();

  private @Nullable DynamoDbAsyncClient client;
  private boolean isClosed;

  private Client(Supplier<DynamoDbAsyncClient> factory, boolean isOurs) {
    this.factory = factory;
    this.isOurs = isOurs;
  }

  static Client ofUser(DynamoDbAsyncClient client) {
    return new Client(() -> client, false);
  }

  static Client built(Supplier<DynamoDbAsyncClient> factory) {
    return new Client(factory, true);
  }

  /** A client, and the credentials that it has at this moment, where it tells them. */
  record Ready(DynamoDbAsyncClient client, @Nullable AwsCredentialsIdentity identity) {
    /**
     * Of a call that is made now, and ends also where nobody waits for it. The SDK need not get
     * credentials again, which takes long for some providers and would count as part of the call.
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
      DynamoDbAsyncClient built = get();
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
      DynamoDbAsyncClient client) {
    IdentityProvider<? extends AwsCredentialsIdentity> provider = null;
    try {
      DynamoDbServiceClientConfiguration configuration = client.serviceClientConfiguration();
      provider = configuration == null ? null : configuration.credentialsProvider();
    } catch (UnsupportedOperationException e) {
      // A client of the user's that does not tell.
    }
    // Else it gets them when it is called.
    return provider == null
        ? CompletableFuture.<@Nullable AwsCredentialsIdentity>completedFuture(null)
        : provider.resolveIdentity();
  }

  private synchronized DynamoDbAsyncClient get() {
    if (isClosed) {
      throw new MetastoreException("the metastore is closed", null, false);
    }
    if (client == null) {
      client = build();
    }
    return client;
  }

  private DynamoDbAsyncClient build() {
    try {
      return factory.get();
    } catch (RuntimeException e) {
      throw new MetastoreException(
          "the client for DynamoDB could not be built: look at the cause; it needs a region, from"
              + " region(), AWS_REGION, the system property aws.region or a profile",
          e,
          Failure.mayPass(e));
    }
  }

  /** Closes the client unless it is the user's, who may go on using it. Waits for it. */
  synchronized void close() {
    isClosed = true;
    DynamoDbAsyncClient built = client;
    client = null;
    if (isOurs && built != null) {
      built.close();
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
