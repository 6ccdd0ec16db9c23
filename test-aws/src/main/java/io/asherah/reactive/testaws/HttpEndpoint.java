package io.asherah.reactive.testaws;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.FullHttpResponse;
import io.netty.handler.codec.http.HttpHeaderNames;
import io.netty.handler.codec.http.HttpHeaderValues;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpUtil;
import io.netty.handler.codec.http.HttpVersion;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.URI;
import java.util.HashSet;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * An HTTP server on 127.0.0.1 whose answers may come at any time and from any thread. It has one
 * thread.
 */
final class HttpEndpoint implements AutoCloseable {
  private static final String HOST = "127.0.0.1";
  private static final int MAX_HEADERS = 64 * 1024;
  private static final int MAX_BODY = 64 * 1024 * 1024;

  /** How often is looked whether a port refuses, a millisecond apart. */
  private static final int MOST_LOOKS = 10_000;

  private final EventLoopGroup group;
  private final ServerBootstrap bootstrap;
  private final AtomicInteger underWay = new AtomicInteger();
  // Of the thread of the group.
  private final Set<Connection> connections = new HashSet<>();
  private volatile boolean refusing;
  private volatile Function<Call, CompletionStage<Reply>> service = HttpEndpoint::unknown;

  // Guarded by this.
  private @Nullable Channel listener;

  private int port;

  HttpEndpoint(String name) {
    group =
        new NioEventLoopGroup(
            1,
            task -> {
              // Not one of Netty's, which BlockHound watches.
              Thread thread = new Thread(task, name);
              thread.setDaemon(true);
              return thread;
            });
    bootstrap =
        new ServerBootstrap()
            .group(group)
            .channel(NioServerSocketChannel.class)
            .option(ChannelOption.SO_REUSEADDR, true)
            .option(ChannelOption.SO_BACKLOG, 4096)
            .childHandler(
                new ChannelInitializer<Channel>() {
                  @Override
                  protected void initChannel(Channel channel) {
                    channel
                        .pipeline()
                        .addLast(new HttpServerCodec(MAX_HEADERS, MAX_HEADERS, MAX_HEADERS))
                        .addLast(new HttpObjectAggregator(MAX_BODY))
                        .addLast(new Connection());
                  }
                });
  }

  /** Listens for the first time. */
  synchronized void open(Function<Call, CompletionStage<Reply>> answers) {
    service = answers;
    // Not a port that the system chooses: one of those it may give to an outgoing connection while
    // this refuses, even to the one that is to be refused, which then is connected to itself.
    for (int attempt = 1; listener == null; attempt++) {
      port = ThreadLocalRandom.current().nextInt(15_000, 32_000);
      ChannelFuture bound = bind();
      if (bound.isSuccess()) {
        listener = bound.channel();
      } else if (attempt == 1000) {
        group.shutdownGracefully();
        throw new IllegalStateException("no port is free", bound.cause());
      }
    }
  }

  synchronized URI uri() {
    return URI.create("http://" + HOST + ":" + port);
  }

  int underWay() {
    return underWay.get();
  }

  ScheduledExecutorService scheduler() {
    return group;
  }

  /**
   * Stops listening, and ends the connections: those on which a call is under way after it was
   * answered, the others before this returns.
   */
  synchronized void refuse() {
    if (listener == null) {
      return;
    }
    refusing = true;
    listener.close().awaitUninterruptibly();
    listener = null;
    awaitRefusal();
    forConnections(Connection::endIfIdle);
  }

  /** A channel that is closed goes on listening until its selector has looked at it again. */
  private void awaitRefusal() {
    for (int attempt = 0; attempt < MOST_LOOKS; attempt++) {
      try {
        new Socket(HOST, port).close();
        LockSupport.parkNanos(1_000_000);
      } catch (IOException refused) {
        return;
      }
    }
    throw new IllegalStateException("port " + port + " goes on listening");
  }

