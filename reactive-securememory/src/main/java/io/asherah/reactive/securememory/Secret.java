package io.asherah.reactive.securememory;

import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A few bytes that are kept in locked off-heap memory until they are closed.
 *
 * <p><b>Security guarantees.</b> The bytes are never swapped out and are left out of core dumps and
 * of forked processes. While nobody has read them for the factory's access window, the pages that
 * hold them cannot be read or written at all. The program gets copies only, never a view of the
 * locked memory.
 *
 * <p><b>Restrictions.</b> Page protection does not stop a debugger, {@code /proc/<pid>/mem} or
 * root. The copy handed to a function lies on the Java heap while the function runs.
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
   * function returns or throws; the function must not keep the array. What the function throws is
   * signalled. A closed secret signals {@link SecretClosedException}; bytes that were read while
   * the secret was being closed are never handed to the function.
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
   * Whether {@link #close()} was called, on this secret or on its factory.
   *
   * @return true from the moment no new read can succeed
   */
  boolean isClosed();

  /**
   * Ends this secret. From the return of this call on, no read succeeds; the memory is wiped,
   * unlocked and returned on the factory's scheduler without waiting for anybody. Calls after the
   * first do nothing. Never blocks. {@link SecretFactory#close()} tells when all memory is gone.
   */
  @Override
  void close();
}
