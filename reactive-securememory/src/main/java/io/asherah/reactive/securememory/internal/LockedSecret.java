package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.Enclave;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecretFactory;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.MonoSink;

/** A secret in a slot of a {@link LockedRegion}. */
final class LockedSecret implements Secret {
  private final LockedSecretFactory factory;
  final Slot slot;

  LockedSecret(LockedSecretFactory factory, Slot slot) {
    this.factory = factory;
    this.slot = slot;
  }

  @Override
  public int length() {
    return slot.length;
  }

  @Override
  public <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function) {
    Objects.requireNonNull(function, "function");
    return new SecretRead<>(this, function);
  }

  <R> @Nullable R use(byte[] copy, Function<? super byte[], ? extends @Nullable R> function) {
    try {
      return function.apply(copy);
    } finally {
      Arrays.fill(copy, (byte) 0);
    }
  }

  boolean readIfOpen(int from, byte[] copy) {
    try {
      return slot.region.read(slot, from, copy);
    } finally {
      // The owner may have no other use for this object; it must not count as lost meanwhile.
      Reference.reachabilityFence(this);
    }
  }

  <R> Mono<R> coldRead(
      int from, int length, Function<? super byte[], ? extends @Nullable R> receiver) {
    return Handover.receive(
        handover -> slot.region.coldRead(slot, from, length, handover),
        LockedSecret::wipe,
        factory.continuationScheduler(),
        copy -> {
          try {
            return receiver.apply(copy);
          } finally {
            Reference.reachabilityFence(this);
          }
        });
  }

  /** For the scheduler, which may not subscribe. */
  void read(Receiver<byte[]> receiver) {
    byte[] copy = new byte[slot.length];
    boolean done;
    try {
      done = readIfOpen(0, copy);
    } catch (SecretClosedException e) {
      receiver.fail(e);
      return;
    }
    if (done) {
      receiver.put(copy);
    } else {
      slot.region.coldRead(slot, 0, slot.length, receiver);
    }
  }

  @Override
  public <R> Mono<R> withUtf8Chars(Function<? super char[], ? extends @Nullable R> function) {
    Objects.requireNonNull(function, "function");
    return withBytes(
        bytes -> {
          char[] chars = Utf8.decode(bytes);
          try {
            return function.apply(chars);
          } finally {
            Arrays.fill(chars, '\0');
          }
        });
  }

  @Override
  public Flux<ByteBuffer> chunks(int size) {
    if (size < 1) {
      throw new IllegalArgumentException("a chunk needs at least one byte, not " + size);
    }
    int count = (slot.length - 1) / size + 1;
    return Flux.range(0, count)
        .concatMap(i -> chunk(i * size, Math.min(size, slot.length - i * size)), 0)
        .doOnDiscard(ByteBuffer.class, chunk -> wipe(chunk.array()));
  }

  /** Reads nothing before it is asked for it. */
  private Mono<ByteBuffer> chunk(int from, int length) {
    Mono<ByteBuffer> ifOpen =
        Mono.create(
            sink -> {
              AtomicBoolean asked = new AtomicBoolean();
              sink.onRequest(
                  n -> {
                    if (asked.compareAndSet(false, true)) {
                      emitIfOpen(from, length, sink);
                    }
                  });
            });
    return ifOpen.switchIfEmpty(coldRead(from, length, ByteBuffer::wrap));
  }

  private void emitIfOpen(int from, int length, MonoSink<ByteBuffer> sink) {
    byte[] copy = new byte[length];
    boolean open;
    try {
      open = readIfOpen(from, copy);
    } catch (RuntimeException e) {
      sink.error(e);
      return;
    }
    if (open) {
      sink.success(ByteBuffer.wrap(copy));
    } else {
      sink.success();
    }
  }

  @Override
  public Mono<Boolean> contentEquals(byte[] other) {
    Objects.requireNonNull(other, "other");
    return withBytes(bytes -> MessageDigest.isEqual(bytes, other));
  }

  @Override
  public Mono<Boolean> contentEquals(Secret other) {
    Objects.requireNonNull(other, "other");
    return withCopy(other::contentEquals);
  }

  @Override
  public Mono<Secret> copyTo(SecretFactory target) {
    Objects.requireNonNull(target, "target");
    return withCopy(target::create);
  }

  @Override
  public Mono<Enclave> seal() {
    return withCopy(factory::seal);
  }

  /**
   * Gives a copy to something that takes more than one step. Whoever cancels may do so while the
   * copy is made, so it is wiped by the one to whom it was passed, and never before it is complete.
   */
  private <R> Mono<R> withCopy(Function<byte[], Mono<R>> next) {
    return withBytes(byte[]::clone)
        .doOnDiscard(byte[].class, LockedSecret::wipe)
        .flatMap(copy -> Mono.using(() -> copy, next, LockedSecret::wipe));
  }

  private static void wipe(byte[] copy) {
    Arrays.fill(copy, (byte) 0);
  }

  @Override
  public boolean isClosed() {
    return slot.hasEnded();
  }

  @Override
  public void close() {
    try {
      factory.end(slot);
    } finally {
      // Until it has ended: this may be the last use of this object, and it is not lost.
      Reference.reachabilityFence(this);
    }
  }

  @Override
  public String toString() {
    return "Secret[****]";
  }
}
