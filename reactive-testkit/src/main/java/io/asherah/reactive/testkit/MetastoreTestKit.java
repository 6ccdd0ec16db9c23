package io.asherah.reactive.testkit;

import static io.asherah.reactive.testkit.Answers.freshId;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import java.time.Duration;
import java.time.Instant;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * What every {@link Metastore} must do, as tests. A JUnit Jupiter test class of an implementation
 * gets them by implementing this interface:
 *
 * <pre>{@code
 * class MyMetastoreTest implements MetastoreTestKit {
 *   @Override
 *   public Metastore metastore() {
 *     return new MyMetastore(database);
 *   }
 * }
 * }</pre>
 *
 * <p>Tests use new ids of their own that start with {@code _SK_testkit_}, and leave what they store
 * behind: they can run at the same time and in a database that others use. With BlockHound
 * installed they also find calls that block.
 *
 * <p>A metastore that is a {@link KeyInventory} is tested as such too; where it is none, those
 * tests are reported as aborted, with the reason. Safe for use by many threads if the metastore is.
 */
public interface MetastoreTestKit {

  /**
   * The metastore under test. Every test asks for it once.
   *
   * @return a new one each time or always the same
   */
  Metastore metastore();

  /**
   * A metastore of the same kind that cannot reach its store, for instance one with a port where
   * nothing listens. It shows that a failure is never taken for absence.
   *
   * @return empty, unless overridden, if the tests of failures are not to run
   */
  default Optional<Metastore> unreachableMetastore() {
    return Optional.empty();
  }

  /**
   * How long a test waits for one answer.
   *
   * @return 10 seconds unless overridden
   */
  default Duration timeout() {
    return Duration.ofSeconds(10);
  }

  /**
   * The latest creation time that has to be kept. Override it where a column holds less; a MySQL
   * {@code TIMESTAMP} ends at {@code 2038-01-19T03:14:07Z}.
   *
   * @return the last second of February 2100 unless overridden
   */
  default Instant latestCreated() {
    return Instant.parse("2100-02-28T23:59:59Z");
  }

  // Reading and writing.

  /** A key that was never stored completes empty, and is no error. */
  @Test
  default void loadOfAbsentKey_isEmpty() {
    answers().isEmpty(metastore().load(freshId(), at(1)));
  }

  /** A version that was never stored completes empty, even if the key has others. */
  @Test
  default void loadOfAbsentVersion_isEmpty() {
    Metastore metastore = metastore();
    String id = stored(metastore, 60);
    answers().isEmpty(metastore.load(id, at(59)));
    answers().isEmpty(metastore.load(id, at(61)));
  }

  /** The latest version of a key that was never stored completes empty, and is no error. */
  @Test
  default void loadLatestOfAbsentKey_isEmpty() {
    answers().isEmpty(metastore().loadLatest(freshId()));
  }

  /** A record of a system key, 60 bytes long and without a parent, is read as it was written. */
  @Test
  default void recordWithoutParent_isReadAsWritten() {
    assertIsReadAsWritten(metastore(), new EnvelopeKeyRecord(at(60), bytes(60, 1), null, false));
  }

  /** A record of an intermediate key, with a parent, is read as it was written. */
  @Test
  default void recordWithParent_isReadAsWritten() {
    KeyMeta parent = new KeyMeta("_SK_service_product", at(7));
    assertIsReadAsWritten(metastore(), new EnvelopeKeyRecord(at(60), bytes(60, 2), parent, false));
  }

  /** A record whose parent has an id that needs care in JSON and SQL is read as it was written. */
  @Test
  default void recordWithParentOfSpecialCharacters_isReadAsWritten() {
    KeyMeta parent = new KeyMeta("_SK_a \"b\" 'c' \\d %_ \u00e9\u6f22\ud83d\ude00", at(7));
    assertIsReadAsWritten(metastore(), new EnvelopeKeyRecord(at(60), bytes(60, 3), parent, false));
  }

  /** A record that is revoked already when it is stored, with and without a parent, stays so. */
  @Test
  default void revokedRecord_isReadAsWritten() {
    Metastore metastore = metastore();
    KeyMeta parent = new KeyMeta("_SK_service_product", at(7));
    assertIsReadAsWritten(metastore, new EnvelopeKeyRecord(at(60), bytes(60, 4), null, true));
    assertIsReadAsWritten(metastore, new EnvelopeKeyRecord(at(60), bytes(60, 5), parent, true));
  }

