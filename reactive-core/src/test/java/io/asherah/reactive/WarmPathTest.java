package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.NonBlocking;
import reactor.core.scheduler.Schedulers;

/** What a warm operation costs: no native call, no hop, no call to the outside. */
class WarmPathTest {
  private static final int OPERATIONS = 10_000;

  @Test
  void warmOperations_stayOnTheEventLoop_withoutNativeCallHopOrIo() {
    try (Scenario scenario = new Scenario()) {
      Session session = scenario.session();
      byte[] payload = utf8("payload");
      DataRowRecord record = get(session.encrypt(payload));
      byte[] json = get(session.encryptToJson(payload));
      scenario.calls.take();
      AtomicInteger hops = new AtomicInteger();

      AtomicInteger strays =
          get(
              Mono.fromCallable(
                      () -> {
                        Thread eventLoop = Thread.currentThread();
                        assertThat(eventLoop).isInstanceOf(NonBlocking.class);
                        long nativeCalls = scenario.nativeCalls.get();
                        Schedulers.onScheduleHook(
                            "count",
                            task -> {
                              // Other tests of this JVM are over, but their timers may not be.
                              if (Thread.currentThread() == eventLoop) {
                                hops.incrementAndGet();
                              }
                              return task;
                            });
                        AtomicInteger elsewhere = new AtomicInteger();
                        for (int i = 0; i < OPERATIONS; i++) {
                          expectHere(session.encrypt(payload), elsewhere);
                          expectHere(session.encryptToJson(payload), elsewhere);
                          expectHere(session.decrypt(record), elsewhere);
                          expectHere(session.decryptJson(json), elsewhere);
                        }
                        Schedulers.resetOnScheduleHook("count");
                        assertThat(scenario.nativeCalls.get()).isEqualTo(nativeCalls);
                        return elsewhere;
                      })
                  .subscribeOn(Schedulers.parallel()));

      assertThat(strays.get()).isZero();
      assertThat(hops.get()).isZero();
      assertThat(scenario.calls.take()).isEmpty();

      scenario.pass(Duration.ofSeconds(1));
      Await.until(() -> scenario.secrets.stats().openRegions() == 0);
      assertThat(get(session.decrypt(record))).isEqualTo(payload);
      assertThat(scenario.secrets.stats().openRegions()).isOne();
    }
  }

  private static void expectHere(Mono<?> operation, AtomicInteger elsewhere) {
    AtomicReference<Thread> completedOn = new AtomicReference<>();
    operation.subscribe(result -> completedOn.set(Thread.currentThread()));
    // Completed before subscribe() returned, and on this thread.
    if (completedOn.get() != Thread.currentThread()) {
      elsewhere.incrementAndGet();
    }
  }
}
