package io.asherah.reactive;

import static io.asherah.reactive.Scenario.get;
import static io.asherah.reactive.Scenario.utf8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.asherah.reactive.MemorySearch.Form;
import io.asherah.reactive.MemorySearch.Found;
import io.asherah.reactive.MemorySearch.Hit;
import io.asherah.reactive.MemorySearch.Mapping;
import io.asherah.reactive.securememory.MemfdSecret;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.securememory.SecureMemoryException;
import io.asherah.reactive.securememory.UnsupportedPlatformException;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.ChildJvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Where the keys of a process lie: all memory of a JVM that works with sessions is searched for
 * each system and intermediate key.
 *
 * <p>The JVM that is searched is a child of this one, and knows nothing of the search. It tells the
 * records it stores, in which keys are wrapped; this side opens them and looks into the memory of
 * the child, which is stopped meanwhile, through {@code /proc/<pid>/mem}. So the search leaves
 * neither a key nor a trace of one in the memory it looks at, as a search through {@code
 * /proc/self/mem} would with every buffer it reads into. Both files show pages that are {@code
 * PROT_NONE}. Root may open that of a child, and so may an ordinary user, for whom the security
 * module Yama allows it of children by default ({@code kernel.yama.ptrace_scope} 0 or 1); where it
 * does not, the tests are skipped and say so.
 */
class KeyResidueIT {
  private static final int PARTITIONS = 4;
  private static final int COLLECTIONS = 5;

  /** Small, so that all of it is soon overwritten, and a search takes a second. */
  private static final List<String> SMALL =
      List.of(
          "-Xms48m",
          "-Xmx48m",
          "-Xmn8m",
          // A thread's buffer for allocation would keep the end of eden as it was.
          "-XX:-UseTLAB",
          "-XX:CompressedClassSpaceSize=32m",
          // A compiled frame has gaps, in which a register that was saved there before would stay.
          "-XX:CompileCommand=quiet",
          "-XX:CompileCommand=exclude,io.asherah.reactive.KeyResidueIT$Child::overwriteStack",
          "-XX:ReservedCodeCacheSize=48m");

  /** What the child does, apart from its work. */
  enum Mode {
    /** Nothing. */
    ORDINARY,
    /** Its keys lie in pages of {@code memfd_secret}. */
    HIDDEN,
    /** It keeps a copy of the system key, as an array. */
    KEEPS_ARRAY,
    /** It keeps a cipher whose last key was the system key. */
    KEEPS_CIPHER
  }

  /** Works with sessions, lets the access window pass, and then does as it is told. */
  static final class Child {
    private static final int DEPTH = 2_000;
    private static final int SECURE_MEMORY_THREADS = 2;
    private static final CyclicBarrier MEETING = new CyclicBarrier(1 + PARTITIONS);
    private static final List<Object> kept = new ArrayList<>();
    private static @Nullable Filling filling;