  /** Wrapped keys of 1 byte up to 1 KiB are kept whole, as key management services make them. */
  @Test
  default void wrappedKeysOfOtherLengths_areReadAsWritten() {
    Metastore metastore = metastore();
    for (int length : new int[] {1, 2, 3, 61, 255, 256, 1_024}) {
      assertIsReadAsWritten(
          metastore, new EnvelopeKeyRecord(at(60), bytes(length, length), null, false));
    }
  }

  /** Every value of a byte is kept: the bytes are binary, and no text. */
  @Test
  default void everyByteValue_isReadAsWritten() {
    byte[] all = new byte[256];
    IntStream.range(0, all.length).forEach(i -> all[i] = (byte) i);
    assertIsReadAsWritten(metastore(), new EnvelopeKeyRecord(at(60), all, null, false));
  }

  /** The first store of a version answers true, further ones false, also with an equal record. */
  @Test
  default void storeOfAVersionThatExists_isFalse() {
    Metastore metastore = metastore();
    String id = freshId();
    assertThat(answers().of(metastore.store(id, at(60), record(60, 1)))).isTrue();
    assertThat(answers().of(metastore.store(id, at(60), record(60, 1)))).isFalse();
    assertThat(answers().of(metastore.store(id, at(60), record(60, 2)))).isFalse();
  }

  /** A store that is refused changes nothing of the record that is there. */
  @Test
  default void storeOfAVersionThatExists_leavesItAsItIs() {
    Metastore metastore = metastore();
    String id = freshId();
    answers().of(metastore.store(id, at(60), record(60, 1)));
    answers()
        .of(
            metastore.store(
                id,
                at(60),
                new EnvelopeKeyRecord(at(60), bytes(60, 2), new KeyMeta(id, at(1)), true)));
    assertThat(answers().of(metastore.load(id, at(60)))).isEqualTo(record(60, 1));
    assertThat(answers().of(metastore.loadLatest(id))).isEqualTo(record(60, 1));
  }

  /** Another version of a key, or the same time of another key, is no duplicate. */
  @Test
  default void storeOfAnotherVersionOrKey_isTrue() {
    Metastore metastore = metastore();
    String id = stored(metastore, 60, 120);
    assertThat(answers().of(metastore.store(id, at(90), record(90, 1)))).isTrue();
    assertThat(answers().of(metastore.store(freshId(), at(60), record(60, 1)))).isTrue();
  }

  /** The latest version is the one created last, in whatever order versions were stored. */
  @Test
  default void loadLatest_isTheGreatestCreated() {
    Metastore metastore = metastore();
    for (long[] order :
        new long[][] {{60, 120, 180}, {180, 120, 60}, {120, 180, 60}, {120, 60, 180}}) {
      String id = stored(metastore, order);
      assertThat(answers().of(metastore.loadLatest(id)))
          .as("the latest of versions stored in the order %s", Arrays.toString(order))
          .isEqualTo(record(180, 180));
    }
  }

  /** Times are compared as numbers: one with more digits is later. */
  @Test
  default void loadLatest_comparesTimesAsNumbers() {
    Metastore metastore = metastore();
    String id = stored(metastore, 999_999_999, 1_000_000_000, 99);
    assertThat(answers().of(metastore.loadLatest(id)).created()).isEqualTo(at(1_000_000_000));
  }

  // Ids.

  /** An id is no other id that starts with it. */
  @Test
  default void idsThatArePrefixesOfEachOther_areDifferentKeys() {
    String id = freshId();
    assertAreDifferentKeys(id, id + "_", id + "_a", id + "_ab", id + "0", id + " b");
  }

  /** An id with spaces, quotes, wild cards, escapes or slashes is taken as it is. */
  @Test
  default void idsWithSpecialCharacters_areDifferentKeys() {
    String id = freshId();
    assertAreDifferentKeys(
        Stream.of(
                "a b", "a_b", "a%b", "a'b", "a''b", "a\"b", "a`b", "a\\b", "a\\\\b", "a/b", "a;b",
                "a?b", "a:b", "a$1b", "a\tb", "a\nb", "a<b>&", "axb", "ab")
            .map(id::concat)
            .toArray(String[]::new));
  }

