package io.asherah.reactive.testkit;

import static java.util.stream.Collectors.joining;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** The kit finds what is wrong with a metastore. */
class MetastoreTestKitTest {

  /** What the kit is run for; its fields are set before. */
  static class Subject implements MetastoreTestKit {
    static Supplier<Metastore> metastore = InMemoryMetastore::new;
    static Optional<Metastore> unreachable = Optional.empty();
    static Duration timeout = Await.TIMEOUT;

    @Override
    public Metastore metastore() {
      return metastore.get();
    }

    @Override
    public Optional<Metastore> unreachableMetastore() {
      return unreachable;
    }

    @Override
    public Duration timeout() {
      return timeout;
    }
  }

  private static KitRun run(Supplier<Metastore> metastore) {
    Subject.metastore = metastore;
    return KitRun.of(Subject.class);
  }

  /** A metastore without inventory that does what it should, to be broken. */
  static class Plain implements Metastore {
    final InMemoryMetastore memory = new InMemoryMetastore();

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return memory.load(id, created);
    }

    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return memory.loadLatest(id);
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return memory.store(id, created, record);
    }
  }

  /** Like {@link Plain}, with an inventory. */
  static class WithInventory extends Plain implements KeyInventory {
    @Override
    public Flux<KeyInfo> list(KeySelector selector) {
      return memory.list(selector);
    }

    @Override
    public Mono<Long> revoke(KeySelector selector) {
      return memory.revoke(selector);
    }

    @Override
    public Mono<Long> delete(KeySelector selector) {
      return memory.delete(selector);
    }
  }

  /** Changes ids on their way in, as a column may. */
  abstract static class ChangesIds extends Plain {
    abstract String change(String id);

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return super.load(change(id), created);
    }

    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return super.loadLatest(change(id));
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return super.store(change(id), created, record);
    }
  }

  /** Changes times on their way in, as a column may. */
  abstract static class ChangesTimes extends Plain {
    abstract Instant change(Instant created);

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return super.load(id, change(created));
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return super.store(id, change(created), record);
    }
  }

  /** Changes records on their way in. */
  abstract static class ChangesRecords extends Plain {
    abstract EnvelopeKeyRecord change(EnvelopeKeyRecord record);

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return super.store(id, created, change(record));
    }
  }

  static class OverwritesOnStore extends WithInventory {
    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return delete(KeySelector.version(new KeyMeta(id, created)))
          .flatMap(deleted -> super.store(id, created, record).thenReturn(deleted == 0));
    }
  }

  static class AlwaysSaysTrue extends Plain {
    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return super.store(id, created, record).thenReturn(true);
    }
  }

  static class OldestAsLatest extends Plain {
    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return memory.list(KeySelector.id(id)).next().flatMap(key -> load(id, key.meta().created()));
    }
  }

  static class LastStoredAsLatest extends Plain {
    private final Map<String, Instant> last = new ConcurrentHashMap<>();

    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return Mono.fromSupplier(() -> last.get(id)).flatMap(created -> load(id, created));
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return super.store(id, created, record).doOnNext(stored -> last.put(id, created));
    }
  }

  static class LatestByText extends Plain {
    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return memory
          .list(KeySelector.id(id))
          .map(key -> key.meta().created())
          .sort(Comparator.comparing(created -> Long.toString(created.getEpochSecond())))
          .takeLast(1)
          .next()
          .flatMap(created -> load(id, created));
    }
  }

  static class LatestOfWhatStartsLikeIt extends Plain {
    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return memory
          .list(KeySelector.idPrefix(id))
          .last()
          .onErrorComplete()
          .flatMap(key -> memory.load(key.meta().id(), key.meta().created()));
    }
  }

  static class TruncatesIds extends ChangesIds {
    @Override
    String change(String id) {
      return id.substring(0, Math.min(id.length(), 128));
    }
  }

  static class IgnoresCase extends ChangesIds {
    @Override
    String change(String id) {
      return id.toLowerCase(Locale.ROOT);
    }
  }

  static class IgnoresTrailingSpaces extends ChangesIds {
    @Override
    String change(String id) {
      return id.stripTrailing();
    }
  }

  static class AsciiOnly extends ChangesIds {
    @Override
    String change(String id) {
      return id.replaceAll("[^\\x00-\\x7f]", "?");
    }
  }

  static class UnderscoreIsAnyCharacter extends ChangesIds {
    @Override
    String change(String id) {
      return id.substring(0, 30) + id.substring(30).replaceAll("a.b", "a_b");
    }
  }

  static class LocalTimeOfBerlin extends ChangesTimes {
    @Override
    Instant change(Instant created) {
      return created.atZone(ZoneId.of("Europe/Berlin")).toLocalDateTime().toInstant(ZoneOffset.UTC);
    }
  }

  static class UtcTakenForBerlin extends ChangesTimes {
    @Override
    Instant change(Instant created) {
      return LocalDateTime.ofInstant(created, ZoneOffset.UTC)
          .atZone(ZoneId.of("Europe/Berlin"))
          .toInstant();
    }
  }

  static class UtcTakenForNewYork extends ChangesTimes {
    @Override
    Instant change(Instant created) {
      return LocalDateTime.ofInstant(created, ZoneOffset.UTC)
          .atZone(ZoneId.of("America/New_York"))
          .toInstant();
    }
  }

  static class WholeMinutes extends ChangesTimes {
    @Override
    Instant change(Instant created) {
      return Instant.ofEpochSecond(created.getEpochSecond() / 60 * 60);
    }
  }

  static class EndsIn2038 extends ChangesTimes {
    @Override
    Instant change(Instant created) {
      return Instant.ofEpochSecond(Math.min(created.getEpochSecond(), Integer.MAX_VALUE));
    }
  }

  static class HasNoLeapDays extends ChangesTimes {
    @Override
    Instant change(Instant created) {
      LocalDateTime time = LocalDateTime.ofInstant(created, ZoneOffset.UTC);
      boolean isLeapDay = time.getMonthValue() == 2 && time.getDayOfMonth() == 29;
      return isLeapDay ? created.minus(Duration.ofDays(1)) : created;
    }
  }

  static class KeepsOneVersion extends Plain {
    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return loadLatest(id)
          .hasElement()
          .flatMap(exists -> exists ? Mono.just(false) : super.store(id, created, record));
    }
  }

  static class InventsAParent extends ChangesRecords {
    @Override
    EnvelopeKeyRecord change(EnvelopeKeyRecord record) {
      return new EnvelopeKeyRecord(
          record.created(),
          record.encryptedKey(),
          record.parentKeyMeta().orElse(new KeyMeta("null", Instant.EPOCH)),
          record.isRevoked());
    }
  }

  static class LosesTheParent extends ChangesRecords {
    @Override
    EnvelopeKeyRecord change(EnvelopeKeyRecord record) {
      return new EnvelopeKeyRecord(
          record.created(), record.encryptedKey(), null, record.isRevoked());
    }
  }

  static class LosesTheRevocation extends ChangesRecords {
    @Override
    EnvelopeKeyRecord change(EnvelopeKeyRecord record) {
      return new EnvelopeKeyRecord(
          record.created(), record.encryptedKey(), record.parentKeyMeta().orElse(null), false);
    }
  }

  static class TruncatesKeys extends ChangesRecords {
    @Override
    EnvelopeKeyRecord change(EnvelopeKeyRecord record) {
      byte[] key = record.encryptedKey();
      return new EnvelopeKeyRecord(
          record.created(),
          Arrays.copyOf(key, Math.min(key.length, 255)),
          record.parentKeyMeta().orElse(null),
          record.isRevoked());
    }
  }

  static class StoresAtAssembly extends Plain {
    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return Mono.justOrEmpty(super.store(id, created, record).block());
    }
  }

  static class RemembersTheAnswer extends Plain {
    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return super.store(id, created, record).cache();
    }

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return super.load(id, created).cache();
    }
  }

  static class LooksBeforeItStores extends Plain {
    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return load(id, created)
          .hasElement()
          .delayUntil(any -> gap())
          .flatMap(
              exists ->
                  exists ? Mono.just(false) : super.store(id, created, record).thenReturn(true));
    }

    /** Long where there are several at once, so that all have looked before one stores. */
    private static Mono<Long> gap() {
      return Schedulers.isInNonBlockingThread() ? Mono.delay(Duration.ofMillis(500)) : Mono.empty();
    }
  }

  static class LosesConnectionsToCancellation extends Plain {
    private final AtomicInteger connections = new AtomicInteger(10);

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return Mono.defer(
          () ->
              connections.getAndUpdate(free -> Math.max(0, free - 1)) == 0
                  ? Mono.never()
                  : super.load(id, created).doOnTerminate(connections::incrementAndGet));
    }
  }

  static class StoresInTwoSteps extends WithInventory {
    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      EnvelopeKeyRecord unfinished = new EnvelopeKeyRecord(created, new byte[0], null, false);
      return super.store(id, created, unfinished)
          .delayElement(Duration.ofMillis(100))
          .flatMap(
              stored ->
                  stored
                      ? delete(KeySelector.version(new KeyMeta(id, created)))
                          .then(super.store(id, created, record))
                      : Mono.just(false));
    }
  }

  static class MixesUpWhatIsConcurrent extends Plain {
    private final AtomicReference<EnvelopeKeyRecord> buffer = new AtomicReference<>();

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return super.load(id, created)
          .doOnNext(buffer::set)
          .delayElement(Duration.ofMillis(10))
          .map(record -> buffer.get());
    }
  }

  static class Blocks extends Plain {
    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return Mono.fromCallable(() -> new CountDownLatch(1).await(1, TimeUnit.MILLISECONDS))
          .then(super.load(id, created));
    }
  }

  static class NeverAnswers extends Plain {
    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return Mono.never();
    }
  }

  static class AnswersNothingToADuplicate extends Plain {
    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return super.store(id, created, record).filter(stored -> stored);
    }
  }

  static class FailsForADuplicate extends Plain {
    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return super.store(id, created, record)
          .filter(stored -> stored)
          .switchIfEmpty(Mono.error(() -> new MetastoreException("duplicate", null, false)));
    }
  }

  static class AbsenceIsAnError extends Plain {
    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return super.load(id, created)
          .switchIfEmpty(Mono.error(() -> new MetastoreException("absent", null, false)));
    }
  }

  static class HasAStrangeName extends Plain {
    @Override
    public String name() {
      return "My SQL";
    }
  }

  static class HasAnUnderscoreInItsSuffix extends Plain {
    @Override
    public String keySuffix() {
      return "eu_west";
    }
  }

  static class WildCardsInItsInventory extends WithInventory {
    private static boolean isLike(String id, String prefix) {
      String pattern =
          Stream.of(prefix.split("(?<=[_%])|(?=[_%])"))
              .map(part -> part.equals("_") ? "." : part.equals("%") ? ".*" : Pattern.quote(part))
              .collect(joining());
      return id.matches("(?s)" + pattern + ".*");
    }

    @Override
    public Flux<KeyInfo> list(KeySelector selector) {
      return selector.isPrefix()
          ? super.list(KeySelector.idPrefix(""))
              .filter(key -> isLike(key.meta().id(), selector.id()))
          : super.list(selector);
    }

    @Override
    public Mono<Long> delete(KeySelector selector) {
      return list(selector).concatMap(key -> super.delete(KeySelector.version(key.meta()))).count();
    }
  }

  static class TakesIdsForPrefixes extends WithInventory {
    @Override
    public Flux<KeyInfo> list(KeySelector selector) {
      return super.list(KeySelector.idPrefix(selector.id()));
    }
  }

  static class IgnoresTheCaseOfPrefixes extends WithInventory {
    @Override
    public Flux<KeyInfo> list(KeySelector selector) {
      String prefix = selector.id().toLowerCase(Locale.ROOT);
      return super.list(KeySelector.idPrefix(""))
          .filter(key -> key.meta().id().toLowerCase(Locale.ROOT).startsWith(prefix));
    }
  }

  static class LosesConnectionsOfItsInventory extends WithInventory {
    private final AtomicInteger connections = new AtomicInteger(10);

    @Override
    public Flux<KeyInfo> list(KeySelector selector) {
      return Flux.defer(
          () ->
              connections.getAndUpdate(free -> Math.max(0, free - 1)) == 0
                  ? Flux.never()
                  : super.list(selector).doOnTerminate(connections::incrementAndGet));
    }
  }

  static class ListsBackwards extends WithInventory {
    @Override
    public Flux<KeyInfo> list(KeySelector selector) {
      return super.list(selector)
          .collectList()
          .flatMapIterable(
              keys -> {
                Collections.reverse(keys);
                return keys;
              });
    }
  }

  static class IncludesBefore extends WithInventory {
    @Override
    public Flux<KeyInfo> list(KeySelector selector) {
      Instant before = selector.before();
      return super.list(before == null ? selector : selector.createdBefore(before.plusSeconds(1)));
    }
  }

  static class CountsWhatWasRevokedBefore extends WithInventory {
    @Override
    public Mono<Long> revoke(KeySelector selector) {
      return super.revoke(selector).then(list(selector).count());
    }
  }

  static class RevokesInTheListOnly extends WithInventory {
    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return super.load(id, created)
          .map(
              record ->
                  new EnvelopeKeyRecord(
                      created, record.encryptedKey(), record.parentKeyMeta().orElse(null), false));
    }
  }

  static class DeletesAllVersions extends WithInventory {
    @Override
    public Mono<Long> delete(KeySelector selector) {
      return super.delete(selector.isPrefix() ? selector : KeySelector.id(selector.id()));
    }
  }

  static class DeletesNothing extends WithInventory {
    @Override
    public Mono<Long> delete(KeySelector selector) {
      return list(selector).count();
    }
  }

  static class AnswersNothingForNothing extends WithInventory {
    @Override
    public Mono<Long> revoke(KeySelector selector) {
      return super.revoke(selector).filter(count -> count > 0);
    }
  }

  static class RevokesAtAssembly extends WithInventory {
    @Override
    public Mono<Long> revoke(KeySelector selector) {
      return Mono.justOrEmpty(super.revoke(selector).block());
    }
  }

  static Stream<Arguments> broken() {
    return Stream.of(
        broken(OverwritesOnStore::new, "storeOfAVersionThatExists_leavesItAsItIs"),
        broken(AlwaysSaysTrue::new, "storeOfAVersionThatExists_isFalse"),
        broken(AnswersNothingToADuplicate::new, "storeOfAVersionThatExists_isFalse"),
        broken(FailsForADuplicate::new, "storeOfAVersionThatExists_isFalse"),
        broken(AbsenceIsAnError::new, "loadOfAbsentKey_isEmpty", "loadOfAbsentVersion_isEmpty"),
        broken(OldestAsLatest::new, "loadLatest_isTheGreatestCreated"),
        broken(LastStoredAsLatest::new, "loadLatest_isTheGreatestCreated"),
        broken(LatestByText::new, "loadLatest_comparesTimesAsNumbers"),
        broken(LatestOfWhatStartsLikeIt::new, "idsThatArePrefixesOfEachOther_areDifferentKeys"),
        broken(TruncatesIds::new, "idsOf200Characters_areDifferentKeys"),
        broken(IgnoresCase::new, "idsThatDifferInCase_areDifferentKeys"),
        broken(IgnoresTrailingSpaces::new, "idsThatDifferInTrailingSpaces_areDifferentKeys"),
        broken(AsciiOnly::new, "idsOutsideAscii_areDifferentKeys"),
        broken(UnderscoreIsAnyCharacter::new, "idsWithSpecialCharacters_areDifferentKeys"),
        broken(LocalTimeOfBerlin::new, "createdWhereClocksGoBack_isKeptExactly"),
        broken(UtcTakenForBerlin::new, "createdWhereClocksGoForward_isKeptExactly"),
        broken(UtcTakenForNewYork::new, "createdWhereClocksGoForward_isKeptExactly"),
        broken(WholeMinutes::new, "createdAtTheEpoch_isKeptExactly", "loadOfAbsentVersion_isEmpty"),
        broken(HasNoLeapDays::new, "createdOnALeapDay_isKeptExactly"),
        broken(KeepsOneVersion::new, "storeOfAnotherVersionOrKey_isTrue"),
        broken(InventsAParent::new, "recordWithoutParent_isReadAsWritten"),
        broken(StoresInTwoSteps::new, "cancelledStore_leavesTheRecordOrNothing"),
        broken(MixesUpWhatIsConcurrent::new, "concurrentCallsForManyKeys_eachGetTheirOwn"),
        broken(TakesIdsForPrefixes::new, "selectorOfAnId_selectsThatIdAlone"),
        broken(IgnoresTheCaseOfPrefixes::new, "selectorOfAPrefix_selectsWhatStartsWithIt"),
        broken(LosesConnectionsOfItsInventory::new, "cancelledCallsToTheInventory_leaveItUsable"),
        broken(EndsIn2038::new, "createdUpToTheLatest_isKeptExactly"),
        broken(
            LosesTheParent::new,
            "recordWithParent_isReadAsWritten",
            "recordWithParentOfSpecialCharacters_isReadAsWritten"),
        broken(LosesTheRevocation::new, "revokedRecord_isReadAsWritten"),
        broken(
            TruncatesKeys::new,
            "wrappedKeysOfOtherLengths_areReadAsWritten",
            "everyByteValue_isReadAsWritten"),
        broken(StoresAtAssembly::new, "storeWithoutSubscription_doesNothing"),
        broken(
            RemembersTheAnswer::new,
            "storeSubscribedTwice_isTrueAndThenFalse",
            "loadSubscribedTwice_looksTwice"),
        broken(LooksBeforeItStores::new, "concurrentStoresOfOneVersion_oneWins"),
        broken(LosesConnectionsToCancellation::new, "cancelledSubscriptions_leaveItUsable"),
        broken(Blocks::new, "subscribedOnANonBlockingThread_works"),
        broken(HasAStrangeName::new, "name_isAShortWord"),
        broken(HasAnUnderscoreInItsSuffix::new, "keySuffix_isATextWithoutUnderscore"),
        broken(
            WildCardsInItsInventory::new,
            "wildCardsInAPrefix_areLiteral",
            "wildCardsInAPrefix_deleteAndRevokeNoMore"),
        broken(
            ListsBackwards::new,
            "listOfAKey_isInTheOrderOfCreation",
            "listOfAKey_tellsWhatIsKnown"),
        broken(
            IncludesBefore::new,
            "selectorOfATime_includesFromAndExcludesBefore",
            "selectorOfAVersion_selectsThatVersionAlone"),
        broken(CountsWhatWasRevokedBefore::new, "revoke_countsWhatChanged"),
        broken(RevokesInTheListOnly::new, "revokedKey_isLoadedAsRevoked"),
        broken(DeletesAllVersions::new, "deleteOfAVersion_leavesTheOthers"),
        broken(DeletesNothing::new, "delete_removesAndCounts"),
        broken(AnswersNothingForNothing::new, "selectorOfNothing_answersZero"),
        broken(RevokesAtAssembly::new, "inventorySubscribedTwice_callsTwice"));
  }

  private static Arguments broken(Supplier<Metastore> metastore, String... expectedFailures) {
    return arguments(
        Named.of(metastore.get().getClass().getSimpleName(), metastore), Set.of(expectedFailures));
  }

  @ParameterizedTest
  @MethodSource("broken")
  void brokenMetastore_isFound(Supplier<Metastore> metastore, Set<String> expectedFailures) {
    // Some of them leave calls without an answer.
    Subject.timeout = Duration.ofSeconds(1);
    try {
      assertThat(run(metastore).failed()).containsAll(expectedFailures);
    } finally {
      Subject.timeout = Await.TIMEOUT;
    }
  }

  @Test
  void missingAnswer_isFoundAfterTheTimeout() {
    Subject.timeout = Duration.ofMillis(10);
    try {
      assertThat(run(NeverAnswers::new).failed()).contains("loadLatestOfAbsentKey_isEmpty");
    } finally {
      Subject.timeout = Await.TIMEOUT;
    }
  }

  @Test
  void swallowedErrors_areFound() {
    Subject.unreachable =
        Optional.of(
            new Plain() {
              @Override
              public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
                return Mono.just(false);
              }
            });
    try {
      assertThat(run(InMemoryMetastore::new).failed())
          .containsExactlyInAnyOrder(
              "loadFromAnUnreachableStore_isAnError", "storeToAnUnreachableStore_isAnError");
    } finally {
      Subject.unreachable = Optional.empty();
    }
  }

  @Test
  void goodMetastore_passes_andWhatCannotBeTestedIsReported() {
    KitRun run = run(InMemoryMetastore::new);

    assertThat(run.failed()).isEmpty();
    assertThat(run.aborted())
        .containsExactlyInAnyOrder(
            "loadFromAnUnreachableStore_isAnError", "storeToAnUnreachableStore_isAnError");
  }

  @Test
  void metastoreWithoutInventory_passes_andTheInventoryIsReported() {
    KitRun run = run(Plain::new);

    assertThat(run.failed()).isEmpty();
    assertThat(run.aborted()).contains("listOfAKey_isInTheOrderOfCreation").hasSize(17);
  }

  @Test
  void everyTest_failsForSomeBrokenMetastore() {
    Set<String> proven =
        new HashSet<>(
            Set.of(
                "loadFromAnUnreachableStore_isAnError",
                "storeToAnUnreachableStore_isAnError",
                "loadLatestOfAbsentKey_isEmpty"));
    broken()
        .flatMap(broken -> ((Set<?>) broken.get()[1]).stream())
        .forEach(test -> proven.add((String) test));

    assertThat(proven).isEqualTo(run(InMemoryMetastore::new).started());
  }
}
