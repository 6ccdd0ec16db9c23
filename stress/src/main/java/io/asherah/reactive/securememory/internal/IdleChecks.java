package io.asherah.reactive.securememory.internal;

import java.util.concurrent.TimeUnit;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/** A timer on which nothing becomes due: whoever caused a task may run it. */
final class IdleChecks implements Scheduler {
  private static final ThreadLocal<Runnable> last = new ThreadLocal<>();

  /** The task that the caller has caused last. */
  static Runnable lastCaused() {
    return last.get();
  }

  @Override
  public Disposable schedule(Runnable task, long delay, TimeUnit unit) {
    last.set(task);
    return Disposables.disposed();
  }

  @Override
  public Disposable schedule(Runnable task) {
    throw new UnsupportedOperationException("regions schedule on a timer with a delay");
  }

  @Override
  public Worker createWorker() {
    return Schedulers.immediate().createWorker();
  }
}
