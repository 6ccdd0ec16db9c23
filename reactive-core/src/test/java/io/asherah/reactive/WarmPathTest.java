package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.spi.MetricsRecorder;
import io.asherah.reactive.testsupport.Await;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.LongSupplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
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

      scenario.pass(Duration.ofMillis(1_251));
      Await.until(() -> scenario.secrets.stats().openRegions() == 0);
      assertThat(get(session.decrypt(record))).isEqualTo(payload);
      assertThat(scenario.secrets.stats().openRegions()).isOne();
    }
  }

  /** Metrics are what one would read a clock for. */
  @Test
  void withoutARecorder_warmOperationsReadNoClockForIt() {
    long without = clockReads(options -> options);
    long with = clockReads(options -> options.metricsRecorder(new MetricsRecorder() {}));

    // The wall clock for expiry, and for the time of the record; the ticker twice for the age of
    // the
    // keys. None for the access window of their memory.
    assertThat(without).isEqualTo(4L * OPERATIONS);
    assertThat(with).isEqualTo(without + 2L * OPERATIONS);
  }

  private static long clockReads(UnaryOperator<SessionFactory.Builder> options) {
    AtomicLong reads = new AtomicLong();
    // Others look from time to time whether a region of memory was idle for long enough.
    Thread caller = Thread.currentThread();
    Runnable read =
        () -> {
          if (Thread.currentThread() == caller) {
            reads.incrementAndGet();
          }
        };
    LongSupplier ticker =
        () -> {
          read.run();
          return 0;
        };
    Clock clock =
        new Clock() {
          @Override
          public ZoneId getZone() {
            return ZoneOffset.UTC;
          }

          @Override
          public Clock withZone(@Nullable ZoneId zone) {
            return this;
          }

          @Override
          public Instant instant() {
            read.run();
            return Scenario.START;
          }
        };
    SessionFactory factory =
        options
            .apply(
                SessionFactory.builder("product", "service")
                    .metastore(new InMemoryMetastore())
                    .keyManagementService(StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY))
                    .clock(clock)
                    .ticker(ticker))
            .build();
    Session session = factory.session("partition");
    get(session.encrypt(utf8("payload")));
    reads.set(0);
    for (int i = 0; i < OPERATIONS; i++) {
      get(session.encrypt(utf8("payload")));
    }
    long counted = reads.get();
    factory.close().block(Await.TIMEOUT);
    return counted;
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
