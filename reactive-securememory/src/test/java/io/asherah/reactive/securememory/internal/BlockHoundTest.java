package io.asherah.reactive.securememory.internal;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import io.asherah.reactive.testsupport.Await;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import reactor.blockhound.BlockingOperationError;
import reactor.core.Exceptions;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Proves that BlockHound watches this JVM, so that the silence of the other tests means something.
 */
class BlockHoundTest {

  @Test
  void sleep_onAnEventLoop_isDetected() {
    assertBlocks(() -> Thread.sleep(1));
  }

  @Test
  void park_onAnEventLoop_isDetected() {
    assertBlocks(() -> LockSupport.parkNanos(1));
  }

  @Test
  void mlock_onAnEventLoop_isDetected() {
    NativeMemory memory = Platforms.memory(false);
    assertBlocks(() -> memory.lock(0, 0));
  }

  @Test
  void mprotect_onAnEventLoop_isDetected() {
    NativeMemory memory = Platforms.memory(false);
    assertBlocks(() -> memory.protect(0, 0, NativeMemory.Access.NONE));
  }

  private interface Blocking {
    void run() throws Exception;
  }

  private static void assertBlocks(Blocking call) {
    Mono<Object> onEventLoop =
        Mono.fromCallable(
                () -> {
                  call.run();
                  return new Object();
                })
            .subscribeOn(Schedulers.parallel());
    assertThatThrownBy(() -> onEventLoop.block(Await.TIMEOUT))
        .satisfies(
            e ->
                org.assertj.core.api.Assertions.assertThat(Exceptions.unwrap(e))
                    .isInstanceOf(BlockingOperationError.class));
  }
}