  /** Ids that differ only in lower and upper case are different keys. */
  @Test
  default void idsThatDifferInCase_areDifferentKeys() {
    String id = freshId();
    assertAreDifferentKeys(id + "key", id + "Key", id + "KEY", id + "\u00e9", id + "\u00c9");
  }

  /** Ids that differ only in spaces at the end are different keys. */
  @Test
  default void idsThatDifferInTrailingSpaces_areDifferentKeys() {
    String id = freshId();
    assertAreDifferentKeys(id, id + " ", id + "  ");
  }

  /** Letters outside ASCII are kept and told apart, accents and their composition included. */
  @Test
  default void idsOutsideAscii_areDifferentKeys() {
    String id = freshId();
    assertAreDifferentKeys(
        id + "e",
        id + "\u00e9",
        id + "e\u0301",
        id + "\u00df",
        id + "ss",
        id + "\u6f22\u5b57",
        id + "\u043a\u043b\u044e\u0447",
        id + "\ud83d\ude00",
        id + "\ud83d\ude01");
  }

  /** Ids of 200 characters are kept whole. */
  @Test
  default void idsOf200Characters_areDifferentKeys() {
    String id = freshId();
    String ascii = id + "x".repeat(199 - id.length());
    String other = id + "\u00e9".repeat(199 - id.length());
    assertAreDifferentKeys(ascii + "a", ascii + "b", other + "a", other + "b");
  }

  // Times.

  /** The first second that a timestamp of MySQL can hold, and others of its day, are kept. */
  @Test
  default void createdAtTheEpoch_isKeptExactly() {
    assertTimesAreKept("1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z", "1970-01-01T23:59:59Z");
  }

  /** Seconds are kept, on leap days and at the end of a year too. */
  @Test
  default void createdOnALeapDay_isKeptExactly() {
    assertTimesAreKept(
        "2024-02-28T23:59:59Z",
        "2024-02-29T00:00:00Z",
        "2024-02-29T23:59:59Z",
        "2024-03-01T00:00:00Z",
        "2024-12-31T23:59:59Z",
        "2025-01-01T00:00:00Z");
  }

  /** Times do not depend on a time zone in which an hour is left out. */
  @Test
  default void createdWhereClocksGoForward_isKeptExactly() {
    // The hour left out in Berlin and New York, in their own time and taken for UTC.
    assertTimesAreKept(
        "2026-03-08T01:59:59Z",
        "2026-03-08T02:30:00Z",
        "2026-03-08T03:30:00Z",
        "2026-03-08T06:59:59Z",
        "2026-03-08T07:00:00Z",
        "2026-03-29T00:59:59Z",
        "2026-03-29T01:00:00Z",
        "2026-03-29T02:30:00Z",
        "2026-03-29T03:30:00Z");
  }

  /** Times do not depend on a time zone in which an hour comes twice. */
  @Test
  default void createdWhereClocksGoBack_isKeptExactly() {
    // The hour that comes twice in Berlin and New York, in their own time and taken for UTC.
    assertTimesAreKept(
        "2026-10-25T00:30:00Z",
        "2026-10-25T01:30:00Z",
        "2026-10-25T02:30:00Z",
        "2026-11-01T01:30:00Z",
        "2026-11-01T05:30:00Z",
        "2026-11-01T06:30:00Z");
  }

  /** Times up to {@link #latestCreated()} are kept; 2038 is no end unless that says so. */
  @Test
  default void createdUpToTheLatest_isKeptExactly() {
    Instant latest = latestCreated();
    assertTimesAreKept(
        Stream.of("2038-01-19T03:14:07Z", "2038-01-19T03:14:08Z", "2039-07-01T00:00:00Z")
            .map(Instant::parse)
            .filter(created -> created.isBefore(latest))
            .toList(),
        latest);
  }

  // Subscriptions.