    public static void main(String[] arguments) throws Exception {
      Mode mode = Mode.valueOf(arguments[0]);
      SecretFactory secrets =
          SecretFactory.builder()
              .memfdSecret(mode == Mode.HIDDEN ? MemfdSecret.REQUIRED : MemfdSecret.OFF)
              .build();
      try {
        get(secrets.create(new byte[] {1})).close();
      } catch (SecureMemoryException e) {
        System.out.println(
            (e instanceof UnsupportedPlatformException ? "unavailable " : "failed ") + e);
        return;
      }
      Metastore store = StoredKeys.telling(System.out::println);
      KeyManagementService kms = kms(mode);
      List<DataRowRecord> old = new ArrayList<>();
      SessionFactory maker = factory(store, kms, secrets, CryptoPolicy.defaults());
      for (int i = 0; i < PARTITIONS; i++) {
        old.add(get(maker.session("p" + i).encrypt(utf8("payload of the first factory"))));
      }
      maker.close().block(Await.TIMEOUT);
      SessionFactory factory = factory(store, kms, secrets, CryptoPolicy.defaults());
      SessionFactory withoutCaches =
          factory(
              store,
              kms,
              secrets,
              CryptoPolicy.builder().cacheSystemKeys(false).cacheIntermediateKeys(false).build());
      CountDownLatch done = new CountDownLatch(PARTITIONS);
      for (int i = 0; i < PARTITIONS; i++) {
        int partition = i;
        Thread worker =
            new Thread(
                () -> {
                  work(factory, withoutCaches, partition, old.get(partition));
                  done.countDown();
                  // Its cipher lives as long as it does.
                  overwriteStackWheneverTold();
                },
                "worker");
        worker.setDaemon(true);
        worker.start();
      }
      done.await();
      // The threads of Reactor and of the KMS have used their ciphers, this one ends with a record.
      DataRowRecord last = get(factory.session("p0").encrypt(utf8("payload")));
      System.out.println("record " + new String(last.toJson(), StandardCharsets.UTF_8));
      Await.until(() -> secrets.stats().openRegions() == 0);
      System.out.println("idle, after collections: " + collections());
      BufferedReader commands = new BufferedReader(new InputStreamReader(System.in));
      for (int i = 1; "collect".equals(commands.readLine()); i++) {
        overwriteGarbage();
        overwriteStacks(secrets);
        System.out.println("collected " + i);
      }
      Reference.reachabilityFence(kept);
      factory.close().then(withoutCaches.close()).then(secrets.close()).block(Await.TIMEOUT);
    }

    private static void work(
        SessionFactory factory, SessionFactory withoutCaches, int partition, DataRowRecord old) {
      Session session = factory.session("p" + partition);
      get(session.decrypt(old));
      for (int i = 0; i < 500; i++) {
        get(session.decrypt(get(session.encrypt(new byte[1_000]))));
      }
      byte[] tampered = old.data();
      tampered[0] ^= 1;
      fails(session.decrypt(new DataRowRecord(old.key(), tampered)));
      byte[] tamperedKey = old.key().encryptedKey();
      tamperedKey[0] ^= 1;
      fails(
          session.decrypt(
              new DataRowRecord(
                  new EnvelopeKeyRecord(
                      old.key().created(),
                      tamperedKey,
                      old.key().parentKeyMeta().orElseThrow(),
                      false),
                  old.data())));
      Session cold = withoutCaches.session("p" + partition);
      for (int i = 0; i < 20; i++) {
        get(cold.decrypt(get(cold.encrypt(new byte[1_000]))));
      }
      DataRowRecord record = get(session.encrypt(new byte[1_000]));
      System.out.println("record " + new String(record.toJson(), StandardCharsets.UTF_8));
    }

    private static void fails(Mono<?> mono) {
      try {
        mono.block(Await.TIMEOUT);
      } catch (InvalidRecordException e) {
        return;
      }
      throw new AssertionError("a record that was tampered with was opened");
    }

    private static SessionFactory factory(
        Metastore store, KeyManagementService kms, SecretFactory secrets, CryptoPolicy policy) {
      return SessionFactory.builder("product", "service")
          .metastore(store)
          .keyManagementService(kms)
          .secretFactory(secrets)
          .cryptoPolicy(policy)
          .build();
    }

    private static KeyManagementService kms(Mode mode) {
      KeyManagementService kms = StaticKeyManagementService.ofUtf8(Scenario.MASTER_KEY);
      return new KeyManagementService() {
        @Override
        public Mono<byte[]> encryptKey(Secret systemKey) {
          return kms.encryptKey(systemKey);
        }

        @Override
        public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
          return kms.decryptKey(encryptedKey)
              .map(
                  key -> {
                    byte[] bytes = key.take();
                    synchronized (kept) {
                      if (kept.isEmpty() && mode == Mode.KEEPS_ARRAY) {
                        kept.add(bytes.clone());
                      } else if (kept.isEmpty() && mode == Mode.KEEPS_CIPHER) {
                        kept.add(cipher(bytes));
                      }
                    }
                    return CryptoKey.takeOwnershipOf(bytes);
                  });
        }
      };
    }

