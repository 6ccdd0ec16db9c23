package io.asherah.reactive;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.LimitPolicy;
import io.asherah.reactive.securememory.MemfdSecret;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.internal.LockedSecretFactory;
import io.asherah.reactive.securememory.internal.MemorySettings;
import io.asherah.reactive.securememory.internal.platform.NativeMemory;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.spi.KeyInfo;
import io.asherah.reactive.spi.KeyInventory;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.spi.KeySelector;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testsupport.Await;
import io.asherah.reactive.testsupport.SteadyTimeScheduler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * A session factory whose clocks stand still, whose metastore and key management service record
 * what is asked of them and can fail, and whose locked memory counts native calls. Closing it
 * checks that no key is left.
 */
final class Scenario implements AutoCloseable {
  static final String MASTER_KEY = "thisIsAStaticMasterKeyForTesting";
  static final Instant START = Instant.parse("2026-03-12T12:58:20Z");

  final SteadyTimeScheduler time;
  final AtomicLong wallClockOffsetSeconds = new AtomicLong();
  final AtomicLong nativeCalls = new AtomicLong();
  final LockedSecretFactory secrets;
  private volatile long lastLocked;
  final Recorded calls = new Recorded();
  final Metastore store;
  final SessionFactory factory;

  /** The calls to the outside by name, and what is to happen instead of some of them. */
  static final class Recorded {
    private final Queue<String> names = new ConcurrentLinkedQueue<>();
    private final ConcurrentMap<String, UnaryOperator<Mono<Object>>> changes =
        new ConcurrentHashMap<>();
    private final ConcurrentMap<String, UnaryOperator<Mono<Object>>> watches =
        new ConcurrentHashMap<>();
    private final ConcurrentMap<String, Error> thrown = new ConcurrentHashMap<>();

    List<String> take() {
      List<String> taken = List.copyOf(names);
      names.clear();
      return taken;
    }

    long count(String name) {
      return names.stream().filter(name::equals).count();
    }

    /** Changes the answer to all calls of that name, until it is told otherwise. */
    void change(String name, UnaryOperator<Mono<Object>> change) {
      changes.put(name, change);
    }

    /** Watches all calls of that name, whatever happens instead of them. */
    void watch(String name, UnaryOperator<Mono<Object>> watch) {
      watches.put(name, watch);
    }

    /** Lets the back end throw instead of signalling. */
    void throwFrom(String name, Error error) {
      thrown.put(name, error);
    }

    void fail(String name, Throwable error) {
      change(name, answer -> Mono.error(error));
    }

    void answerAsBefore() {
      changes.clear();
      thrown.clear();
    }

    @SuppressWarnings("unchecked")
    private <T> Mono<T> record(String name, Supplier<Mono<T>> call) {
      Error error = thrown.get(name);
      if (error != null) {
        throw error;
      }
      return Mono.defer(
          () -> {
            names.add(name);
            UnaryOperator<Mono<Object>> change =
                changes.getOrDefault(name, UnaryOperator.identity());
            UnaryOperator<Mono<Object>> watch =
                watches.getOrDefault(name, UnaryOperator.identity());
            return (Mono<T>) watch.apply(change.apply((Mono<Object>) call.get()));
          });
    }
  }

  Scenario() {
    this(new InMemoryMetastore(), CryptoPolicy.defaults(), "");
  }

  Scenario(Metastore store, CryptoPolicy policy, String suffix) {
    this(store, policy, suffix, 1_024);
  }

  Scenario(Metastore store, CryptoPolicy policy, String suffix, int maxPendingCreations) {
    this(store, policy, suffix, maxPendingCreations, options -> options);
  }

  /** A scenario with other options than the defaults. */
  Scenario(Metastore store, CryptoPolicy policy, UnaryOperator<SessionFactory.Builder> options) {
    this(store, policy, "", 1_024, options);
  }

  /**
   * A scenario in which a call that the test holds up is not given up, on a busy machine either.
   */
  static Scenario patient(Metastore store, CryptoPolicy policy) {
    return new Scenario(
        store, policy, options -> options.callTimeout(Await.TIMEOUT).loadTimeout(Await.TIMEOUT));
  }

  /** A scenario in which also back-offs and other pauses end when the test lets time pass. */
  static Scenario withVirtualTimer(Metastore store, CryptoPolicy policy) {
    SteadyTimeScheduler time = new SteadyTimeScheduler();
    return new Scenario(
        store,
        policy,
        "",
        1_024,
        options ->
            options
                .timerScheduler(time)
                .callTimeout(Duration.ofDays(1))
                .loadTimeout(Duration.ofDays(1)),
        time);
  }

  Scenario(
      Metastore store,
      CryptoPolicy policy,
      String suffix,
      int maxPendingCreations,
      UnaryOperator<SessionFactory.Builder> options) {
    this(store, policy, suffix, maxPendingCreations, options, new SteadyTimeScheduler());
  }