  /** Of 50 stores of the same version at once, one is told true, and its record is there. */
  @Test
  default void concurrentStoresOfOneVersion_oneWins() {
    Metastore metastore = metastore();
    String id = freshId();

    List<Integer> winners =
        answers()
            .together(
                IntStream.range(0, 50)
                    .mapToObj(
                        i ->
                            metastore
                                .store(id, at(60), record(60, i))
                                .map(stored -> stored ? i : -1))
                    .toList())
            .stream()
            .filter(i -> i >= 0)
            .toList();

    assertThat(winners).as("stores that were told true").hasSize(1);
    assertThat(answers().of(metastore.load(id, at(60)))).isEqualTo(record(60, winners.get(0)));
  }

  /** Calls of all kinds for many keys at once do not disturb each other. */
  @Test
  default void concurrentCallsForManyKeys_eachGetTheirOwn() {
    Metastore metastore = metastore();
    List<String> ids = Stream.generate(Answers::freshId).limit(50).toList();

    answers()
        .together(
            IntStream.range(0, ids.size())
                .mapToObj(i -> metastore.store(ids.get(i), at(60), record(60, i)))
                .toList());
    List<List<EnvelopeKeyRecord>> found =
        answers()
            .together(
                ids.stream()
                    .map(
                        id ->
                            Flux.mergeDelayError(
                                    2, metastore.load(id, at(60)), metastore.loadLatest(id))
                                .collectList())
                    .toList());

    assertThat(found)
        .containsExactlyInAnyOrderElementsOf(
            IntStream.range(0, ids.size())
                .mapToObj(i -> List.of(record(60, i), record(60, i)))
                .toList());
  }

  /** A store that nobody subscribes to does nothing. */
  @Test
  default void storeWithoutSubscription_doesNothing() {
    Metastore metastore = metastore();
    String id = freshId();
    Mono<Boolean> store = metastore.store(id, at(60), record(60, 1));
    answers().isEmpty(metastore.load(id, at(60)));
    assertThat(answers().of(store)).isTrue();
  }

  /** Every subscription to a store is an attempt of its own: the second one finds the first. */
  @Test
  default void storeSubscribedTwice_isTrueAndThenFalse() {
    Metastore metastore = metastore();
    Mono<Boolean> store = metastore.store(freshId(), at(60), record(60, 1));
    assertThat(answers().of(store)).isTrue();
    assertThat(answers().of(store)).isFalse();
  }

  /** Every subscription to a load looks anew: it finds what was stored in the meantime. */
  @Test
  default void loadSubscribedTwice_looksTwice() {
    Metastore metastore = metastore();
    String id = freshId();
    Mono<EnvelopeKeyRecord> load = metastore.load(id, at(60));
    Mono<EnvelopeKeyRecord> loadLatest = metastore.loadLatest(id);
    answers().isEmpty(load);
    answers().isEmpty(loadLatest);

    answers().of(metastore.store(id, at(60), record(60, 60)));
    assertThat(answers().of(load)).isEqualTo(record(60, 60));
    assertThat(answers().of(loadLatest)).isEqualTo(record(60, 60));

    answers().of(metastore.store(id, at(120), record(120, 120)));
    assertThat(answers().of(loadLatest)).isEqualTo(record(120, 120));
  }

  /** After many calls that were cancelled, at once or a little later, it works as before. */
  @Test
  default void cancelledSubscriptions_leaveItUsable() {
    Metastore metastore = metastore();
    String id = stored(metastore, 60);

    answers().cancelled(() -> metastore.load(id, at(60)));
    answers().cancelled(() -> metastore.loadLatest(id));
    answers().cancelled(() -> metastore.store(freshId(), at(60), record(60, 1)));

    assertThat(answers().of(metastore.store(id, at(120), record(120, 120)))).isTrue();
    assertThat(answers().of(metastore.load(id, at(60)))).isEqualTo(record(60, 60));
    assertThat(answers().of(metastore.loadLatest(id))).isEqualTo(record(120, 120));
  }

  /** A store that was cancelled has either happened or not: what is read then can be relied on. */
  @Test
  default void cancelledStore_leavesTheRecordOrNothing() {
    Metastore metastore = metastore();
    String id = freshId();

    answers().cancelled(() -> metastore.store(id, at(60), record(60, 1)));

    answers().of(metastore.store(id, at(60), record(60, 1)));
    assertThat(answers().of(metastore.load(id, at(60)))).isEqualTo(record(60, 1));
    assertThat(answers().of(metastore.store(id, at(60), record(60, 1)))).isFalse();
  }