    private static Cipher cipher(byte[] key) {
      try {
        Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
        cipher.init(
            Cipher.ENCRYPT_MODE,
            new SecretKeySpec(key, "AES"),
            new GCMParameterSpec(128, new byte[12]));
        return cipher;
      } catch (GeneralSecurityException e) {
        throw new AssertionError(e);
      }
    }

    private static void overwriteStackWheneverTold() {
      while (true) {
        meet();
        overwriteStack(DEPTH);
        meet();
      }
    }

    /** Those of all threads whose registers may have held a key. */
    private static void overwriteStacks(SecretFactory secrets) {
      meet();
      overwriteStack(DEPTH);
      Flux.just(Schedulers.parallel(), Schedulers.boundedElastic())
          .flatMap(
              scheduler ->
                  Flux.range(0, 50)
                      .flatMap(
                          i ->
                              Mono.fromSupplier(() -> overwriteStack(DEPTH))
                                  .subscribeOn(scheduler)))
          .blockLast(Await.TIMEOUT);
      // Of these none takes the task of the other, since each waits for it.
      CountDownLatch begun = new CountDownLatch(SECURE_MEMORY_THREADS);
      CountDownLatch ended = new CountDownLatch(SECURE_MEMORY_THREADS);
      for (int i = 0; i < SECURE_MEMORY_THREADS; i++) {
        secrets
            .scheduler()
            .schedule(
                () -> {
                  begun.countDown();
                  Await.until(() -> begun.getCount() == 0);
                  overwriteStack(DEPTH);
                  ended.countDown();
                });
      }
      Await.until(() -> ended.getCount() == 0);
      meet();
    }

    private static void meet() {
      try {
        MEETING.await();
      } catch (InterruptedException | BrokenBarrierException e) {
        throw new AssertionError(e);
      }
    }

    private static long overwriteStack(int depth) {
      return depth == 0 ? 0 : depth ^ overwriteStack(depth - 1);
    }

    private static long collections() {
      return ManagementFactory.getGarbageCollectorMXBeans().stream()
          .mapToLong(GarbageCollectorMXBean::getCollectionCount)
          .sum();
    }

    /** The smallest object there is: a larger one would leave the end of each space as it was. */
    private static final class Filling {
      final @Nullable Filling next;

      Filling(@Nullable Filling next) {
        this.next = next;
      }
    }

