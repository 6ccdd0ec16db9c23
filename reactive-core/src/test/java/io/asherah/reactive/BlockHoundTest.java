package io.asherah.reactive;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import java.security.SecureRandom;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;
import reactor.blockhound.BlockingOperationError;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

/**
 * Proves that BlockHound watches this JVM, so that the silence of the other tests means something.
 */
class BlockHoundTest {

  @Test
  void sleep_onAnEventLoop_isDetected() {
    assertBlocks(
        () -> {
          Thread.sleep(1);
          return 1;
        });
  }

  @Test
  void mlock_onAnEventLoop_isDetected() {
    NativeMemory memory = Platforms.memory(false);
    assertBlocks(() -> memory.lock(0, 0));
  }

  @Test
  void platformSecureRandom_onAnEventLoop_isDetected() {
    SecureRandom random = new SecureRandom();
    assertBlocks(
        () -> {
          // More than it may have read ahead.
          random.nextBytes(new byte[1 << 20]);
          return random;
        });
  }

  private static void assertBlocks(Callable<Object> call) {
    StepVerifier.create(Mono.fromCallable(call).subscribeOn(Schedulers.parallel()))
        .verifyErrorSatisfies(e -> assertThat(e).isInstanceOf(BlockingOperationError.class));
  }
}