  /** Listens again on the same port. */
  synchronized void accept() {
    if (listener != null) {
      return;
    }
    ChannelFuture bound = bind();
    if (!bound.isSuccess()) {
      throw new IllegalStateException("port " + port, bound.cause());
    }
    listener = bound.channel();
    refusing = false;
  }

  @Override
  public void close() {
    if (group.isShuttingDown()) {
      return;
    }
    refuse();
    forConnections(Connection::end);
    group.shutdownGracefully(0, 10, TimeUnit.SECONDS).awaitUninterruptibly();
  }

  private ChannelFuture bind() {
    return bootstrap.bind(new InetSocketAddress(HOST, port)).awaitUninterruptibly();
  }

  /** Also for connections that were accepted before, but whose turn has not come. */
  private void forConnections(Consumer<Connection> action) {
    group.submit(() -> Set.copyOf(connections).forEach(action)).awaitUninterruptibly();
  }

  private final class Connection extends SimpleChannelInboundHandler<FullHttpRequest> {
    private @Nullable ChannelHandlerContext context;
    private @Nullable Call call;

    @Override
    public void channelActive(ChannelHandlerContext active) {
      context = active;
      connections.add(this);
    }

    @Override
    public void channelInactive(ChannelHandlerContext inactive) {
      connections.remove(this);
      Call unanswered = call;
      if (unanswered != null && unanswered.abandoned()) {
        underWay.decrementAndGet();
      }
    }

    @Override
    public void exceptionCaught(ChannelHandlerContext failed, Throwable cause) {
      failed.close();
    }

    @Override
    protected void channelRead0(ChannelHandlerContext from, FullHttpRequest request) {
      Call arrived =
          new Call(
              request.method().name(),
              request.uri(),
              request.headers().entries(),
              ByteBufUtil.getBytes(request.content()));
      boolean keepAlive = HttpUtil.isKeepAlive(request);
      call = arrived;
      underWay.incrementAndGet();
      CompletionStage<Reply> answer;
      try {
        answer = service.apply(arrived);
      } catch (RuntimeException e) {
        answer = CompletableFuture.failedFuture(e);
      }
      answer
          .exceptionally(HttpEndpoint::internalFailure)
          .thenAccept(
              reply -> from.executor().execute(() -> send(from, arrived, reply, keepAlive)));
    }

    private void send(ChannelHandlerContext to, Call answered, Reply reply, boolean keepAlive) {
      // Before it is sent: a client that has the answer finds the call answered.
      if (!answered.answered()) {
        return;
      }
      underWay.decrementAndGet();
      call = null;
      boolean last = !keepAlive || refusing || reply.isTruncated();
      ChannelFuture sent = to.writeAndFlush(response(reply, last));
      sent.addListener(
          done -> {
            if (!done.isSuccess()) {
              answered.abandoned();
            }
          });
      if (last) {
        sent.addListener(ChannelFutureListener.CLOSE);
      }
    }

    void endIfIdle() {
      if (call == null) {
        end();
      }
    }

    void end() {
      if (context != null) {
        context.close();
      }
    }
  }

  private static CompletionStage<Reply> unknown(Call call) {
    return CompletableFuture.failedFuture(new IllegalStateException("not open"));
  }

  private static Reply internalFailure(Throwable error) {
    return Reply.of(500, "text/plain", "the server of the test failed: " + error);
  }

  private static FullHttpResponse response(Reply reply, boolean last) {
    FullHttpResponse response =
        new DefaultFullHttpResponse(
            HttpVersion.HTTP_1_1,
            HttpResponseStatus.valueOf(reply.status()),
            Unpooled.wrappedBuffer(reply.body()));
    reply.headers().forEach(header -> response.headers().add(header.getKey(), header.getValue()));
    if (!response.headers().contains("x-amzn-RequestId")) {
      response.headers().set("x-amzn-RequestId", UUID.randomUUID().toString());
    }
    response.headers().set(HttpHeaderNames.CONTENT_LENGTH, reply.length());
    if (last && !reply.isTruncated()) {
      response.headers().set(HttpHeaderNames.CONNECTION, HttpHeaderValues.CLOSE);
    }
    return response;
  }
}
