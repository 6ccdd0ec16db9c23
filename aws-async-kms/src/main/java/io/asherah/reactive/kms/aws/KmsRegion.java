package io.asherah.reactive.kms.aws;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.spi.CryptoKey;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.services.kms.model.DataKeySpec;
import software.amazon.awssdk.services.kms.model.DecryptRequest;
import software.amazon.awssdk.services.kms.model.EncryptRequest;
import software.amazon.awssdk.services.kms.model.GenerateDataKeyRequest;

/**
 * One region and its master key.
 *
 * <p>The client is called on {@code boundedElastic}, because it resolves credentials on the calling
 * thread and waits for them, also where their provider is asynchronous. A call that was begun is
 * never cancelled: the SDK would close the connection, and the data key must stay until the call
 * has ended. Whoever cancels stops waiting, and the answer is wiped when it comes.
 */
final class KmsRegion {
  /** So that an answer that was too late still comes here, and is wiped. */
  private static final Duration GRACE = Duration.ofSeconds(2);

  final String name;
  final String keyArn;

  private final KmsClient client;
  private final Duration timeout;
  private final Scheduler blocking = Schedulers.boundedElastic();

  KmsRegion(String name, String keyArn, KmsClient client, Duration timeout) {
    this.name = name;
    this.keyArn = keyArn;
    this.client = client;
    this.timeout = timeout;
  }

  /** Builds the client and gets credentials, before somebody waits for a call. */
  Mono<Answer<Boolean>> warmUp() {
    return ready(Mono.defer(client::ready), KmsClient.PATIENCE)
        .map(answer -> answer.map(any -> true));
  }

  /** Begins to build the client and to get credentials, for a call that is made soon. */
  Mono<KmsClient.Ready> prepare() {
    return client.ready();
  }

  /** Has a data key made; answers how it is wrapped. */
  Mono<Answer<byte[]>> generateDataKey(
      Mono<KmsClient.Ready> prepared, DataKey dataKey, boolean isLast) {
    return call(
        "GenerateDataKey",
        dataKey,
        ready(prepared, patience(isLast)),
        ready ->
            ready
                .client()
                .generateDataKey(
                    GenerateDataKeyRequest.builder()
                        .keyId(keyArn)
                        .keySpec(DataKeySpec.AES_256)
                        .overrideConfiguration(ready.oneCall(timeout.plus(GRACE)))
                        .build()),
        response -> {
          fill(dataKey, "GenerateDataKey", response.plaintext());
          return wrapped("GenerateDataKey", response.ciphertextBlob());
        });
  }

  /** Has a data key wrapped that another region made. */
  Mono<Answer<byte[]>> encrypt(Mono<KmsClient.Ready> prepared, DataKey dataKey) {
    return call(
        "Encrypt",
        dataKey,
        ready(prepared, patience(false)),
        ready ->
            ready
                .client()
                .encrypt(
                    EncryptRequest.builder()
                        .keyId(keyArn)
                        .plaintext(SdkBytes.fromByteArrayUnsafe(dataKey.plaintext()))
                        .overrideConfiguration(ready.oneCall(timeout.plus(GRACE)))
                        .build()),
        response -> wrapped("Encrypt", response.ciphertextBlob()));
  }

  /**
   * Has a data key unwrapped.
   *
   * @param keyId the key that must have wrapped it, or null for any that the caller may use
   */
  Mono<Answer<Boolean>> decrypt(
      DataKey dataKey, byte[] wrapped, @Nullable String keyId, boolean isLast) {
    return call(
        "Decrypt",
        dataKey,
        ready(Mono.defer(client::ready), patience(isLast)),
        ready ->
            ready
                .client()
                .decrypt(
                    DecryptRequest.builder()
                        .keyId(keyId)
                        .ciphertextBlob(SdkBytes.fromByteArrayUnsafe(wrapped))
                        .overrideConfiguration(ready.oneCall(timeout.plus(GRACE)))
                        .build()),
        response -> {
          fill(dataKey, "Decrypt", response.plaintext());
          return true;
        });
  }

  /** Who is the last waits longer: credentials that come late are better than none. */
  private Duration patience(boolean isLast) {
    return isLast && timeout.compareTo(KmsClient.PATIENCE) < 0 ? KmsClient.PATIENCE : timeout;
  }

