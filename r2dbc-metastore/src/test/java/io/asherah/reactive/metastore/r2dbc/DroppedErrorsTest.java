package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.testsupport.Await;
import io.r2dbc.spi.Connection;
import io.r2dbc.spi.ConnectionFactory;
import io.r2dbc.spi.ConnectionFactoryMetadata;
import java.time.Duration;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.reactivestreams.Publisher;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Mono;
import reactor.core.publisher.MonoSink;
import reactor.core.scheduler.Schedulers;
import reactor.util.context.Context;

class DroppedErrorsTest {
  private static final Duration LONG = Duration.ofMinutes(1);

  /** Dropped means logged as an error, with the id that the message of a driver quotes. */
  @Test
  void errorThatMeetsACancellation_isNotDropped() {
    Queue<Throwable> dropped = new ConcurrentLinkedQueue<>();
    AtomicReference<MonoSink<Connection>> driver = new AtomicReference<>();
    Connections connections =
        new Connections(
            factory(Mono.create(driver::set)), SqlDialect.postgreSql(), LONG, LONG, LONG, null);
    int races = 20_000;
    AtomicInteger ends = new AtomicInteger();
    for (int i = 0; i < races; i++) {
      AtomicReference<Subscription> subscription = new AtomicReference<>();
      connections
          .<Integer>use("race", connection -> Mono.never())
          .subscribe(new Deaf(subscription, dropped));
      MonoSink<Connection> failing = Objects.requireNonNull(driver.get());
      Schedulers.parallel()
          .schedule(
              () -> {
                failing.error(new IllegalArgumentException("of a driver"));
                ends.incrementAndGet();
              });
      int before = i;
      while (ends.get() < before) {
        Thread.onSpinWait();
      }
      Objects.requireNonNull(subscription.get()).cancel();
    }

    Await.until(() -> ends.get() == races);
    assertThat(dropped).isEmpty();
  }

  private static ConnectionFactory factory(Publisher<Connection> create) {
    return new ConnectionFactory() {
      @Override
      public Publisher<Connection> create() {
        return create;
      }

      @Override
      public ConnectionFactoryMetadata getMetadata() {
        return () -> "fake";
      }
    };
  }

  /** Takes no notice of what comes after it has cancelled. */
  private record Deaf(AtomicReference<Subscription> subscription, Queue<Throwable> dropped)
      implements CoreSubscriber<Integer> {
    @Override
    public Context currentContext() {
      Consumer<Throwable> hook = dropped::add;
      return Context.of("reactor.onErrorDropped.local", hook);
    }

    @Override
    public void onSubscribe(Subscription upstream) {
      subscription.set(upstream);
      upstream.request(1);
    }

    @Override
    public void onNext(Integer next) {}

    @Override
    public void onError(Throwable e) {}

    @Override
    public void onComplete() {}
  }
}
