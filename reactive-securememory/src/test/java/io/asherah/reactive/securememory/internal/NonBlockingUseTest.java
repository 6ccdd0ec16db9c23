package io.asherah.reactive.securememory.internal;

import static io.asherah.reactive.securememory.internal.Samples.bytes;
import static io.asherah.reactive.securememory.internal.Samples.create;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.Enclave;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.internal.Samples.Reads;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

/** Every operation on an event loop, where BlockHound fails what blocks. */
class NonBlockingUseTest {

  @ParameterizedTest
  @EnumSource(Reads.class)
  void noOperation_blocksTheEventLoop(Reads reads) {
    try (Memory memory = reads.memory();
        Memory elsewhere = reads.memory()) {
      Secret text = create(memory, new byte[] {'a', (byte) 0xc3, (byte) 0xa4});
      Secret other = create(elsewhere, bytes(3));
      Map<String, Mono<?>> operations = new LinkedHashMap<>();
      operations.put("create", memory.factory.create(bytes(32)).doOnNext(Secret::close));
      operations.put(
          "createUtf8", memory.factory.createUtf8(new char[] {'a'}).doOnNext(Secret::close));
      operations.put("createRandom", memory.factory.createRandom(32).doOnNext(Secret::close));
      operations.put("withBytes", text.withBytes(copy -> copy.length));
      operations.put("SecretRead", new SecretRead<>((LockedSecret) text, copy -> copy.length));
      operations.put("withUtf8Chars", text.withUtf8Chars(chars -> chars.length));
      operations.put("chunks", text.chunks(1).count());
      operations.put("contentEquals(byte[])", text.contentEquals(bytes(3)));
      operations.put("contentEquals(Secret)", text.contentEquals(other));
      operations.put("copyTo", text.copyTo(elsewhere.factory).doOnNext(Secret::close));
      operations.put("seal(byte[])", memory.factory.seal(bytes(32)));
      operations.put("seal", text.seal());
      operations.put("open", text.seal().flatMap(Enclave::open).doOnNext(Secret::close));

      operations.forEach(
          (name, operation) -> {
            reads.prepare(memory);
            reads.prepare(elsewhere);
            StepVerifier.create(operation.subscribeOn(Schedulers.parallel()))
                .as(name)
                .expectNextCount(1)
                .verifyComplete();
          });
      Mono<Boolean> closing = Mono.fromRunnable(text::close).thenReturn(true);
      StepVerifier.create(closing.subscribeOn(Schedulers.parallel()))
          .expectNext(true)
          .verifyComplete();
      assertThat(text.isClosed()).isTrue();
      StepVerifier.create(memory.factory.close().subscribeOn(Schedulers.parallel()))
          .verifyComplete();
    }
  }
}
