package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.spi.KeySelector;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.test.StepVerifier;

/**
 * What is asked of metastore and key management service in each state of cache and store: 81
 * states, from the table that the other implementations of Asherah share, for encrypt and for
 * decrypt.
 *
 * <p>One line differs: an intermediate key whose system key is known to be revoked is not used for
 * new data, also where the key itself is valid and cached.
 */
class MetastoreTrafficTest {
  private static final Instant MINUTE = Instant.parse("2026-03-12T12:58:00Z");
  private static final KeyMeta INTERMEDIATE = new KeyMeta("_IK_partition_service_product", MINUTE);
  private static final KeyMeta SYSTEM = new KeyMeta("_SK_service_product", MINUTE);

  /** What the cache or the store has: a valid key, a revoked one, or none. */
  enum State {
    VALID,
    RETIRED,
    EMPTY
  }

  private final InMemoryMetastore store = new InMemoryMetastore();

  static Stream<Arguments> states() {
    return Stream.of(State.values())
        .flatMap(
            cachedIk ->
                Stream.of(State.values())
                    .flatMap(
                        storedIk ->
                            Stream.of(State.values())
                                .flatMap(
                                    cachedSk ->
                                        Stream.of(State.values())
                                            .map(
                                                storedSk ->
                                                    Arguments.of(
                                                        cachedIk, storedIk, cachedSk, storedSk)))));
  }

  /** Brings cache and store of a scenario into a state, and returns a record from before it. */
  private DataRowRecord arrange(
      Scenario scenario, State cachedIk, State storedIk, State cachedSk, State storedSk) {
    DataRowRecord record = get(scenario.session().encrypt(utf8("payload")));
    KeysInside inside = new KeysInside(scenario.factory);
    if (cachedIk == State.RETIRED) {
      inside.revokeIntermediateKey(INTERMEDIATE);
    }
    if (cachedSk == State.RETIRED) {
      inside.revokeSystemKey(SYSTEM);
    }
    if (cachedIk == State.EMPTY) {
      scenario.session().forget().block();
    }
    if (cachedSk == State.EMPTY) {
      inside.dropSystemKeys();
    }
    arrangeStore(INTERMEDIATE, storedIk);
    arrangeStore(SYSTEM, storedSk);
    // New keys get another time than these.
    scenario.pass(Duration.ofMinutes(2));
    scenario.calls.take();
    return record;
  }

  private void arrangeStore(KeyMeta key, State state) {
    switch (state) {
      case RETIRED -> assertThat(get(store.revoke(KeySelector.version(key)))).isOne();
      case EMPTY -> assertThat(get(store.delete(KeySelector.version(key)))).isOne();
      default -> assertThat(get(store.load(key.id(), key.created()))).isNotNull();
    }
  }

  @ParameterizedTest
  @MethodSource("states")
  void encrypt_asksExactlyWhatItNeeds(
      State cachedIk, State storedIk, State cachedSk, State storedSk) {
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      arrange(scenario, cachedIk, storedIk, cachedSk, storedSk);

      DataRowRecord record = get(scenario.session().encrypt(utf8("new")));

      assertThat(scenario.calls.take())
          .containsExactlyElementsOf(whileWriting(cachedIk, storedIk, cachedSk, storedSk));
      assertThat(get(scenario.session().decrypt(record))).isEqualTo(utf8("new"));
    }
  }

  private static List<String> whileWriting(
      State cachedIk, State storedIk, State cachedSk, State storedSk) {
    List<String> calls = new ArrayList<>();
    if (cachedIk == State.VALID && cachedSk != State.RETIRED) {
      return calls;
    }
    calls.add("loadLatest(IK)");
    boolean isSystemKeyRead = storedIk == State.VALID && cachedSk == State.EMPTY;
    if (isSystemKeyRead) {
      if (storedSk == State.EMPTY) {
        calls.add("load(SK)");
      } else {
        calls.add("load(SK)");
        // A revoked key need not be opened.
        if (storedSk == State.VALID) {
          calls.add("decryptKey");
        }
      }
    }
    boolean isStoredKeyUsable =
        storedIk == State.VALID
            && (cachedSk == State.VALID || cachedSk == State.EMPTY && storedSk == State.VALID);
    if (isStoredKeyUsable) {
      return calls;
    }
    if (cachedSk != State.VALID) {
      calls.add("loadLatest(SK)");
      if (storedSk != State.VALID) {
        calls.add("encryptKey");
        calls.add("store(SK)");
      } else if (cachedSk == State.EMPTY) {
        calls.add("decryptKey");
      }
    }
    calls.add("store(IK)");
    return calls;
  }

  @ParameterizedTest
  @MethodSource("states")
  void decrypt_asksExactlyWhatItNeeds(
      State cachedIk, State storedIk, State cachedSk, State storedSk) {
    try (Scenario scenario = new Scenario(store, CryptoPolicy.defaults(), "")) {
      DataRowRecord record = arrange(scenario, cachedIk, storedIk, cachedSk, storedSk);
      boolean isFound =
          cachedIk != State.EMPTY
              || storedIk != State.EMPTY && (cachedSk != State.EMPTY || storedSk != State.EMPTY);

      if (isFound) {
        assertThat(get(scenario.session().decrypt(record))).isEqualTo(utf8("payload"));
      } else {
        StepVerifier.create(scenario.session().decrypt(record))
            .verifyError(MetadataMissingException.class);
      }

      assertThat(scenario.calls.take())
          .containsExactlyElementsOf(whileReading(cachedIk, storedIk, cachedSk, storedSk));
    }
  }

  private static List<String> whileReading(
      State cachedIk, State storedIk, State cachedSk, State storedSk) {
    List<String> calls = new ArrayList<>();
    if (cachedIk == State.EMPTY) {
      calls.add("load(IK)");
      if (storedIk != State.EMPTY && cachedSk == State.EMPTY) {
        calls.add("load(SK)");
        if (storedSk != State.EMPTY) {
          calls.add("decryptKey");
        }
      }
    }
    return calls;
  }
}
