package io.asherah.reactive.kms.aws;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.metastore.dynamodb.DynamoDbMetastore;
import io.asherah.reactive.testaws.DynamoDbServer;
import io.asherah.reactive.testaws.KmsServer;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.Samples;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

/**
 * The code of docs/aws.md, as it is there: with the settings of the JVM, which name the servers and
 * the credentials here as they would name those of AWS elsewhere.
 */
class AwsGuideIT {
  private static final byte[] PAYLOAD = "4111 1111 1111 1111".getBytes(StandardCharsets.UTF_8);

  private final KmsServer kmsServer =
      KmsServer.start("us-west-2", "us-east-1", "eu-west-1", "eu-west-2");
  private final String keyInOregon = kmsServer.region("us-west-2").createKey().arn();
  private final String keyInVirginia = kmsServer.region("us-east-1").createKey().arn();
  private final Router router = new Router(kmsServer);
  private final Map<String, String> before = new HashMap<>();

  @BeforeEach
  void setUp() {
    set("aws.accessKeyId", "guide");
    set("aws.secretAccessKey", "secret");
    set("aws.endpointUrlDynamoDb", DynamoDbServer.shared().endpoint().toString());
    set("aws.endpointUrlKms", router.endpoint().toString());
    prepare();
  }

  /** The samples have limits of seconds, and the first calls of a JVM need longer. */
  private void prepare() {
    DynamoDbMetastore metastore =
        DynamoDbMetastore.builder().region("us-west-2").callTimeout(KmsScenario.PATIENCE).build();
    metastore.table().create().block(KmsScenario.PATIENCE);
    AwsKeyManagementService kms =
        AwsKeyManagementService.builder()
            .region("eu-west-1", kmsServer.region("eu-west-1").createKey().arn())
            .region("eu-west-2", kmsServer.region("eu-west-2").createKey().arn())
            .regionTimeout(KmsScenario.PATIENCE)
            .build();
    SessionFactory factory =
        SessionFactory.builder("first", "calls")
            .metastore(metastore)
            .keyManagementService(kms)
            .callTimeout(KmsScenario.PATIENCE)
            .loadTimeout(KmsScenario.PATIENCE)
            .build();
    factory.session("customer-41").encryptToJson(PAYLOAD).block(KmsScenario.PATIENCE);
    factory.close().block(KmsScenario.PATIENCE);
    Mono.when(kms.close(), metastore.close()).block(KmsScenario.PATIENCE);
  }

  private void set(String property, String value) {
    before.put(property, System.setProperty(property, value));
  }

  @AfterEach
  void tearDown() {
    before.forEach(
        (property, value) -> {
          if (value == null) {
            System.clearProperty(property);
          } else {
            System.setProperty(property, value);
          }
        });
    router.close();
    kmsServer.close();
  }

  @Test
  void samples_work_andAreThoseOfTheDocument() throws IOException {
    // start
    DynamoDbMetastore metastore =
        DynamoDbMetastore.builder().region("us-west-2").keySuffix("us-west-2").build();
    AwsKeyManagementService kms =
        AwsKeyManagementService.builder()
            .region("us-west-2", keyInOregon) // the ARN of a key; asked first
            .region("us-east-1", keyInVirginia)
            .build();
    SessionFactory factory =
        SessionFactory.builder("shop", "orders")
            .metastore(metastore)
            .keyManagementService(kms)
            .build();

    // When the service starts: builds the clients and gets credentials, off the event loop.
    Mono<Void> ready = Mono.when(metastore.warmUp(), kms.warmUp());
    // end
    ready.block(Await.TIMEOUT);

    byte[] record =
        Objects.requireNonNull(
            factory.session("customer-42").encryptToJson(PAYLOAD).block(Await.TIMEOUT));

    assertThat(factory.session("customer-42").decryptJson(record).block(Await.TIMEOUT))
        .isEqualTo(PAYLOAD);
    assertThat(new String(record, StandardCharsets.UTF_8))
        .contains("\"KeyId\":\"_IK_customer-42_orders_shop_us-west-2\"");
    assertThat(kmsServer.region("us-west-2").operations()).containsExactly("GenerateDataKey");
    assertThat(kmsServer.region("us-east-1").operations()).containsExactly("Encrypt");
    // stop
    // When it ends: first the factory, which wipes all keys.
    Mono<Void> closed = factory.close().then(Mono.when(kms.close(), metastore.close()));
    // end
    closed.block(Await.TIMEOUT);

    assertThat(Samples.inDocument("docs/aws.md", "java"))
        .isEqualTo(
            List.of(
                Samples.inTest(AwsGuideIT.class, "start"),
                Samples.inTest(AwsGuideIT.class, "stop")));
  }

  /** One address for all regions, as the setting of the JVM wants it; a request says its region. */
  private static final class Router {
    private static final Pattern SCOPE = Pattern.compile("Credential=[^/]*/[^/]*/([^/]*)/kms/");
    private static final List<String> HEADERS =
        List.of("Authorization", "Content-Type", "X-Amz-Date", "X-Amz-Target");

    private final KmsServer kms;
    private final HttpClient client = HttpClient.newHttpClient();
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final HttpServer server;

    Router(KmsServer kms) {
      this.kms = kms;
      try {
        this.server =
            HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      server.createContext("/", this::forward);
      server.setExecutor(threads);
      server.start();
    }

    URI endpoint() {
      return URI.create("http://127.0.0.1:" + server.getAddress().getPort());
    }

    private void forward(HttpExchange exchange) throws IOException {
      Matcher scope = SCOPE.matcher(exchange.getRequestHeaders().getFirst("Authorization"));
      assertThat(scope.find()).isTrue();
      HttpRequest.Builder request =
          HttpRequest.newBuilder(kms.region(scope.group(1)).endpoint())
              .POST(BodyPublishers.ofByteArray(exchange.getRequestBody().readAllBytes()));
      HEADERS.forEach(
          header -> request.header(header, exchange.getRequestHeaders().getFirst(header)));
      try {
        HttpResponse<byte[]> response = client.send(request.build(), BodyHandlers.ofByteArray());
        exchange.getResponseHeaders().set("Content-Type", "application/x-amz-json-1.1");
        exchange.sendResponseHeaders(response.statusCode(), response.body().length);
        exchange.getResponseBody().write(response.body());
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      } finally {
        exchange.close();
      }
    }

    void close() {
      server.stop(0);
      threads.shutdownNow();
    }
  }
}