  /** One of several scenarios in the same time. */
  Scenario(
      Metastore store,
      CryptoPolicy policy,
      String suffix,
      int maxPendingCreations,
      UnaryOperator<SessionFactory.Builder> options,
      SteadyTimeScheduler time) {
    this.time = time;
    this.store = store;
    this.secrets =
        new LockedSecretFactory(
            countingMemory(),
            new MemorySettings(
                Duration.ofSeconds(1),
                maxPendingCreations,
                0,
                LimitPolicy.FAIL,
                MemfdSecret.OFF,
                Duration.ZERO),
            () -> time.now(TimeUnit.NANOSECONDS),
            time,
            Schedulers.parallel());
    this.factory =
        options
            .apply(
                SessionFactory.builder("product", "service")
                    .metastore(recording(store, suffix))
                    .keyManagementService(recording(StaticKeyManagementService.ofUtf8(MASTER_KEY)))
                    .cryptoPolicy(policy)
                    .clock(new WallClock())
                    .ticker(() -> time.now(TimeUnit.NANOSECONDS))
                    .callBackoff(Duration.ofMillis(1))
                    .secretFactory(secrets))
            .build();
  }

  private NativeMemory countingMemory() {
    NativeMemory real = Platforms.memory(false);
    return (NativeMemory)
        Proxy.newProxyInstance(
            NativeMemory.class.getClassLoader(),
            new Class<?>[] {NativeMemory.class},
            (proxy, method, arguments) -> {
              nativeCalls.incrementAndGet();
              if (method.getName().equals("lock")) {
                lastLocked = (long) arguments[0];
              }
              try {
                return method.invoke(real, arguments);
              } catch (InvocationTargetException e) {
                throw Objects.requireNonNull(e.getCause());
              }
            });
  }

  /** Writes over the end of the region that was locked last, as a bug in native code would. */
  void overwriteTheEndOfTheLastRegion() {
    NativeMemory memory = Platforms.memory(false);
    int region = 16_384;
    memory.protect(lastLocked, region, NativeMemory.Access.READ_WRITE);
    ByteBuffer bytes = memory.view(lastLocked, region);
    bytes.put(region - 1, (byte) ~bytes.get(region - 1));
    memory.protect(lastLocked, region, NativeMemory.Access.READ);
  }

  Metastore recording(Metastore metastore, String suffix) {
    return new Recording(metastore, suffix);
  }

  private final class Recording implements Metastore, KeyInventory {
    private final Metastore metastore;
    private final String suffix;

    private Recording(Metastore metastore, String suffix) {
      this.metastore = metastore;
      this.suffix = suffix;
    }

    @Override
    public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
      return calls.record("load(" + kind(id) + ")", () -> metastore.load(id, created));
    }

    @Override
    public Mono<EnvelopeKeyRecord> loadLatest(String id) {
      return calls.record("loadLatest(" + kind(id) + ")", () -> metastore.loadLatest(id));
    }

    @Override
    public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
      return calls.record("store(" + kind(id) + ")", () -> metastore.store(id, created, record));
    }

    @Override
    public String keySuffix() {
      return suffix;
    }

    @Override
    public Flux<KeyInfo> list(KeySelector selector) {
      return calls
          .record("list", () -> ((KeyInventory) metastore).list(selector).collectList())
          .flatMapIterable(all -> all);
    }

    @Override
    public Mono<Long> revoke(KeySelector selector) {
      return calls.record("revoke", () -> ((KeyInventory) metastore).revoke(selector));
    }

    @Override
    public Mono<Long> delete(KeySelector selector) {
      return calls.record("delete", () -> ((KeyInventory) metastore).delete(selector));
    }

    private String kind(String id) {
      return id.substring(1, 3);
    }
  }

  KeyManagementService recording(KeyManagementService kms) {
    return new KeyManagementService() {
      @Override
      public Mono<byte[]> encryptKey(Secret systemKey) {
        return calls.record("encryptKey", () -> kms.encryptKey(systemKey));
      }

      @Override
      public Mono<CryptoKey> decryptKey(byte[] encryptedKey) {
        return calls.record("decryptKey", () -> kms.decryptKey(encryptedKey));
      }
    };
  }

  /** Lets time pass, on the wall clock and on the ticker. */
  void pass(Duration duration) {
    time.advanceTimeBy(duration);
  }

  Session session() {
    return factory.session("partition");
  }

  /** Replaces a record, as the revocation scripts of Asherah do. */
  void revoke(String id, Instant created) {
    calls.change(
        "load(" + id.substring(1, 3) + ")",
        answer -> answer.map(record -> revoked((EnvelopeKeyRecord) record, created)));
    calls.change(
        "loadLatest(" + id.substring(1, 3) + ")",
        answer -> answer.map(record -> revoked((EnvelopeKeyRecord) record, created)));
  }

  private static EnvelopeKeyRecord revoked(EnvelopeKeyRecord record, Instant created) {
    return record.created().equals(created)
        ? new EnvelopeKeyRecord(
            created, record.encryptedKey(), record.parentKeyMeta().orElse(null), true)
        : record;
  }

  static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static <T> T get(Mono<T> mono) {
    return Objects.requireNonNull(mono.block(Await.TIMEOUT), "the Mono completed empty");
  }

  @Override
  public void close() {
    factory.close().block(Await.TIMEOUT);
    Await.until(() -> secrets.stats().liveSecrets() == 0);
    secrets.close().block(Await.TIMEOUT);
    assertThat(secrets.stats().lockedBytes()).isZero();
    assertThat(secrets.stats().leakedSecrets()).isZero();
  }

  private final class WallClock extends Clock {
    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(@Nullable ZoneId zone) {
      return this;
    }

    @Override
    public Instant instant() {
      return START
          .plusNanos(time.now(TimeUnit.NANOSECONDS))
          .plusSeconds(wallClockOffsetSeconds.get());
    }
  }
}
