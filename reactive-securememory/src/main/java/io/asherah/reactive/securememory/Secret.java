package io.asherah.reactive.securememory;

import java.nio.ByteBuffer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A few bytes that are kept in locked off-heap memory until they are closed.
 *
 * <p><b>Security guarantees.</b> The bytes are never swapped out and are left out of core dumps and
 * of forked processes. While nobody has read them for the factory's access window, the pages that
 * hold them cannot be read or written at all. The program gets copies only, never a view of the
 * locked memory.
 *
 * <p><b>Restrictions.</b> Page protection does not stop a debugger, {@code /proc/<pid>/mem} or root
 * from reading; {@link MemfdSecret} does, though not from making the process run other code. The
 * copy handed to a function lies on the Java heap while the function runs. Which of these the
 * operating system provides: docs/secure-memory.md.
 *
 * <p>Instances are safe for use by many threads.
 */
public interface Secret extends AutoCloseable {

  /**
   * The number of bytes this secret holds.
   *
   * @return the length in bytes, at least 1
   */
  int length();

  /**
   * Applies a function to a copy of the bytes and emits its result, or completes empty where the
   * result is null.
   *
   * <p>Each subscription makes one copy, calls the function once and wipes the copy when the
   * function returns or throws; the function must not keep the array, and what it returns must not
   * read it later: a {@code Mono} that does finds zeros. What the function throws is signalled. A
   * closed secret signals {@link SecretClosedException}; bytes that were read while the secret was
   * being closed are never handed to the function.
   *
   * <p><b>Threads.</b> While the memory is open, everything happens on the subscribing thread,
   * without a lock or a system call. Otherwise the memory is opened and copied on the factory's
   * scheduler and the function runs on its continuation scheduler. Cancelling before the function
   * has started wipes the copy and the function does not run.
   *
   * @param function what to do with the copy
   * @param <R> the type of the result
   * @return the function's result
   */
  <R> Mono<R> withBytes(Function<? super byte[], ? extends @Nullable R> function);

  /**
   * Applies a function to the secret as text and emits its result, or completes empty where the
   * result is null. Like {@link #withBytes} in everything else: the array of characters is wiped
   * when the function returns or throws, and must not be kept or turned into a {@code String}.
   *
   * @param function what to do with the characters
   * @param <R> the type of the result
   * @return the function's result; signals {@link SecureMemoryException} where the bytes are not
   *     UTF-8 (RFC 3629)
   */
  <R> Mono<R> withUtf8Chars(Function<? super char[], ? extends @Nullable R> function);

  /**
   * Emits copies of the bytes piece by piece, for a secret that is too large to be copied at once.
   *
   * <p>Each subscription starts at the first byte. A piece is read when the subscriber asks for it
   * and not before. It is a heap buffer of its own that belongs to the subscriber, who wipes it
   * ({@code Arrays.fill(chunk.array(), (byte) 0)}); one that cancellation keeps from being emitted
   * is wiped here. What an operator downstream discards is the subscriber's: {@code
   * doOnDiscard(ByteBuffer.class, …)}. Where the secret is closed between two pieces, the next one
   * signals {@link SecretClosedException}.
   *
   * <p><b>Threads.</b> Those of {@link #withBytes}, for each piece.
   *
   * @param size the number of bytes of each piece but the last, which may be shorter; at least 1
   * @return the pieces in order
   * @throws IllegalArgumentException if the size is less than 1
   */
  Flux<ByteBuffer> chunks(int size);

  /**
   * Compares the bytes with others in a time that depends on the lengths only, not on where they
   * differ. The array stays the caller's and must not change before the Mono has ended. Threads and
   * errors are those of {@link #withBytes}.
   *
   * @param other what to compare with
   * @return whether all bytes are the same
   */
  Mono<Boolean> contentEquals(byte[] other);

  /**
   * Compares the bytes with those of another secret, as {@link #contentEquals(byte[])} does. A copy
   * of this secret is on the heap until the other one was read, and is wiped then, also after an
   * error or cancellation.
   *
   * @param other what to compare with, of any factory
   * @return whether all bytes are the same; signals {@link SecretClosedException} where one of the
   *     two is closed
   */
  Mono<Boolean> contentEquals(Secret other);

  /**
   * Copies the bytes into a new secret. A copy is on the heap until they are there, and is wiped
   * then, also after an error or cancellation.
   *
   * @param target whose secret the new one is, this secret's factory or another
   * @return the new secret, which belongs to the subscriber; errors and threads are those of {@link
   *     SecretFactory#create}
   */
  Mono<Secret> copyTo(SecretFactory target);

  /**
   * Seals a copy of the bytes; this secret stays as it is. The copy is on the heap until it is
   * sealed, and is wiped then, also after an error or cancellation.
   *
   * @return the enclave; errors and threads are those of {@link SecretFactory#seal}
   */
  Mono<Enclave> seal();

  /**
   * Whether {@link #close()} was called, on this secret or on its factory, or the memory was found
   * corrupt.
   *
   * @return true from the moment no new read can succeed
   */
  boolean isClosed();

  /**
   * Ends this secret. From the return of this call on, no read succeeds; its bytes are wiped on the
   * factory's scheduler without waiting for anybody, and the memory is used again or returned.
   * Calls after the first do nothing. Never blocks. {@link SecretFactory#close()} tells when all
   * memory is gone. A secret that is lost without being closed is wiped when the garbage collector
   * has found it, which is logged once and counted as {@link SecureMemoryStats#leakedSecrets()}.
   */
  @Override
  void close();
}
