package io.asherah.reactive.testservers;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.testsupport.Await;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class FaultProxyTest {
  private final List<Socket> accepted = new CopyOnWriteArrayList<>();
  private ServerSocket echo;
  private Thread echoThread;
  private FaultProxy proxy;

  @BeforeEach
  void start() throws IOException {
    echo = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    echoThread = new Thread(this::serve, "echo");
    echoThread.setDaemon(true);
    echoThread.start();
    proxy = FaultProxy.to("127.0.0.1", echo.getLocalPort());
  }

  @AfterEach
  void stop() throws Exception {
    proxy.close();
    stopListening();
  }

  private void stopListening() throws Exception {
    echo.close();
    // Until it has noticed, it may still accept one connection, and would serve it.
    echoThread.join();
  }

  private void serve() {
    while (true) {
      try {
        Socket socket = echo.accept();
        accepted.add(socket);
        Thread thread = new Thread(() -> echo(socket), "echo-connection");
        thread.setDaemon(true);
        thread.start();
      } catch (IOException e) {
        return;
      }
    }
  }

  private static void echo(Socket socket) {
    try (socket) {
      socket.getInputStream().transferTo(socket.getOutputStream());
    } catch (IOException e) {
      // The connection was cut.
    }
  }

  private Socket connect() throws IOException {
    Socket socket = new Socket(InetAddress.getLoopbackAddress(), proxy.port());
    socket.setSoTimeout(10_000);
    return socket;
  }

  private static void send(Socket socket, String text) throws IOException {
    socket.getOutputStream().write(text.getBytes("US-ASCII"));
  }

  private static String receive(Socket socket, int length) throws IOException {
    return new String(socket.getInputStream().readNBytes(length), "US-ASCII");
  }

  private static void assertSilent(Socket socket) throws IOException {
    socket.setSoTimeout(200);
    assertThatThrownBy(() -> socket.getInputStream().read())
        .isInstanceOf(SocketTimeoutException.class);
    socket.setSoTimeout(10_000);
  }

  private void assertForwards() throws IOException {
    try (Socket socket = connect()) {
      send(socket, "hello");
      assertThat(receive(socket, 5)).isEqualTo("hello");
    }
  }

  @Test
  void itPasses_allIsForwardedWithTheEndOfBothDirections() throws IOException {
    try (Socket socket = connect()) {
      send(socket, "hello");
      assertThat(receive(socket, 5)).isEqualTo("hello");
      assertThat(proxy.connections()).isEqualTo(1);

      socket.shutdownOutput();

      assertThat(socket.getInputStream().read()).isEqualTo(-1);
    }
    Await.until(() -> proxy.connections() == 0);
  }

  @Test
  void itIsFrozen_connectionsStayButAreSilentUntilItPasses() throws IOException {
    try (Socket before = connect()) {
      send(before, "a");
      assertThat(receive(before, 1)).isEqualTo("a");

      proxy.freeze();

      send(before, "b");
      // The server's side, too.
      accepted.get(0).getOutputStream().write('s');
      try (Socket during = connect()) {
        send(during, "c");
        assertSilent(before);
        assertSilent(during);
        assertThat(accepted).hasSize(1);

        proxy.pass();

        assertThat(receive(before, 2)).isIn("sb", "bs");
        assertThat(receive(during, 1)).isEqualTo("c");
      }
    }
  }

  @Test
  void itIsFrozen_theEndOfAConnectionDoesNotComeThrough() throws IOException {
    try (Socket socket = connect()) {
      send(socket, "a");
      assertThat(receive(socket, 1)).isEqualTo("a");

      proxy.freeze();
      accepted.get(0).close();

      assertSilent(socket);
      proxy.pass();
      assertThat(socket.getInputStream().read()).isEqualTo(-1);
    }
  }

  @Test
  void itCutsAll_bothSidesAreResetAndNewConnectionsPass() throws IOException {
    try (Socket one = connect();
        Socket other = connect()) {
      for (Socket socket : List.of(one, other)) {
        send(socket, "a");
        assertThat(receive(socket, 1)).isEqualTo("a");
      }

      proxy.cutAll();

      assertThat(proxy.connections()).isZero();
      for (Socket socket : List.of(one, other)) {
        assertThatThrownBy(() -> socket.getInputStream().read())
            .isInstanceOf(SocketException.class)
            .hasMessageContaining("reset");
      }
      Await.until(() -> accepted.stream().allMatch(Socket::isClosed));
      assertForwards();
    }
  }

  @Test
  void itRefuses_connectionsThatThereAreGoOnAndItPassesAgainOnTheSamePort() throws IOException {
    int port = proxy.port();
    try (Socket before = connect()) {
      send(before, "a");
      assertThat(receive(before, 1)).isEqualTo("a");

      proxy.refuse();

      assertThatThrownBy(() -> connect().close()).isInstanceOf(ConnectException.class);
      send(before, "b");
      assertThat(receive(before, 1)).isEqualTo("b");

      proxy.pass();

      assertThat(proxy.port()).isEqualTo(port);
      assertForwards();
    }
  }

  @Test
  void itDelays_everyDirectionIsLateUntilItPasses() throws IOException {
    try (Socket socket = connect()) {
      send(socket, "a");
      assertThat(receive(socket, 1)).isEqualTo("a");

      proxy.delay(Duration.ofMillis(150));
      long before = System.nanoTime();
      send(socket, "b");
      assertThat(receive(socket, 1)).isEqualTo("b");
      assertThat(Duration.ofNanos(System.nanoTime() - before))
          .isGreaterThanOrEqualTo(Duration.ofMillis(300));

      proxy.delay(Duration.ofDays(1));
      send(socket, "c");
      assertSilent(socket);
      proxy.pass();
      assertThat(receive(socket, 1)).isEqualTo("c");
    }
  }

  @Test
  void itDropsAfterSomeBytes_thoseArriveAndThenAReset() throws IOException {
    try (Socket socket = connect()) {
      send(socket, "uncounted");
      assertThat(receive(socket, 9)).isEqualTo("uncounted");

      proxy.dropAfter(7);
      send(socket, "0123");
      assertThat(receive(socket, 4)).isEqualTo("0123");
      send(socket, "456789");
      assertThat(receive(socket, 3)).isEqualTo("456");
      assertThatThrownBy(() -> socket.getInputStream().read()).isInstanceOf(SocketException.class);
    }
    try (Socket another = connect()) {
      send(another, "0123456789");
      assertThat(receive(another, 7)).isEqualTo("0123456");
      assertThatThrownBy(() -> another.getInputStream().read()).isInstanceOf(SocketException.class);
    }
    proxy.dropAfter(0);
    try (Socket none = connect()) {
      send(none, "0");
      assertThatThrownBy(() -> none.getInputStream().read()).isInstanceOf(SocketException.class);
    }
    proxy.pass();
    assertForwards();
  }

  @Test
  void theServer_doesNotListen_theClientIsReset() throws Exception {
    stopListening();
    try (Socket socket = connect()) {
      assertThatThrownBy(() -> socket.getInputStream().read()).isInstanceOf(SocketException.class);
    }
    Await.until(() -> proxy.connections() == 0);
  }

  @Test
  void itIsClosed_connectionsAreCutAndRefused() throws IOException {
    try (Socket socket = connect()) {
      send(socket, "a");
      assertThat(receive(socket, 1)).isEqualTo("a");
      proxy.freeze();

      proxy.close();

      assertThatThrownBy(() -> socket.getInputStream().read()).isInstanceOf(SocketException.class);
      assertThatThrownBy(() -> connect().close()).isInstanceOf(ConnectException.class);
      assertThatThrownBy(proxy::pass).isInstanceOf(IllegalStateException.class);
    }
  }
}
