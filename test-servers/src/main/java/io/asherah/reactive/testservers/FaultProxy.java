package io.asherah.reactive.testservers;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A network that fails: it forwards TCP connections to a server, as well as it is told to. Each of
 * {@link #pass()}, {@link #freeze()}, {@link #delay}, {@link #dropAfter} and {@link #refuse()} ends
 * what another of them began, and applies to the connections that there are as to those to come.
 */
public final class FaultProxy implements AutoCloseable {
  private static final AtomicInteger PROXIES = new AtomicInteger();
  private static final int PIECE = 16 * 1024;

  /** What happens to bytes. Its identity tells one call from the next. */
  private static final class Mode {
    final boolean frozen;
    final long delayNanos;
    final long serverBytes;

    Mode(boolean frozen, long delayNanos, long serverBytes) {
      this.frozen = frozen;
      this.delayNanos = delayNanos;
      this.serverBytes = serverBytes;
    }

    static Mode pass() {
      return new Mode(false, 0, Long.MAX_VALUE);
    }
  }

  private final InetSocketAddress server;
  private final String name = "fault-proxy-" + PROXIES.incrementAndGet();
  private final int port;

  // Guarded by this.
  private final Set<Link> links = new LinkedHashSet<>();
  private Mode mode = Mode.pass();
  private ServerSocket listener;
  private Thread acceptor;
  private int writing;
  private boolean closed;

  private FaultProxy(InetSocketAddress server) {
    this.server = server;
    this.port = DatabaseServer.freePort();
    listen();
  }

  /**
   * Begins to forward.
   *
   * @param host of the server
   * @param port of the server, which need not listen yet
   * @return what forwards, on 127.0.0.1
   */
  public static FaultProxy to(String host, int port) {
    return new FaultProxy(new InetSocketAddress(host, port));
  }

  /**
   * Begins to forward.
   *
   * @param server where to
   * @return what forwards, on 127.0.0.1
   */
  public static FaultProxy to(DatabaseServer server) {
    return to(server.host(), server.port());
  }

  /**
   * Where clients connect instead of to the server.
   *
   * @return the same for the whole life of this object
   */
  public int port() {
    return port;
  }

  /**
   * How many clients are connected.
   *
   * @return their number, of connections that neither side has closed as far as came through
   */
  public synchronized int connections() {
    return links.size();
  }

  /** Forwards all that comes, and what was withheld by {@link #freeze()} or {@link #delay}. */
  public void pass() {
    enter(Mode.pass());
  }

  /**
   * Goes silent, like a network that loses all packets: connections stay and new ones are accepted,
   * but once this returns, no byte and no end of a connection comes through in either direction,
   * and the server does not hear of new connections.
   */
  public synchronized void freeze() {
    enter(new Mode(true, 0, Long.MAX_VALUE));
    // Whoever found it passing finishes, unless the receiver does not take it.
    long deadline = System.nanoTime() + Duration.ofSeconds(1).toNanos();
    try {
      while (writing > 0 && System.nanoTime() - deadline < 0) {
        wait(10);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * Becomes slow.
   *
   * @param delay by which every piece of data that arrives together is late, in both directions
   */
  public void delay(Duration delay) {
    enter(new Mode(false, delay.toNanos(), Long.MAX_VALUE));
  }

  /**
   * Breaks each connection with a reset after so much from the server.
   *
   * @param bytes that come through, counted for each connection from this call or its beginning
   */
  public void dropAfter(long bytes) {
    enter(new Mode(false, 0, bytes));
  }

  /** Breaks all connections that there are, with a reset to both sides. */
  public void cutAll() {
    List<Link> all;
    synchronized (this) {
      all = List.copyOf(links);
    }
    all.forEach(Link::reset);
  }

  /**
   * Refuses connections, as where no server listens. Those that there are go on; {@link #cutAll()}
   * ends them.
   */
  public void refuse() {
    synchronized (this) {
      mode = Mode.pass();
      notifyAll();
    }
    stopListening();
  }

  /** Breaks all connections and refuses further ones. */
  @Override
  public void close() {
    synchronized (this) {
      closed = true;
      notifyAll();
    }
    stopListening();
    cutAll();
  }

  private synchronized void enter(Mode next) {
    if (closed) {
      throw new IllegalStateException("the proxy is closed");
    }
    mode = next;
    notifyAll();
    listen();
  }

  private synchronized void listen() {
    if (listener != null) {
      return;
    }
    try {
      ServerSocket opened = new ServerSocket();
      opened.setReuseAddress(true);
      opened.bind(new InetSocketAddress(InetAddress.getByName(DatabaseServer.HOST), port), 100);
      listener = opened;
      acceptor = start("accept", () -> accept(opened));
    } catch (IOException e) {
      throw new UncheckedIOException("port " + port, e);
    }
  }

  private void stopListening() {
    Thread stopped;
    synchronized (this) {
      if (listener == null) {
        return;
      }
      closeQuietly(listener);
      listener = null;
      stopped = acceptor;
    }
    try {
      // For as long as it has not noticed, the system accepts connections for it. Not under the
      // lock, which it may wait for.
      stopped.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void accept(ServerSocket from) {
    while (true) {
      Socket client;
      try {
        client = from.accept();
      } catch (IOException e) {
        // Closed.
        return;
      }
      Link link = new Link(client);
      synchronized (this) {
        if (listener != from) {
          link.reset();
          return;
        }
        links.add(link);
      }
      start("client", link::fromClient);
    }
  }

  private Thread start(String role, Runnable task) {
    Thread thread = new Thread(task, name + "-" + role);
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  private static void closeQuietly(AutoCloseable closeable) {
    try {
      closeable.close();
    } catch (Exception e) {
      // As good as closed.
    }
  }

  /** Waits until something may be forwarded, and returns under which conditions. */
  private synchronized Mode admit(long arrived) throws IOException {
    try {
      while (true) {
        if (closed) {
          throw new IOException("the proxy is closed");
        }
        long left = arrived + mode.delayNanos - System.nanoTime();
        if (mode.frozen) {
          wait();
        } else if (mode.delayNanos > 0 && left > 0) {
          wait(left / 1_000_000, (int) (left % 1_000_000));
        } else {
          writing++;
          return mode;
        }
      }
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  private synchronized void written() {
    writing--;
    notifyAll();
  }

  /** A connection of a client, and the one to the server that belongs to it. */
  private final class Link {
    private final Socket client;
    private final Socket upstream = new Socket();
    private final AtomicInteger ends = new AtomicInteger();
    // Used by the thread that reads from the server.
    private Mode counted;
    private long count;

    Link(Socket client) {
      this.client = client;
    }

    void fromClient() {
      try {
        admit(System.nanoTime());
        try {
          upstream.connect(server, 10_000);
        } finally {
          written();
        }
        client.setTcpNoDelay(true);
        upstream.setTcpNoDelay(true);
      } catch (IOException e) {
        reset();
        return;
      }
      start("server", () -> forward(upstream, client, true));
      forward(client, upstream, false);
    }

    private void forward(Socket from, Socket to, boolean fromServer) {
      try {
        InputStream input = from.getInputStream();
        byte[] piece = new byte[PIECE];
        while (true) {
          int length = input.read(piece);
          Mode admitted = admit(System.nanoTime());
          try {
            if (length < 0) {
              to.shutdownOutput();
              break;
            }
            int allowed = fromServer ? allowed(admitted, length) : length;
            to.getOutputStream().write(piece, 0, allowed);
            if (fromServer && count >= admitted.serverBytes) {
              reset();
              return;
            }
          } finally {
            written();
          }
        }
        if (ends.incrementAndGet() == 2) {
          end();
        }
      } catch (IOException e) {
        reset();
      }
    }

    private int allowed(Mode admitted, int length) {
      if (counted != admitted) {
        counted = admitted;
        count = 0;
      }
      int allowed = (int) Math.min(length, admitted.serverBytes - count);
      count += allowed;
      return allowed;
    }

    void reset() {
      for (Socket socket : List.of(client, upstream)) {
        try {
          socket.setSoLinger(true, 0);
        } catch (IOException e) {
          // Already closed.
        }
      }
      end();
    }

    private void end() {
      closeQuietly(client);
      closeQuietly(upstream);
      synchronized (FaultProxy.this) {
        links.remove(this);
      }
    }
  }
}
