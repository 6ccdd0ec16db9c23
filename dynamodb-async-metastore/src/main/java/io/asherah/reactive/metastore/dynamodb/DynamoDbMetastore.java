package io.asherah.reactive.metastore.dynamodb;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.metastore.dynamodb.Calls.Action;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import java.net.URI;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.ProfileCredentialsProvider;
import software.amazon.awssdk.core.client.config.ClientOverrideConfiguration;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.retries.DefaultRetryStrategy;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClientBuilder;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.model.ConditionalCheckFailedException;
import software.amazon.awssdk.services.dynamodb.model.GetItemRequest;
import software.amazon.awssdk.services.dynamodb.model.PutItemRequest;
import software.amazon.awssdk.services.dynamodb.model.QueryRequest;
import software.amazon.awssdk.services.dynamodb.model.ReplicatedWriteConflictException;
import software.amazon.awssdk.services.dynamodb.model.ReturnConsumedCapacity;

/**
 * Keeps wrapped keys in a table of Amazon DynamoDB, in the items that other Asherah implementations
 * write and read: {@code Id}, {@code Created} and {@code KeyRecord}. The table has to exist; {@link
 * #table()} makes and checks one.
 *
 * <pre>{@code
 * DynamoDbMetastore metastore = DynamoDbMetastore.create(client);
 * SessionFactory factory =
 *     SessionFactory.builder("shop", "orders").metastore(metastore).keyManagementService(kms).build();
 * }</pre>
 *
 * <p>A subscription makes one attempt: one call, or up to three where a region of a table that is
 * strongly consistent everywhere writes the same key at the same moment. Reads are strongly
 * consistent, in their region. Each call has a time limit. Whoever cancels stops waiting, and a
 * call that was begun goes on to its end; a store that was cancelled or failed may have happened.
 *
 * <p>Answers come on a thread of the SDK, or of Reactor's {@code parallel} scheduler where a limit
 * has passed. The client is called on {@link Schedulers#boundedElastic()}, since the SDK waits for
 * credentials on the thread that calls it.
 *
 * <p>A failure is a {@link io.asherah.reactive.MetastoreException}, retryable where the same call
 * may succeed later: throttling, a server that fails inside, a broken connection, no answer in
 * time. An item that is no key record is such an error too, and never taken for absent; so is an
 * answer without the consumed capacity, which is asked for to tell DynamoDB from others. Messages
 * name no partition; those of causes may, since the SDK quotes the ids of items.
 *
 * <p>Used without a {@link Builder#keySuffix}, it asks once whether the table is replicated to
 * other regions, and warns if it is; where it may not ask, nothing happens.
 *
 * <p>As a {@link KeyInventory} it finds the versions of one id by a query, and what a prefix
 * selects by a scan of the whole table, page by page; it leaves out the items in which the Rust
 * implementation keeps its configuration. Each key is revoked or deleted by a call of its own, and
 * counted once, also where two do it at the same time.
 *
 * <p>Safe for use by many threads. {@link #close} closes a client that was built here.
 */
public final class DynamoDbMetastore implements Metastore, KeyInventory {
  private final String keySuffix;
  private final Calls calls;
  private final StoredKeys keys;

  private DynamoDbMetastore(Builder builder) {
    this.keySuffix = builder.keySuffix;
    this.calls =
        new Calls(
            builder.client(), builder.table, builder.callTimeout, !builder.keySuffix.isEmpty());
    this.keys = new StoredKeys(calls);
  }

  /**
   * Keeps keys in the table {@code EncryptionKey}.
   *
   * @param client the application's, which is never closed here. Best it makes one attempt for each
   *     call, since a session factory makes the call again by itself
   * @return a metastore, which has called nobody yet
   */
  public static DynamoDbMetastore create(DynamoDbAsyncClient client) {
    return builder().client(client).build();
  }

  /**
   * For what {@link #create} does not do.
   *
   * @return a builder, with which all is as the SDK finds it: region, credentials, endpoint
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * The table of this metastore, to create and to check it.
   *
   * @return a handle, which does nothing by itself
   */
  public DynamoDbTable table() {
    return new DynamoDbTable(calls);
  }