    /** Has garbage collected, and then fills all the space it leaves. */
    private static void overwriteGarbage() {
      System.gc();
      try {
        while (true) {
          filling = new Filling(filling);
        }
      } catch (OutOfMemoryError e) {
        filling = null;
      }
    }
  }

  @Test
  void everyKey_liesInItsSlot_andNowhereElseOnceGarbageIsOverwritten(@TempDir Path directory)
      throws IOException {
    try (Searched searched = new Searched(directory, Mode.ORDINARY, "-XX:+UseSerialGC")) {
      Found found = searched.search("before garbage was collected");
      searched.assertInSlots(found);
      for (int i = 0; i == 0 || (i < COLLECTIONS && !outside(found).isEmpty()); i++) {
        searched.collect();
        found = searched.search("after garbage was collected " + (i + 1) + " times");
      }
      searched.assertInSlots(found);
      assertThat(outside(found)).isEmpty();
    }
  }

  /** What a search finds otherwise are images of what the collector moved. */
  @Test
  void everyKey_liesInItsSlot_andNowhereElse_whereNothingWasCollectedYet(@TempDir Path directory)
      throws IOException {
    try (Searched searched =
        new Searched(
            directory, Mode.ORDINARY, "-XX:+UseSerialGC", "-Xms512m", "-Xmx512m", "-Xmn400m")) {
      assertThat(searched.child.awaitLine("idle")).isEqualTo("idle, after collections: 0");
      Found found = searched.search("where nothing was collected yet");
      searched.assertInSlots(found);
      assertThat(outside(found)).isEmpty();
    }
  }

  /** Of G1 it can only be said how much it leaves behind: nothing fills all of its regions. */
  @Test
  void everyKey_liesInItsSlot_alsoWhereGarbageIsLeftToG1(@TempDir Path directory)
      throws IOException {
    try (Searched searched = new Searched(directory, Mode.ORDINARY, "-XX:+UseG1GC")) {
      searched.assertInSlots(searched.search("before garbage was collected, by G1"));
      searched.collect();
      searched.assertInSlots(searched.search("after garbage was collected once, by G1"));
    }
  }

  @Test
  void hiddenKeys_areFoundNowhere(@TempDir Path directory) throws IOException {
    try (Searched searched = new Searched(directory, Mode.HIDDEN, "-XX:+UseSerialGC")) {
      Found found = searched.search("hidden, before garbage was collected");
      // On a stack as well, which is overwritten where another round is needed.
      for (int i = 0; i < COLLECTIONS && !found.hits().stream().allMatch(isRowKey()); i++) {
        searched.collect();
        found = searched.search("hidden, after garbage was collected " + (i + 1) + " times");
      }
      assertThat(found.hits().stream().filter(isRowKey().negate())).isEmpty();
      assertThat(found.hits()).anyMatch(isRowKey());
      assertThat(found.unreadable())
          .anyMatch(mapping -> mapping.name().contains("secretmem"))
          .allMatch(mapping -> mapping.name().contains("secretmem") || isGapOfAFile(mapping));
    }
  }

  @Test
  void copyThatIsKept_isFound(@TempDir Path directory) throws IOException {
    try (Searched searched = new Searched(directory, Mode.KEEPS_ARRAY, "-XX:+UseSerialGC")) {
      searched.collect();
      assertThat(outside(searched.search("with an array that is kept")))
          .anyMatch(hit -> hit.key().startsWith("_SK_") && hit.form() == Form.PLAIN);
    }
  }

  @Test
  void cipherThatRemembersASystemKey_isFound(@TempDir Path directory) throws IOException {
    try (Searched searched = new Searched(directory, Mode.KEEPS_CIPHER, "-XX:+UseSerialGC")) {
      searched.collect();
      assertThat(outside(searched.search("with a cipher that is kept")))
          .anyMatch(hit -> hit.key().startsWith("_SK_") && hit.form() == Form.EXPANDED);
    }
  }

  /**
   * The hits outside of locked memory that are not of a data row key. Those on the stack of a
   * thread are registers that were saved there, until it is as deep again; they are only counted.
   */
  private static List<Hit> outside(Found found) {
    return found.hits().stream()
        .filter(isRowKey().negate())
        .filter(hit -> !isLocked(hit.mapping()))
        .filter(hit -> !hit.mapping().isStack())
        .toList();
  }

  private static Predicate<Hit> isRowKey() {
    return hit -> hit.key().startsWith("row key");
  }

  /** Locked, left out of core dumps and forks, and closed. */
  private static boolean isLocked(Mapping mapping) {
    return mapping.flags().containsAll(List.of("lo", "dd", "dc"))
        && mapping.rights().startsWith("---");
  }

  /** What the loader leaves between the parts of a library, past the end of its file. */
  private static boolean isGapOfAFile(Mapping mapping) {
    return mapping.rights().equals("---p") && mapping.name().startsWith("/");
  }

  /** The JVM puts a heap that is as small as this one below 4 GiB. */
  private static String place(Hit hit) {
    return hit.address() < 1L << 32
        ? "the heap"
        : hit.mapping().isStack()
            ? "a stack"
            : hit.mapping().name().isEmpty() ? "native memory" : hit.mapping().name();
  }

  /** A child that has worked and is idle. */
  private static final class Searched implements AutoCloseable {
    private final ChildJvm.Running child;
    private final MemorySearch search;
    private final Set<String> keys = new HashSet<>();
    private int collections;

    Searched(Path directory, Mode mode, String... options) {
      this.child =
          ChildJvm.main(Child.class, mode.name())
              .options(SMALL.toArray(String[]::new))
              .options(options)
              // Or each thread reserves 64 MiB that are searched in vain.
              .through("export MALLOC_ARENA_MAX=1; exec \"$@\"")
              .start(directory);
      this.search = new MemorySearch(child.pid());
      boolean isIdle = false;
      try {
        awaitIdle(mode);
        isIdle = true;
      } finally {
        if (!isIdle) {
          child.close();
        }
      }
    }

    private void awaitIdle(Mode mode) {
      Await.until(() -> mode != Mode.HIDDEN || said("unavailable ") || said("idle"));
      if (said("unavailable ")) {
        String reason = child.awaitLine("unavailable ");
        System.err.println("KeyResidueIT: hidden keys were not searched for: " + reason);
        abort(reason);
      }
      child.awaitLine("idle");
      boolean isAllowed = search.isAllowed();
      if (!isAllowed) {
        System.err.println("KeyResidueIT: skipped, /proc/<pid>/mem of a child cannot be opened");
      }
      assumeTrue(isAllowed, "/proc/<pid>/mem of a child cannot be opened");
      lookForKeys();
    }

    private boolean said(String start) {
      return child.out().stream().anyMatch(line -> line.startsWith(start));
    }

    private void lookForKeys() {
      StoredKeys stored = new StoredKeys();
      child.out().forEach(stored::read);
      for (Map.Entry<KeyMeta, byte[]> key : stored.keys().entrySet()) {
        String name = key.getKey().id();
        keys.add(name);
        search.lookFor(name, key.getValue());
      }
      assertThat(keys).hasSize(1 + PARTITIONS);
      int rows = 0;
      for (String line : child.out()) {
        if (line.startsWith("record ")) {
          DataRowRecord record =
              DataRowRecord.fromJson(
                  line.substring("record ".length()).getBytes(StandardCharsets.UTF_8));
          search.lookFor("row key " + rows++, stored.rowKey(record));
        }
      }
      assertThat(rows).isEqualTo(1 + PARTITIONS);
    }

    void collect() {
      child.tell("collect");
      child.awaitLine("collected " + ++collections);
    }

    /** Searches, and says what was found. */
    Found search(String when) throws IOException {
      child.signal("STOP");
      Found found;
      try {
        found = search.search();
      } finally {
        child.signal("CONT");
      }
      Map<String, Long> places =
          found.hits().stream()
              .filter(isRowKey().negate())
              .filter(hit -> !isLocked(hit.mapping()))
              .collect(
                  Collectors.groupingBy(
                      hit -> hit.form() + " in " + place(hit),
                      TreeMap::new,
                      Collectors.counting()));
      System.err.printf(
          "KeyResidueIT: %s: %d keys, %d mappings, %d MiB; halves of keys outside of locked memory:"
              + " %s; halves of the last data row keys: %d; not readable: %s%n",
          when,
          keys.size(),
          found.mappings(),
          found.bytes() >> 20,
          places,
          found.hits().stream().filter(isRowKey()).count(),
          found.unreadable());
      return found;
    }

    /** Both halves of each key are in locked memory once, one behind the other. */
    void assertInSlots(Found found) {
      for (String key : keys) {
        List<Hit> slot =
            found.hits().stream()
                .filter(hit -> hit.key().equals(key) && isLocked(hit.mapping()))
                .toList();
        assertThat(slot).as("%s", key).hasSize(2).allMatch(hit -> hit.form() == Form.PLAIN);
        assertThat(slot.get(1).address()).isEqualTo(slot.get(0).address() + 16);
        assertThat(slot.get(0).address() % 32).isZero();
      }
      assertThat(found.unreadable()).allMatch(KeyResidueIT::isGapOfAFile);
      // The ciphers that are kept for reuse are alive, and the search sees what they hold.
      assertThat(found.hits()).anyMatch(isRowKey());
    }

    @Override
    public void close() {
      child.close();
    }
  }
}
