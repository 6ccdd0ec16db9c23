package io.asherah.reactive.testaws;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/** Threads that may block and do not keep the JVM alive. */
final class Daemons {
  private static final AtomicInteger THREADS = new AtomicInteger();

  static final ExecutorService EXECUTOR =
      Executors.newCachedThreadPool(
          task -> {
            Thread thread = new Thread(task, "test-aws-" + THREADS.incrementAndGet());
            thread.setDaemon(true);
            return thread;
          });

  private Daemons() {}
}
