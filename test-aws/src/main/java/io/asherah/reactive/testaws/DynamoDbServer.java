package io.asherah.reactive.testaws;

import com.amazonaws.services.dynamodbv2.local.server.LocalDynamoDBRequestHandler;
import com.amazonaws.services.dynamodbv2.local.server.LocalDynamoDBServerHandler;
import java.net.URI;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.ContextHandler;
import org.eclipse.jetty.util.thread.QueuedThreadPool;
import org.jspecify.annotations.Nullable;

/**
 * DynamoDB Local in this JVM, on 127.0.0.1 and a free port, with its data in memory. Clients of all
 * regions and credentials see the same tables. It prints nothing.
 */
public final class DynamoDbServer implements AutoCloseable {
  private static final Duration STOP = Duration.ofSeconds(30);

  private static @Nullable DynamoDbServer shared;

  /** Also of the threads that DynamoDB Local starts, which it leaves behind. */
  private final ThreadGroup group = new ThreadGroup("dynamodb-local");

  private final LocalDynamoDBServerHandler handler;
  private final Server server;
  private final URI endpoint;
  private boolean closed;

  private DynamoDbServer() {
    // What its own main class does, which prints, announces itself to AWS, listens on all addresses
    // and has to be told a port.
    try {
      handler =
          new LocalDynamoDBServerHandler(
              new LocalDynamoDBRequestHandler(0, true, null, true, false), null);
      QueuedThreadPool threads = new QueuedThreadPool(200, 8, 60_000, -1, null, group);
      threads.setName("dynamodb-local");
      threads.setDaemon(true);
      server = new Server(threads);
      ServerConnector connector = new ServerConnector(server, 1, 1);
      connector.setHost("127.0.0.1");
      // Longer than any client keeps a connection: one that ends as it is used fails a call.
      connector.setIdleTimeout(Duration.ofDays(1).toMillis());
      server.addConnector(connector);
      server.setHandler(new ContextHandler(handler, "/"));
      server.start();
      endpoint = URI.create("http://127.0.0.1:" + connector.getLocalPort());
    } catch (Exception e) {
      throw new IllegalStateException("DynamoDB Local does not start", e);
    }
  }

  /**
   * Starts a server for one test.
   *
   * @return to be closed by the test
   */
  public static DynamoDbServer start() {
    return new DynamoDbServer();
  }

  /**
   * The server of all tests of this JVM that use tables of their own. A thread of DynamoDB Local
   * that is not a daemon keeps the JVM alive until something like {@link System#exit} ends it, as
   * Surefire and Failsafe do.
   *
   * @return started by the first call, gone when the JVM ends
   */
  public static synchronized DynamoDbServer shared() {
    if (shared == null) {
      shared = new DynamoDbServer();
    }
    return shared;
  }

  /**
   * Where clients connect.
   *
   * @return the same for the whole life of this object
   */
  public URI endpoint() {
    return endpoint;
  }

  /** Ends the server, with its data; for the shared one it does nothing. */
  @Override
  public void close() {
    synchronized (DynamoDbServer.class) {
      if (this == shared || closed) {
        return;
      }
      closed = true;
    }
    try {
      server.stop();
    } catch (Exception e) {
      throw new IllegalStateException("DynamoDB Local does not stop", e);
    } finally {
      handler.close();
      endThreads();
    }
  }

  /** One of them sleeps for hours, and is not a daemon. */
  private void endThreads() {
    long deadline = System.nanoTime() + STOP.toNanos();
    for (Thread thread : threads()) {
      try {
        while (thread.isAlive() && System.nanoTime() - deadline < 0) {
          thread.interrupt();
          thread.join(100);
        }
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  private List<Thread> threads() {
    Thread[] threads = new Thread[1000];
    int count = group.enumerate(threads);
    return Arrays.stream(threads, 0, count).filter(thread -> !thread.isDaemon()).toList();
  }
}