  /**
   * Builds the client and gets credentials for it, so that the first operation need not wait for
   * that. It reads and writes no key.
   *
   * @return completes on {@link Schedulers#boundedElastic()} or a thread of the SDK; signals {@link
   *     io.asherah.reactive.MetastoreException} where there are no credentials, or no region.
   *     Whoever cancels stops waiting
   */
  public Mono<Void> warmUp() {
    return calls.warmUp();
  }

  @Override
  public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
    if (created.getNano() != 0) {
      throw new IllegalArgumentException("created must be whole seconds, was " + created);
    }
    if (!KeyItem.mayBeId(id)) {
      return Mono.empty();
    }
    return calls
        .call(
            "load a key",
            Action.GET_ITEM,
            (client, configuration) ->
                client.getItem(
                    GetItemRequest.builder()
                        .tableName(calls.table)
                        .key(KeyItem.keyOf(id, created))
                        .consistentRead(true)
                        .projectionExpression(KeyItem.KEY_RECORD)
                        .returnConsumedCapacity(ReturnConsumedCapacity.TOTAL)
                        .overrideConfiguration(configuration)
                        .build()),
            response -> response.consumedCapacity() != null)
        .flatMap(found -> found.hasItem() ? Mono.just(record(id, found.item())) : Mono.empty());
  }

  @Override
  public Mono<EnvelopeKeyRecord> loadLatest(String id) {
    if (!KeyItem.mayBeId(id)) {
      return Mono.empty();
    }
    return calls
        .call(
            "load the latest key",
            Action.QUERY,
            (client, configuration) ->
                client.query(
                    QueryRequest.builder()
                        .tableName(calls.table)
                        .keyConditionExpression("Id = :id")
                        .expressionAttributeValues(Map.of(":id", AttributeValue.fromS(id)))
                        .scanIndexForward(false)
                        .limit(1)
                        .consistentRead(true)
                        .projectionExpression(KeyItem.KEY_RECORD)
                        .returnConsumedCapacity(ReturnConsumedCapacity.TOTAL)
                        .overrideConfiguration(configuration)
                        .build()),
            response -> response.hasItems() && response.consumedCapacity() != null)
        .flatMap(
            found ->
                Mono.justOrEmpty(found.items().stream().findFirst()).map(item -> record(id, item)));
  }

  private EnvelopeKeyRecord record(String id, Map<String, AttributeValue> item) {
    return KeyItem.record(id, item, calls.table);
  }

  @Override
  public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
    KeyMeta meta = new KeyMeta(id, created);
    return Mono.defer(
        () -> {
          KeyItem.requireStorable(meta);
          return put(meta, record)
              .onErrorResume(
                  DynamoDbMetastore::isWriteConflict,
                  e -> whatIsThere(meta, record).switchIfEmpty(put(meta, record)));
        });
  }

  private Mono<Boolean> put(KeyMeta meta, EnvelopeKeyRecord record) {
    return calls
        .call(
            "store a key",
            Action.PUT_ITEM,
            (client, configuration) ->
                client.putItem(
                    PutItemRequest.builder()
                        .tableName(calls.table)
                        .item(KeyItem.of(meta, record))
                        .conditionExpression("attribute_not_exists(Id)")
                        .returnConsumedCapacity(ReturnConsumedCapacity.TOTAL)
                        .overrideConfiguration(configuration)
                        .build()),
            response -> response.consumedCapacity() != null)
        .thenReturn(true)
        .onErrorResume(
            e -> e.getCause() instanceof ConditionalCheckFailedException, e -> Mono.just(false));
  }

  private static boolean isWriteConflict(Throwable e) {
    return e.getCause() instanceof ReplicatedWriteConflictException;
  }

  /** Whether the item is ours, or empty where there is none. Wrapped keys are never the same. */
  private Mono<Boolean> whatIsThere(KeyMeta meta, EnvelopeKeyRecord record) {
    return load(meta.id(), meta.created()).map(record::equals);
  }

  @Override
  public Flux<KeyInfo> list(KeySelector selector) {
    return keys.list(selector);
  }

  @Override
  public Mono<Long> revoke(KeySelector selector) {
    return keys.revoke(selector);
  }

  @Override
  public Mono<Long> delete(KeySelector selector) {
    return keys.delete(selector);
  }

  /**
   * Closes a client that was built here; calls under way fail, and so do later ones. A client of
   * the application stays open.
   *
   * @return completes on {@link Schedulers#boundedElastic()} when it is closed, which may take
   *     seconds; a second subscription does no harm. Whoever cancels stops waiting, and it is
   *     closed nevertheless
   */
  public Mono<Void> close() {
    return calls.close();
  }

  /** Returns {@code dynamodb}. */
  @Override
  public String name() {
    return "dynamodb";
  }

  @Override
  public String keySuffix() {
    return keySuffix;
  }

  /** Names the table. */
  @Override
  public String toString() {
    return "DynamoDbMetastore[%s]".formatted(calls.table);
  }

  /** Collects options. Not safe for use by many threads. */
  public static final class Builder {
    /** Of a name, or of an ARN, which DynamoDB takes in its place. */
    private static final Pattern TABLE =
        Pattern.compile("[A-Za-z0-9_.-]{3,255}|arn:[A-Za-z0-9_.:/-]{1,1020}");

    private static final Pattern REGION = Pattern.compile("[a-z0-9]+(-[a-z0-9]+){1,7}");

    private static final Duration MAX_TIMEOUT = Duration.ofDays(1);

    private String table = "EncryptionKey";
    private String keySuffix = "";
    private Duration callTimeout = Duration.ofSeconds(4);
    private @Nullable DynamoDbAsyncClient client;
    private @Nullable String region;
    private @Nullable URI endpoint;
    private @Nullable AwsCredentialsProvider credentialsProvider;
    private @Nullable String profile;
    private @Nullable Consumer<DynamoDbAsyncClientBuilder> clientCustomizer;

    private Builder() {}

    /**
     * The table.
     *
     * @param table its name, 3 characters or more, or its ARN; default {@code EncryptionKey}
     * @return this builder
     * @throws IllegalArgumentException if it cannot be either
     */
    public Builder table(String table) {
      if (!TABLE.matcher(Objects.requireNonNull(table, "table")).matches()) {
        throw new IllegalArgumentException(
            "table must be the name of a table, 3 to 255 letters, digits, '_', '-' and '.', or its"
                + " ARN");
      }
      this.table = table;
      return this;
    }

    /**
     * The suffix of the ids of keys that are written through this metastore. A global table needs
     * one, and each region its own: a table that is eventually consistent lets two regions write
     * the same key, and keeps the later.
     *
     * @param keySuffix usually the name of the region, without underscore; default empty, for none
     * @return this builder
     */
    public Builder keySuffix(String keySuffix) {
      if (keySuffix.contains("_")) {
        throw new IllegalArgumentException("keySuffix must not contain an underscore");
      }
      this.keySuffix = keySuffix;
      return this;
    }

    /**
     * How long a call may take, after the client was built and has credentials, for which ten
     * seconds are waited at most. For a list, a revocation or a deletion of many keys: each call of
     * them.
     *
     * @param callTimeout positive, at most one day; default 4 seconds
     * @return this builder
     * @throws IllegalArgumentException if it is anything else
     */
    public Builder callTimeout(Duration callTimeout) {
      if (callTimeout.isNegative()
          || callTimeout.isZero()
          || callTimeout.compareTo(MAX_TIMEOUT) > 0) {
        throw new IllegalArgumentException(
            "callTimeout must be positive and at most one day, was " + callTimeout);
      }
      this.callTimeout = callTimeout;
      return this;
    }

    /**
     * Uses a client of the application, which is never closed here. Not together with the options
     * for a client that is built here.
     *
     * @param client best one that makes a single attempt for each call
     * @return this builder
     */
    public Builder client(DynamoDbAsyncClient client) {
      this.client = Objects.requireNonNull(client, "client");
      return this;
    }

    /**
     * The region of the table.
     *
     * @param region for instance {@code us-west-2}; by default the SDK looks for it
     * @return this builder
     * @throws IllegalArgumentException if it cannot be the name of one
     */
    public Builder region(String region) {
      if (!REGION.matcher(Objects.requireNonNull(region, "region")).matches()) {
        throw new IllegalArgumentException(
            "region must be the name of a region in lower case, like us-west-2, was " + region);
      }
      this.region = region;
      return this;
    }

    /**
     * Where DynamoDB is, if it is not where AWS has it.
     *
     * @param endpoint for instance {@code http://localhost:8000}
     * @return this builder
     * @throws IllegalArgumentException if it has no scheme or no host
     */
    public Builder endpoint(URI endpoint) {
      if (endpoint.getScheme() == null || endpoint.getHost() == null) {
        throw new IllegalArgumentException(
            "endpoint must have a scheme and a host, was " + endpoint);
      }
      this.endpoint = endpoint;
      return this;
    }

    /**
     * Where a client that is built here gets its credentials from.
     *
     * @param credentialsProvider stays its owner's; by default the SDK looks for them
     * @return this builder
     */
    public Builder credentialsProvider(AwsCredentialsProvider credentialsProvider) {
      this.credentialsProvider = Objects.requireNonNull(credentialsProvider, "credentialsProvider");
      return this;
    }

    /**
     * The profile of the shared configuration files that has the credentials.
     *
     * @param profile the name of the profile
     * @return this builder
     * @throws IllegalArgumentException if it is blank
     */
    public Builder profile(String profile) {
      this.profile = requireText("profile", profile);
      return this;
    }

    /**
     * Changes how the client is built: HTTP client, proxy.
     *
     * @param clientCustomizer given a builder on which everything else is set; called once, when
     *     the client is used first, on {@link Schedulers#boundedElastic()}
     * @return this builder
     */
    public Builder clientCustomizer(Consumer<DynamoDbAsyncClientBuilder> clientCustomizer) {
      this.clientCustomizer = Objects.requireNonNull(clientCustomizer, "clientCustomizer");
      return this;
    }

    /**
     * Makes the metastore. Reads no file and calls nobody yet.
     *
     * @return a metastore
     * @throws IllegalStateException if options were given that exclude each other
     */
    public DynamoDbMetastore build() {
      if (client != null
          && (region != null
              || endpoint != null
              || credentialsProvider != null
              || profile != null
              || clientCustomizer != null)) {
        throw new IllegalStateException(
            "the client is given, so region, endpoint, credentialsProvider, profile and"
                + " clientCustomizer have no effect: use it or them");
      }
      if (credentialsProvider != null && profile != null) {
        throw new IllegalStateException(
            "credentialsProvider and profile are two sources of credentials: use one");
      }
      return new DynamoDbMetastore(this);
    }

    private static String requireText(String name, String text) {
      if (text.isBlank()) {
        throw new IllegalArgumentException(name + " must not be blank");
      }
      return text;
    }

    private Client client() {
      return client == null ? Client.built(newClient()) : Client.ofUser(client);
    }

    /** Of copies: this builder may be used again. */
    private Supplier<DynamoDbAsyncClient> newClient() {
      String region = this.region;
      URI endpoint = this.endpoint;
      AwsCredentialsProvider credentialsProvider = this.credentialsProvider;
      String profile = this.profile;
      Consumer<DynamoDbAsyncClientBuilder> clientCustomizer = this.clientCustomizer;
      return () -> {
        DynamoDbAsyncClientBuilder builder =
            DynamoDbAsyncClient.builder()
                .overrideConfiguration(
                    override -> override.retryStrategy(DefaultRetryStrategy.doNotRetry()));
        if (region != null) {
          builder.region(Region.of(region));
        }
        if (endpoint != null) {
          builder.endpointOverride(endpoint);
        }
        if (credentialsProvider != null) {
          builder.credentialsProvider(new KeptCredentials(credentialsProvider));
        }
        if (profile != null) {
          builder.credentialsProvider(ProfileCredentialsProvider.create(profile));
        }
        if (clientCustomizer != null) {
          clientCustomizer.accept(builder);
          keepToOneAttempt(builder);
        }
        return builder.build();
      };
    }

    /**
     * A session factory makes a call again that failed, and counts it. Who sets something else than
     * attempts sets all of the configuration anew, and would have the SDK's own attempts again.
     */
    private static void keepToOneAttempt(DynamoDbAsyncClientBuilder builder) {
      ClientOverrideConfiguration override = builder.overrideConfiguration();
      if (override.retryStrategy().isEmpty()
          && override.retryStrategyConfigurator().isEmpty()
          && override.retryMode().isEmpty()
          && override.retryPolicy().isEmpty()) {
        builder.overrideConfiguration(
            override.toBuilder().retryStrategy(DefaultRetryStrategy.doNotRetry()).build());
      }
    }
  }
}
