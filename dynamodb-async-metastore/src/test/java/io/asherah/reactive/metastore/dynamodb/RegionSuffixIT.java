package io.asherah.reactive.metastore.dynamodb;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.DataRowRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.SessionFactory;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import reactor.test.StepVerifier;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;

/** Regions that share a table, as where it is replicated. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class RegionSuffixIT {
  private static final byte[] PAYLOAD = "payload".getBytes(UTF_8);
  private static final String WEST = "us-west-2";
  private static final String EAST = "us-east-1";

  private final Aws aws = new Aws();
  private final List<SessionFactory> factories = new ArrayList<>();
  private DynamoDbAsyncClient client;
  private String table;

  @BeforeAll
  void openClient() {
    client = aws.client();
  }

  @BeforeEach
  void createTable() {
    table = Aws.newTable(client);
  }

  @AfterEach
  void closeFactories() {
    factories.forEach(factory -> factory.close().block(Aws.TIMEOUT));
    factories.clear();
  }

  @AfterAll
  void close() {
    aws.close();
  }

  private SessionFactory factory(String suffix) {
    return factory("product", suffix);
  }

  private SessionFactory factory(String product, String suffix) {
    SessionFactory factory =
        SessionFactory.builder(product, "service")
            .metastore(Aws.patient(client, table).keySuffix(suffix).build())
            .keyManagementService(StaticKeyManagementService.of(new byte[32]))
            .callTimeout(Aws.TIMEOUT)
            .loadTimeout(Aws.TIMEOUT)
            .build();
    factories.add(factory);
    return factory;
  }

  private static byte[] encrypt(SessionFactory factory, String partition) {
    return Aws.get(factory.session(partition).encryptToJson(PAYLOAD));
  }

  private static void assertOpens(SessionFactory factory, byte[] json) {
    assertThat(Aws.get(factory.session("p").decryptJson(json))).isEqualTo(PAYLOAD);
  }

  private static KeyMeta keyOf(byte[] json) {
    return DataRowRecord.fromJson(json).key().parentKeyMeta().orElseThrow();
  }

  private static void assertRefuses(SessionFactory factory, byte[] json) {
    StepVerifier.create(factory.session("p").decryptJson(json))
        .expectErrorSatisfies(
            e ->
                assertThat(e)
                    .isInstanceOf(AppEncryptionException.class)
                    .isNotInstanceOf(MetastoreException.class))
        .verify(Aws.TIMEOUT);
  }

  @Test
  void twoRegions_openEachOthersRecords_andWriteTheirOwnKeys() {
    Map<String, SessionFactory> writers = Map.of(WEST, factory(WEST), EAST, factory(EAST));
    for (int round = 0; round < 2; round++) {
      for (String from : List.of(WEST, EAST)) {
        for (String to : List.of(WEST, EAST)) {
          SessionFactory writer = writers.getOrDefault(from, factory(from));
          byte[] json = encrypt(writer, "p");

          assertThat(keyOf(json).id()).isEqualTo("_IK_p_service_product_" + from);
          assertOpens(writers.getOrDefault(to, factory(to)), json);
          // Whoever has none of it cached, too.
          assertOpens(factory(to), json);
          // And a region that reads goes on to write its own.
          assertThat(keyOf(encrypt(writers.getOrDefault(to, factory(to)), "p")).id())
              .isEqualTo("_IK_p_service_product_" + to);
        }
      }
    }
    assertThat(ids())
        .containsExactlyInAnyOrder(
            "_SK_service_product_" + WEST,
            "_SK_service_product_" + EAST,
            "_IK_p_service_product_" + WEST,
            "_IK_p_service_product_" + EAST);
  }

  @Test
  void recordOfAWriterWithoutSuffix_isOpenedByOneWithIt_butNotTheOtherWay() {
    byte[] plain = encrypt(factory(""), "p");
    byte[] suffixed = encrypt(factory(WEST), "p");

    assertThat(keyOf(plain).id()).isEqualTo("_IK_p_service_product");
    assertOpens(factory(WEST), plain);
    assertOpens(factory(EAST), plain);
    assertOpens(factory(""), plain);
    assertRefuses(factory(""), suffixed);
  }

  @Test
  void recordsOfSiblings_areRefused() {
    for (String suffix : List.of("", WEST)) {
      SessionFactory factory = factory(suffix);
      assertRefuses(factory, encrypt(factory("product2", suffix), "p"));
      assertRefuses(factory, encrypt(factory(suffix), "p2"));
      assertRefuses(factory, encrypt(factory(suffix), "P"));
      assertRefuses(factory, encrypt(factory(suffix), "p_service_product_x"));
    }
  }

  @Test
  void keySuffix_isThatOfTheMetastore() {
    assertThat(Aws.patient(client, table).keySuffix(WEST).build().keySuffix()).isEqualTo(WEST);
    assertThat(Aws.patient(client, table).build().keySuffix()).isEmpty();
  }

  private List<String> ids() {
    return Aws.get(
        Aws.patient(client, table)
            .build()
            .list(KeySelector.idPrefix(""))
            .map(key -> key.meta().id())
            .collectList());
  }
}
