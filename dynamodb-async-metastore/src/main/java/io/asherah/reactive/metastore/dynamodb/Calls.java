package io.asherah.reactive.metastore.dynamodb;

import io.asherah.reactive.MetastoreException;
import java.time.Duration;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import software.amazon.awssdk.awscore.AwsRequestOverrideConfiguration;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.DescribeTableRequest;
import software.amazon.awssdk.services.dynamodb.model.MultiRegionConsistency;
import software.amazon.awssdk.services.dynamodb.model.TableDescription;

/**
 * Calls to the client, each one attempt.
 *
 * <p>The client is called on {@code boundedElastic}, because it resolves credentials on the calling
 * thread and waits for them, also where their provider is asynchronous. A call that was begun is
 * never cancelled; whoever cancels stops waiting. What comes too late is a value, so that no error
 * is reported that nobody waits for.
 */
final class Calls {
  /** So that it is the limit here that ends a call, which knows what that means. */
  private static final Duration GRACE = Duration.ofSeconds(2);

  private static final Logger log = LoggerFactory.getLogger(Calls.class);

  final String table;

  private final Client client;
  private final Duration timeout;
  private final boolean hasSuffix;
  private final Scheduler blocking = Schedulers.boundedElastic();
  private final AtomicBoolean isReplicationChecked = new AtomicBoolean();

  Calls(Client client, String table, Duration timeout, boolean hasSuffix) {
    this.client = client;
    this.table = table;
    this.timeout = timeout;
    this.hasSuffix = hasSuffix;
  }

  /** Builds the client and gets credentials. */
  Mono<Void> warmUp() {
    return start("connect").then();
  }

  /** Closes the client, unless it is the user's, whoever waits for it. */
  Mono<Void> close() {
    return Mono.fromFuture(
        () -> CompletableFuture.runAsync(client::close, blocking::schedule), true);
  }

  /** What is asked for, by the name that a policy allows it under. */
  enum Action {
    GET_ITEM("GetItem", false),
    QUERY("Query", false),
    SCAN("Scan", false),
    PUT_ITEM("PutItem", true),
    UPDATE_ITEM("UpdateItem", true),
    DELETE_ITEM("DeleteItem", true),
    DESCRIBE_TABLE("DescribeTable", false),
    CREATE_TABLE("CreateTable", true);

    final String permission;
    private final boolean isChange;

    Action(String name, boolean isChange) {
      this.permission = "dynamodb:" + name;
      this.isChange = isChange;
    }
  }

  /** A request to make of a client. */
  interface Request<R> {
    CompletableFuture<R> send(
        DynamoDbAsyncClient client, AwsRequestOverrideConfiguration configuration);
  }

  /**
   * Makes one call.
   *
   * @param what for messages: "load a key"
   * @param isWhole whether an answer has what DynamoDB always answers; else it is of somebody else
   *     on the way, and neither an absence nor a success
   */
  <R> Mono<R> call(String what, Action action, Request<R> request, Predicate<R> isWhole) {
    return start(what)
        .flatMap(
            ready ->
                detached(
                    what,
                    action,
                    () -> request.send(ready.client(), ready.oneCall(timeout.plus(GRACE)))))
        .flatMap(
            response ->
                isWhole.test(response)
                    ? Mono.just(response)
                    : Mono.error(
                        () ->
                            failed(
                                what,
                                action,
                                new NoSuchElementException("a member of the answer is missing"),
                                Failure.MALFORMED)));
  }

  private Mono<Client.Ready> start(String what) {
    return Mono.defer(client::ready)
        .timeout(Client.PATIENCE, Mono.error(() -> noCredentialsInTime(what)))
        .onErrorMap(e -> noCredentials(what, Failure.unwrapped(e)))
        .doOnNext(this::checkReplication);
  }