  private void fill(DataKey dataKey, String operation, @Nullable SdkBytes plaintext) {
    if (plaintext == null) {
      throw KmsErrors.malformed(name, operation);
    }
    // Not a copy, so that it is the array of the response that is wiped.
    byte[] bytes = plaintext.asByteArrayUnsafe();
    dataKey.fill(bytes);
    if (bytes.length != CryptoKey.LENGTH) {
      throw KmsErrors.wrongKey(name, operation, bytes.length);
    }
  }

  private byte[] wrapped(String operation, @Nullable SdkBytes blob) {
    if (blob == null || blob.asByteArrayUnsafe().length == 0) {
      throw KmsErrors.malformed(name, operation);
    }
    return blob.asByteArray();
  }

  /** Closes the client, unless it is the user's, whoever waits for it. */
  Mono<Void> close() {
    return Mono.fromFuture(
        () -> CompletableFuture.runAsync(client::close, blocking::schedule), true);
  }

  // Calls.

  /** Makes one call; the data key is retained until it has ended, whoever waits for it. */
  private <R, T> Mono<Answer<T>> call(
      String operation,
      DataKey dataKey,
      Mono<Answer<KmsClient.Ready>> ready,
      Function<KmsClient.Ready, CompletableFuture<R>> request,
      Function<R, T> read) {
    return ready.flatMap(
        answer ->
            answer.isFailure()
                ? Mono.just(answer.<T>asFailure())
                : begun(operation, dataKey, answer.value(), request, read));
  }

  private Mono<Answer<KmsClient.Ready>> ready(Mono<KmsClient.Ready> begun, Duration patience) {
    return limited(
        "the request for credentials",
        patience,
        () -> KmsErrors.notReadyInTime(name, patience),
        begun
            .map(Answer::of)
            .onErrorResume(e -> Mono.just(Answer.failed(KmsErrors.notReady(name, e)))));
  }

  /** Begins a call on a thread that may wait, and neither interrupts nor cancels it. */
  private <R, T> Mono<Answer<T>> begun(
      String operation,
      DataKey dataKey,
      KmsClient.Ready ready,
      Function<KmsClient.Ready, CompletableFuture<R>> request,
      Function<R, T> read) {
    AtomicBoolean isAbandoned = new AtomicBoolean();
    return limited(
        operation,
        timeout,
        () -> KmsErrors.late(name, operation, timeout),
        Mono.fromFuture(
                () ->
                    CompletableFuture.supplyAsync(
                            () ->
                                isAbandoned.get() || !dataKey.retain()
                                    ? CompletableFuture.completedFuture(Answer.<T>cancelled())
                                    : ask(operation, dataKey, ready, request, read),
                            blocking::schedule)
                        .thenCompose(Function.identity()),
                true)
            .doOnCancel(() -> isAbandoned.set(true)));
  }

  /** Calls with a data key that is retained. */
  private <R, T> CompletableFuture<Answer<T>> ask(
      String operation,
      DataKey dataKey,
      KmsClient.Ready ready,
      Function<KmsClient.Ready, CompletableFuture<R>> request,
      Function<R, T> read) {
    CompletableFuture<R> asked;
    try {
      asked = Objects.requireNonNull(request.apply(ready), "what the client returned");
    } catch (RuntimeException | Error e) {
      asked = CompletableFuture.failedFuture(e);
    }
    return asked.handle(
        (response, e) -> {
          try {
            return e == null
                ? Answer.of(response).map(read)
                : Answer.<T>failed(KmsErrors.of(name, operation, e));
          } catch (RuntimeException unexpected) {
            return Answer.failed(KmsErrors.malformed(name, operation));
          } finally {
            dataKey.release();
          }
        });
  }

  /** Waits for an answer, for a while, and goes on where ciphers may work and logs be written. */
  private <T> Mono<Answer<T>> limited(
      String what, Duration limit, Supplier<KmsException> late, Mono<Answer<T>> answer) {
    return answer
        .timeout(limit, Mono.fromSupplier(() -> Answer.failed(late.get())))
        // What it loses when it is cancelled has no plaintext in it.
        .publishOn(blocking)
        .onErrorResume(
            RejectedExecutionException.class,
            e -> Mono.just(Answer.failed(KmsErrors.overloaded(name, what, e))));
  }
}