  /** All calls can be subscribed to on a thread that must not block. */
  @Test
  default void subscribedOnANonBlockingThread_works() {
    Metastore metastore = metastore();
    String id = freshId();
    assertThat(answers().of(onParallel(metastore.store(id, at(60), record(60, 1))))).isTrue();
    assertThat(answers().of(onParallel(metastore.load(id, at(60))))).isEqualTo(record(60, 1));
    assertThat(answers().of(onParallel(metastore.loadLatest(id)))).isEqualTo(record(60, 1));
    if (metastore instanceof KeyInventory inventory) {
      KeySelector selector = KeySelector.id(id);
      assertThat(answers().of(onParallel(inventory.list(selector).count()))).isOne();
      assertThat(answers().of(onParallel(inventory.revoke(selector)))).isOne();
      assertThat(answers().of(onParallel(inventory.delete(selector)))).isOne();
    }
  }

  /** The name is a short word that metrics can use. */
  @Test
  default void name_isAShortWord() {
    assertThat(metastore().name()).matches("[a-z0-9-]+");
  }

  /** The key suffix is a text without underscore, which may be empty. */
  @Test
  default void keySuffix_isATextWithoutUnderscore() {
    assertThat(metastore().keySuffix()).isNotNull().doesNotContain("_");
  }

  // Failures.

  /** A read that fails is an error, never empty: absence is what lets a new key be made. */
  @Test
  default void loadFromAnUnreachableStore_isAnError() {
    Metastore unreachable = unreachable();
    answers().signals(MetastoreException.class, "load", unreachable.load(freshId(), at(60)));
    answers().signals(MetastoreException.class, "loadLatest", unreachable.loadLatest(freshId()));
  }

  /** A write that fails is an error, never false: that would mean that there is such a key. */
  @Test
  default void storeToAnUnreachableStore_isAnError() {
    Mono<Boolean> store = unreachable().store(freshId(), at(60), record(60, 1));
    answers().signals(MetastoreException.class, "store", store);
  }

  // The inventory, where there is one.

  /** Listing tells the name, the revocation and the parent of a key. */
  @Test
  default void listOfAKey_tellsWhatIsKnown() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = freshId();
    KeyMeta parent = new KeyMeta("_SK_service_product", at(7));
    answers()
        .of(metastore.store(id, at(60), new EnvelopeKeyRecord(at(60), bytes(60, 1), null, true)));
    answers()
        .of(
            metastore.store(
                id, at(120), new EnvelopeKeyRecord(at(120), bytes(60, 2), parent, false)));