  private <R> Mono<R> detached(
      String what, Action action, Supplier<? extends CompletableFuture<R>> begin) {
    return Mono.defer(
        () -> {
          AtomicBoolean isAbandoned = new AtomicBoolean();
          Mono<Answer<R>> answer =
              Mono.fromFuture(
                  () ->
                      CompletableFuture.supplyAsync(
                              () ->
                                  isAbandoned.get()
                                      ? CompletableFuture.<R>failedFuture(new TimeoutException())
                                      : begin.get(),
                              blocking::schedule)
                          .thenCompose(Function.identity())
                          .handle(
                              (response, e) ->
                                  new Answer<>(
                                      Optional.ofNullable(response), Optional.ofNullable(e))),
                  true);
          return answer
              .doOnCancel(() -> isAbandoned.set(true))
              .timeout(timeout, Mono.error(() -> late(what, action)))
              .onErrorMap(RejectedExecutionException.class, e -> failed(what, action, e))
              .flatMap(answered -> toMono(what, action, answered));
        });
  }

  /** What a call came to. */
  private record Answer<R>(Optional<R> response, Optional<Throwable> error) {}

  private <R> Mono<R> toMono(String what, Action action, Answer<R> answer) {
    return answer
        .error
        .<Mono<R>>map(e -> Mono.error(failed(what, action, Failure.unwrapped(e))))
        // An empty answer would be taken for an absent key.
        .orElseGet(
            () ->
                answer
                    .response
                    .map(Mono::just)
                    .orElseGet(() -> Mono.error(failed(what, action, new NullPointerException()))));
  }

  // Errors. The message of the SDK stays with the cause: it may quote an id, and with it a
  // partition.

  private MetastoreException failed(String what, Action action, Throwable e) {
    Failure failure =
        e instanceof RejectedExecutionException || e instanceof TimeoutException
            ? Failure.PASSING
            : Failure.of(e);
    return failed(what, action, e, failure);
  }

  private MetastoreException failed(String what, Action action, Throwable e, Failure failure) {
    return new MetastoreException(
        "DynamoDB failed to %s in the table %s: %s; %s"
            .formatted(what, table, Failure.codeOf(e), failure.fix(action)),
        e,
        failure.isRetryable);
  }

  private static MetastoreException noCredentials(String what, Throwable e) {
    if (e instanceof MetastoreException known) {
      return known;
    }
    return new MetastoreException(
        ("there were no credentials for DynamoDB to %s: %s; look at the cause, and give the service"
                + " a role, a profile or a credentials provider")
            .formatted(what, Failure.codeOf(e)),
        e,
        Failure.mayPass(e));
  }

  private static MetastoreException noCredentialsInTime(String what) {
    String message =
        "there were no credentials for DynamoDB to %s within %d ms; look at their provider"
            .formatted(what, Client.PATIENCE.toMillis());
    return new MetastoreException(message, new TimeoutException(message), true);
  }

  private MetastoreException late(String what, Action action) {
    String message =
        "DynamoDB did not %s in the table %s within %d ms; %s"
            .formatted(
                what,
                table,
                timeout.toMillis(),
                action.isChange ? "whether it happened is not known" : "try again later");
    return new MetastoreException(message, new TimeoutException(message), true);
  }

  // Tables that are replicated.

  /**
   * Asked once, while nobody waits: to be told is not worth a failure, nor a permission. On a
   * thread of its own, since the call may wait.
   */
  private void checkReplication(Client.Ready ready) {
    if (hasSuffix || !isReplicationChecked.compareAndSet(false, true)) {
      return;
    }
    try {
      blocking.schedule(() -> describe(ready));
    } catch (RejectedExecutionException e) {
      notKnown(e);
    }
  }

  private void describe(Client.Ready ready) {
    try {
      ready
          .client()
          .describeTable(
              DescribeTableRequest.builder()
                  .tableName(table)
                  .overrideConfiguration(ready.oneCall(timeout))
                  .build())
          .whenComplete(
              (described, e) -> {
                if (e == null) {
                  warnIfReplicated(described.table());
                } else {
                  notKnown(Failure.unwrapped(e));
                }
              });
    } catch (RuntimeException e) {
      notKnown(e);
    }
  }

  private void warnIfReplicated(TableDescription description) {
    if (description.hasReplicas()
        && !description.replicas().isEmpty()
        && description.multiRegionConsistency() != MultiRegionConsistency.STRONG) {
      log.warn(
          "The table {} is replicated to other regions, and this metastore has no keySuffix: where"
              + " two regions make a key at the same time, one overwrites that of the other, and"
              + " what was sealed under it is lost. Set keySuffix to the name of the region",
          table);
    }
  }

  private void notKnown(Throwable e) {
    log.debug("Whether the table {} is replicated is not known", table, e);
  }
}
