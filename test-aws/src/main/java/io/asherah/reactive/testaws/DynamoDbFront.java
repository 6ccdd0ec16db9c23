package io.asherah.reactive.testaws;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletionStage;

/**
 * A DynamoDB that fails: it forwards requests to a server, as well as it is told to. A store that
 * happened but whose answer never came is {@code delay(Duration.ofDays(1))}.
 */
public final class DynamoDbFront extends FaultyEndpoint implements AutoCloseable {
  private static final HttpClient CLIENT =
      HttpClient.newBuilder()
          .version(HttpClient.Version.HTTP_1_1)
          .executor(Daemons.EXECUTOR)
          .build();

  /** Of one connection only. */
  private static final Set<String> HOP_BY_HOP =
      Set.of("connection", "content-length", "expect", "host", "transfer-encoding", "upgrade");

  private final URI server;

  private DynamoDbFront(URI server) {
    super(new HttpEndpoint("dynamodb-front"), Protocol.DYNAMO_DB);
    this.server = server;
  }

  /**
   * Begins to forward.
   *
   * @param server where to
   * @return what forwards
   */
  public static DynamoDbFront to(DynamoDbServer server) {
    DynamoDbFront front = new DynamoDbFront(server.endpoint());
    front.open();
    return front;
  }

  @Override
  CompletionStage<Reply> answer(Call call) {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(server.resolve(call.path()))
            .method(call.method(), BodyPublishers.ofByteArray(call.bytes()));
    for (Map.Entry<String, String> header : call.headers()) {
      if (isEndToEnd(header.getKey())) {
        request.header(header.getKey(), header.getValue());
      }
    }
    return CLIENT
        .sendAsync(request.build(), BodyHandlers.ofByteArray())
        .thenApply(DynamoDbFront::reply);
  }

  private static Reply reply(HttpResponse<byte[]> response) {
    List<Map.Entry<String, String>> headers =
        response.headers().map().entrySet().stream()
            .filter(header -> isEndToEnd(header.getKey()))
            .flatMap(header -> header.getValue().stream().map(v -> Map.entry(header.getKey(), v)))
            .toList();
    return Reply.of(response.statusCode(), headers, response.body());
  }

  private static boolean isEndToEnd(String header) {
    return !HOP_BY_HOP.contains(header.toLowerCase(Locale.ROOT));
  }

  /** Closes all connections; the server goes on. */
  @Override
  public void close() {
    stop();
  }
}
