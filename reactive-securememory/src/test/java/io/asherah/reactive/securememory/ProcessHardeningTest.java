package io.asherah.reactive.securememory;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.internal.platform.NativeProcess;
import io.asherah.reactive.testsupport.Await;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

class ProcessHardeningTest {
  private final List<String> calls = new CopyOnWriteArrayList<>();
  private final ProcessHardening hardening =
      new ProcessHardening(
          new NativeProcess() {
            @Override
            public void forbidCoreDumps() {
              calls.add("dumps on " + Thread.currentThread().getName());
            }

            @Override
            public void forbidInspection() {
              throw new UnsupportedPlatformException("not here", null);
            }
          });

  @Test
  void assembly_doesNothing() {
    hardening.coreDumpsForbidden();
    hardening.inspectionForbidden();

    assertThat(calls).isEmpty();
  }

  @Test
  void eachSubscription_callsOnceOnBoundedElastic() {
    Mono<Void> forbidden = hardening.coreDumpsForbidden();

    for (int i = 1; i <= 2; i++) {
      StepVerifier.create(forbidden).expectComplete().verify(Await.TIMEOUT);
      assertThat(calls).hasSize(i).allMatch(call -> call.startsWith("dumps on boundedElastic-"));
    }
  }

  @Test
  void platformThatCannot_isSignalled() {
    StepVerifier.create(hardening.inspectionForbidden())
        .expectError(UnsupportedPlatformException.class)
        .verify(Await.TIMEOUT);
  }
}
