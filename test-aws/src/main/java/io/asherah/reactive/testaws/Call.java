package io.asherah.reactive.testaws;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;

/** A request that arrived at a server, and what has become of it. */
public final class Call {
  private enum State {
    UNDER_WAY,
    ANSWERED,
    ABANDONED
  }

  private final String method;
  private final String path;
  private final List<Map.Entry<String, String>> headers;
  private final byte[] body;
  private final AtomicReference<State> state = new AtomicReference<>(State.UNDER_WAY);

  Call(String method, String path, List<Map.Entry<String, String>> headers, byte[] body) {
    this.method = method;
    this.path = path;
    this.headers = headers;
    this.body = body;
  }

  /**
   * What was asked for.
   *
   * @return for instance {@code GetItem}, or nothing where the request does not say
   */
  public String operation() {
    String target = header("X-Amz-Target");
    return target == null ? "" : target.substring(target.lastIndexOf('.') + 1);
  }

  /**
   * What was sent.
   *
   * @return the body of the request
   */
  public String body() {
    return new String(body, StandardCharsets.UTF_8);
  }

  /**
   * Whether it was answered, with whatever.
   *
   * @return false also where the client went away before
   */
  public boolean isAnswered() {
    return state.get() == State.ANSWERED;
  }

  /**
   * Whether the client still waits for an answer.
   *
   * @return false once it was answered or the connection is gone
   */
  public boolean isUnderWay() {
    return state.get() == State.UNDER_WAY;
  }

  String method() {
    return method;
  }

  String path() {
    return path;
  }

  List<Map.Entry<String, String>> headers() {
    return headers;
  }

  @Nullable String header(String name) {
    for (Map.Entry<String, String> header : headers) {
      if (header.getKey().equalsIgnoreCase(name)) {
        return header.getValue();
      }
    }
    return null;
  }

  byte[] bytes() {
    return body;
  }

  /** Returns whether it was under way until now. */
  boolean answered() {
    return state.compareAndSet(State.UNDER_WAY, State.ANSWERED);
  }

  /** Returns whether it was under way until now. */
  boolean abandoned() {
    return state.getAndSet(State.ABANDONED) == State.UNDER_WAY;
  }
}