    assertThat(answers().all(inventory.list(KeySelector.id(id))))
        .containsExactly(
            new KeyInfo(new KeyMeta(id, at(60)), true, Optional.empty()),
            new KeyInfo(new KeyMeta(id, at(120)), false, Optional.of(parent)));
  }

  /** The versions of a key are listed in the order of their creation, however they were stored. */
  @Test
  default void listOfAKey_isInTheOrderOfCreation() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = stored(metastore, 120, 1_000_000_000, 60, 999_999_999, 180);
    assertLists(inventory, KeySelector.id(id), id, 60, 120, 180, 999_999_999, 1_000_000_000);
  }

  /** A whole id selects that key alone, not those whose id starts with it or differs in case. */
  @Test
  default void selectorOfAnId_selectsThatIdAlone() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = freshId() + "_k";
    store(metastore, id, 60);
    Stream.of("_", "a", " ").forEach(end -> store(metastore, id + end, 60));
    store(metastore, id.replace("_k", "_K"), 60);
    assertLists(inventory, KeySelector.id(id), id, 60);
  }

  /** A version selects that version of that key alone. */
  @Test
  default void selectorOfAVersion_selectsThatVersionAlone() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = stored(metastore, 59, 60, 61);
    store(metastore, id + "a", 60);
    assertLists(inventory, KeySelector.version(new KeyMeta(id, at(60))), id, 60);
  }

  /** A prefix selects all keys whose id starts with it, itself included, and no others. */
  @Test
  default void selectorOfAPrefix_selectsWhatStartsWithIt() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String prefix = freshId() + "_k";
    List<String> selected = List.of(prefix, prefix + "_", prefix + "a", prefix + " b\u00e9");
    selected.forEach(id -> store(metastore, id, 60));
    store(metastore, prefix.replace("_k", "_K"), 60);
    store(metastore, "x" + prefix, 60);

    assertThat(answers().all(inventory.list(KeySelector.idPrefix(prefix))))
        .extracting(key -> key.meta().id())
        .containsExactlyInAnyOrderElementsOf(selected);
  }

  /** Nothing in a prefix is a wild card or an escape. */
  @Test
  default void wildCardsInAPrefix_areLiteral() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = freshId();
    List<String> characters = List.of("_", "%", "\\", "*", "?", "[", "'", "x");
    characters.forEach(character -> store(metastore, id + character + "b", 60));
    store(metastore, id + "\\_b", 60);

    for (String character : characters) {
      assertThat(answers().all(inventory.list(KeySelector.idPrefix(id + character + "b"))))
          .as("keys whose id starts with a prefix that contains %s", character)
          .extracting(key -> key.meta().id())
          .containsExactly(id + character + "b");
    }
    assertThat(answers().all(inventory.list(KeySelector.idPrefix(id + "%b%")))).isEmpty();
  }

  /** Both ends of a span of time select as they say: from includes its moment, before does not. */
  @Test
  default void selectorOfATime_includesFromAndExcludesBefore() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = stored(metastore, 60, 120, 180);
    KeySelector all = KeySelector.id(id);

    assertLists(inventory, all.createdBefore(at(120)), id, 60);
    assertLists(inventory, all.createdBefore(at(121)), id, 60, 120);
    assertLists(inventory, all.createdFrom(at(120)), id, 120, 180);
    assertLists(inventory, all.createdFrom(at(121)), id, 180);
    assertLists(inventory, all.createdFrom(at(61)).createdBefore(at(180)), id, 120);
    assertLists(inventory, all.createdFrom(at(120)).createdBefore(at(120)), id);
    assertLists(inventory, KeySelector.idPrefix(id).createdFrom(at(120)), id, 120, 180);
  }

  /** Revoking answers how many keys changed, and changes no others. */
  @Test
  default void revoke_countsWhatChanged() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = stored(metastore, 60, 120, 180);
    KeySelector early = KeySelector.id(id).createdBefore(at(180));

    assertThat(answers().of(inventory.revoke(KeySelector.version(new KeyMeta(id, at(60))))))
        .isEqualTo(1);
    assertThat(answers().of(inventory.revoke(early))).isEqualTo(1);
    assertThat(answers().of(inventory.revoke(early))).isZero();
    assertThat(answers().all(inventory.list(KeySelector.id(id))))
        .extracting(KeyInfo::isRevoked)
        .containsExactly(true, true, false);
  }

  /** A revoked key is read as revoked, and otherwise as it was. */
  @Test
  default void revokedKey_isLoadedAsRevoked() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = freshId();
    KeyMeta parent = new KeyMeta("_SK_service_product", at(7));
    answers()
        .of(
            metastore.store(
                id, at(60), new EnvelopeKeyRecord(at(60), bytes(60, 1), parent, false)));

    answers().of(inventory.revoke(KeySelector.id(id)));

    EnvelopeKeyRecord revoked = new EnvelopeKeyRecord(at(60), bytes(60, 1), parent, true);
    assertThat(answers().of(metastore.load(id, at(60)))).isEqualTo(revoked);
    assertThat(answers().of(metastore.loadLatest(id))).isEqualTo(revoked);
    assertThat(answers().of(metastore.store(id, at(60), record(60, 1))))
        .as("whether a revoked key can be stored over")
        .isFalse();
  }

  /** Deleting answers how many keys it removed; they are absent then, and can be stored again. */
  @Test
  default void delete_removesAndCounts() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = stored(metastore, 60, 120);

    assertThat(answers().of(inventory.delete(KeySelector.id(id)))).isEqualTo(2);

    answers().isEmpty(metastore.load(id, at(60)));
    answers().isEmpty(metastore.loadLatest(id));
    assertLists(inventory, KeySelector.id(id), id);
    assertThat(answers().of(metastore.store(id, at(60), record(60, 1)))).isTrue();
  }

  /** Deleting a version leaves the others, and the same time of other keys. */
  @Test
  default void deleteOfAVersion_leavesTheOthers() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = stored(metastore, 60, 120, 180);
    store(metastore, id + "a", 180);

    assertThat(answers().of(inventory.delete(KeySelector.version(new KeyMeta(id, at(180))))))
        .isEqualTo(1);

    assertLists(inventory, KeySelector.id(id), id, 60, 120);
    assertThat(answers().of(metastore.loadLatest(id))).isEqualTo(record(120, 120));
    assertLists(inventory, KeySelector.id(id + "a"), id + "a", 180);
  }

  /** A prefix with wild cards deletes and revokes no more than it lists. */
  @Test
  default void wildCardsInAPrefix_deleteAndRevokeNoMore() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = freshId();
    Stream.of("_b", "%b", "xb").forEach(end -> store(metastore, id + end, 60));

    assertThat(answers().of(inventory.revoke(KeySelector.idPrefix(id + "_")))).isEqualTo(1);
    assertThat(answers().of(inventory.delete(KeySelector.idPrefix(id + "%")))).isEqualTo(1);
    assertThat(answers().all(inventory.list(KeySelector.idPrefix(id))))
        .extracting(key -> key.meta().id())
        .containsExactlyInAnyOrder(id + "_b", id + "xb");
    assertThat(answers().of(metastore.load(id + "xb", at(60))).isRevoked()).isFalse();
  }

  /** A selector that selects nothing lists nothing, changes nothing, and is no error. */
  @Test
  default void selectorOfNothing_answersZero() {
    KeyInventory inventory = inventoryOf(metastore());
    for (KeySelector selector :
        List.of(KeySelector.id(freshId()), KeySelector.idPrefix(freshId()))) {
      assertThat(answers().all(inventory.list(selector))).isEmpty();
      assertThat(answers().of(inventory.revoke(selector))).isZero();
      assertThat(answers().of(inventory.delete(selector))).isZero();
    }
  }

  /** The inventory does nothing before a subscription, and each is a call of its own. */
  @Test
  default void inventorySubscribedTwice_callsTwice() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = stored(metastore, 60);
    KeySelector selector = KeySelector.id(id);
    Mono<Long> revoke = inventory.revoke(selector);
    Mono<Long> delete = inventory.delete(selector);
    Flux<KeyInfo> list = inventory.list(selector);

    assertThat(answers().of(metastore.load(id, at(60)))).isEqualTo(record(60, 60));
    assertThat(answers().of(revoke)).isEqualTo(1);
    assertThat(answers().of(revoke)).isZero();
    assertThat(answers().all(list)).hasSize(1);
    assertThat(answers().of(delete)).isEqualTo(1);
    assertThat(answers().of(delete)).isZero();
    assertThat(answers().all(list)).isEmpty();
  }

  /** After many calls to the inventory that were cancelled it works as before. */
  @Test
  default void cancelledCallsToTheInventory_leaveItUsable() {
    Metastore metastore = metastore();
    KeyInventory inventory = inventoryOf(metastore);
    String id = stored(metastore, 60);

    answers().cancelled(() -> inventory.list(KeySelector.id(id)).collectList());
    answers().cancelled(() -> inventory.list(KeySelector.id(id)).next());
    answers().cancelled(() -> inventory.revoke(KeySelector.id(freshId())));
    answers().cancelled(() -> inventory.delete(KeySelector.id(freshId())));

    assertLists(inventory, KeySelector.id(id), id, 60);
    assertThat(answers().of(inventory.delete(KeySelector.id(id)))).isEqualTo(1);
  }

  // What the tests share.

  private Answers answers() {
    return new Answers(timeout());
  }

  private Metastore unreachable() {
    return unreachableMetastore()
        .orElseGet(() -> abort("the test class has no unreachableMetastore()"));
  }

  private static KeyInventory inventoryOf(Metastore metastore) {
    assumeTrue(metastore instanceof KeyInventory, "the metastore is no KeyInventory");
    return (KeyInventory) metastore;
  }

  private static Instant at(long seconds) {
    return Instant.ofEpochSecond(seconds);
  }

  private static byte[] bytes(int length, int seed) {
    byte[] bytes = new byte[length];
    IntStream.range(0, length).forEach(i -> bytes[i] = (byte) (seed + 7 * i));
    return bytes;
  }

  private static EnvelopeKeyRecord record(long created, int seed) {
    return new EnvelopeKeyRecord(at(created), bytes(60, seed), null, false);
  }

  private void store(Metastore metastore, String id, long created) {
    assertThat(answers().of(metastore.store(id, at(created), record(created, (int) created))))
        .as("whether a new version was stored")
        .isTrue();
  }

  /** The id of a new key with these versions, stored in this order. */
  private String stored(Metastore metastore, long... created) {
    String id = freshId();
    for (long version : created) {
      store(metastore, id, version);
    }
    return id;
  }

  private void assertIsReadAsWritten(Metastore metastore, EnvelopeKeyRecord record) {
    String id = freshId();
    assertThat(answers().of(metastore.store(id, record.created(), record))).isTrue();
    assertThat(
            Stream.of(metastore.load(id, record.created()), metastore.loadLatest(id))
                .map(load -> answers().of(load)))
        .allSatisfy(
            read -> {
              assertThat(read.encryptedKey()).isEqualTo(record.encryptedKey());
              assertThat(read.parentKeyMeta()).isEqualTo(record.parentKeyMeta());
              assertThat(read.isRevoked()).isEqualTo(record.isRevoked());
              assertThat(read.created()).isEqualTo(record.created());
            });
  }

  private void assertAreDifferentKeys(String... ids) {
    Metastore metastore = metastore();
    for (int i = 0; i < ids.length; i++) {
      assertThat(answers().of(metastore.store(ids[i], at(60), record(60, i))))
          .as("whether <%s> was stored, after others", ids[i])
          .isTrue();
    }
    for (int i = 0; i < ids.length; i++) {
      assertThat(answers().optional(metastore.load(ids[i], at(60))))
          .as("the record of <%s>", ids[i])
          .contains(record(60, i));
      assertThat(answers().optional(metastore.loadLatest(ids[i])))
          .as("the latest record of <%s>", ids[i])
          .contains(record(60, i));
    }
  }

  private void assertTimesAreKept(String... times) {
    List<Instant> created = Stream.of(times).map(Instant::parse).toList();
    assertTimesAreKept(created, created.get(created.size() - 1));
  }

  private void assertTimesAreKept(List<Instant> created, Instant latest) {
    Metastore metastore = metastore();
    String id = freshId();
    List<Instant> all = Stream.concat(created.stream(), Stream.of(latest)).distinct().toList();
    for (Instant time : all) {
      assertThat(answers().of(metastore.store(id, time, recordOf(time))))
          .as("whether the version of %s was stored, after others", time)
          .isTrue();
    }
    for (Instant time : all) {
      assertThat(answers().optional(metastore.load(id, time)))
          .as("the version of %s", time)
          .contains(recordOf(time));
    }
    assertThat(answers().of(metastore.loadLatest(id))).isEqualTo(recordOf(latest));
    if (metastore instanceof KeyInventory inventory) {
      assertThat(answers().all(inventory.list(KeySelector.id(id))))
          .extracting(key -> key.meta().created())
          .isEqualTo(all);
    }
  }

  private static EnvelopeKeyRecord recordOf(Instant time) {
    return new EnvelopeKeyRecord(time, bytes(60, time.hashCode()), null, false);
  }

  private void assertLists(
      KeyInventory inventory, KeySelector selector, String id, long... created) {
    assertThat(answers().all(inventory.list(selector)))
        .as("keys selected by %s", selector)
        .extracting(KeyInfo::meta)
        .containsExactlyElementsOf(
            Arrays.stream(created).mapToObj(version -> new KeyMeta(id, at(version))).toList());
  }

  private static <T> Mono<T> onParallel(Mono<T> call) {
    return call.subscribeOn(Schedulers.parallel());
  }
}
