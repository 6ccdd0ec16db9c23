package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import io.asherah.reactive.kms.aws.KeyEnvelope.Kek;
import io.asherah.reactive.kms.aws.KmsScenario.Failed;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.testaws.KmsKey;
import io.asherah.reactive.testaws.KmsRegion;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.publisher.Mono;

/** Everything that can be wrong with a region, in one, two and three of them. */
class RegionMatrixIT {
  /** Of a region that never answers, so that nothing can be too slow for it. */
  private static final Duration SHORT = Duration.ofMillis(50);

  enum Trouble {
    HEALTHY(null),
    DENIED(Kind.ACCESS_DENIED),
    DISABLED(Kind.KEY_DISABLED),
    PENDING_DELETION(Kind.KEY_DISABLED),
    NOT_FOUND(Kind.KEY_NOT_FOUND),
    THROTTLED(Kind.THROTTLED),
    SERVER_ERROR(Kind.UNAVAILABLE),
    SILENT(Kind.TIMEOUT),
    REFUSED(Kind.UNAVAILABLE),
    GARBAGE(Kind.OTHER),
    EMPTY(Kind.OTHER),
    WRONG_LENGTH(Kind.INVALID_KEY);

    private final @Nullable Kind kind;

    Trouble(@Nullable Kind kind) {
      this.kind = kind;
    }

    void begin(KmsRegion region, KmsKey key) {
      switch (this) {
        case HEALTHY -> {}
        case DENIED -> key.deny();
        case DISABLED -> key.disable();
        case PENDING_DELETION -> key.scheduleDeletion();
        case NOT_FOUND -> key.delete();
        case THROTTLED -> region.fail(400, "ThrottlingException", "Rate exceeded");
        case SERVER_ERROR -> region.fail(500, "KMSInternalException", null);
        case SILENT -> region.silent();
        case REFUSED -> region.refuse();
        case GARBAGE -> region.garbage();
        case EMPTY -> region.emptyAnswer();
        case WRONG_LENGTH -> region.keyLength(16);
      }
    }

    /** How it fails to make, or to unwrap, a data key. */
    @Nullable Kind atKeys() {
      return kind;
    }

    /** How it fails to wrap a data key, whose answer has no key in it. */
    @Nullable Kind atEncrypt() {
      return this == WRONG_LENGTH ? null : kind;
    }
  }

  /** What a region fails at, in the words of a warning. */
  private static final String MAKE = "could not make a data key";

  private static final String LEFT_OUT = "will not be able to open the new system key";
  private static final String OPEN = "could not open a system key";

  static Stream<List<Trouble>> one() {
    return Stream.of(Trouble.values()).map(List::of);
  }

  static Stream<List<Trouble>> two() {
    return Stream.of(Trouble.values())
        .flatMap(first -> Stream.of(Trouble.values()).map(second -> List.of(first, second)));
  }

  /** Of nine kinds, every pair is in every pair of regions. */
  static Stream<List<Trouble>> three() {
    List<Trouble> all =
        List.of(
            Trouble.HEALTHY,
            Trouble.DENIED,
            Trouble.DISABLED,
            Trouble.NOT_FOUND,
            Trouble.THROTTLED,
            Trouble.SILENT,
            Trouble.REFUSED,
            Trouble.GARBAGE,
            Trouble.WRONG_LENGTH);
    int kinds = all.size();
    return IntStream.range(0, kinds * kinds)
        .mapToObj(
            i ->
                List.of(
                    all.get(i / kinds),
                    all.get(i % kinds),
                    all.get((i / kinds + i % kinds) % kinds)));
  }

  @ParameterizedTest
  @MethodSource({"one", "two", "three"})
  void troubles(List<Trouble> troubles) {
    try (KmsScenario scenario = new KmsScenario(troubles.size())) {
      for (int minimum = 1; minimum <= troubles.size(); minimum++) {
        new Cell(scenario, troubles, minimum).run();
      }
    }
  }

  /** One service among regions that have their troubles, and what is expected of it. */
  private static final class Cell {
    private final KmsScenario scenario;
    private final List<Trouble> troubles;
    private final int minimum;
    private final AwsKeyManagementService kms;
    private final List<String> warnings = new ArrayList<>();
    private final List<Failed> failures = new ArrayList<>();

    Cell(KmsScenario scenario, List<Trouble> troubles, int minimum) {
      this.scenario = scenario;
      this.troubles = troubles;
      this.minimum = minimum;
      this.kms =
          scenario
              .withRegions(AwsKeyManagementService.builder())
              .minimumRegions(minimum)
              .clientFactory(
                  region ->
                      new WatchedClient(scenario.client(region))
                          .limit(troubles.get(indexOf(region)) == Trouble.SILENT ? SHORT : null))
              .build();
    }

    private int indexOf(String region) {
      return IntStream.range(0, troubles.size())
          .filter(i -> scenario.name(i).equals(region))
          .findFirst()
          .orElseThrow();
    }

    void run() {
      byte[] before = minimum == 1 ? scenario.wrap(scenario.builder().build(), 1) : new byte[0];
      for (int i = 0; i < troubles.size(); i++) {
        if (minimum == 1) {
          troubles.get(i).begin(scenario.region(i), scenario.key(i));
        }
      }
      encrypts();
      if (minimum == 1) {
        decrypts(before);
      }
    }

    private void fails(int region, Kind kind, String what) {
      count(region, kind);
      warn(region, kind, what);
    }

    private void warn(int region, Kind kind, String what) {
      warnings.add("%s %s: (%s)".formatted(scenario.name(region), what, kind));
    }

    private void count(int region, Kind kind) {
      failures.add(new Failed("aws", scenario.name(region), kind));
    }

    private void encrypts() {
      List<Kind> passedOver = new ArrayList<>();
      int maker = 0;
      for (; maker < troubles.size(); maker++) {
        Kind kind = troubles.get(maker).atKeys();
        if (kind == null) {
          break;
        }
        passedOver.add(kind);
        fails(maker, kind, MAKE);
      }
      if (maker == troubles.size()) {
        expectError(wrap(), passedOver);
        return;
      }
      List<String> entries = new ArrayList<>();
      List<Integer> omitted = new ArrayList<>();
      for (int i = 0; i < troubles.size(); i++) {
        if (i == maker || troubles.get(i).atEncrypt() == null) {
          entries.add(scenario.name(i) + " " + scenario.key(i).arn());
        } else {
          omitted.add(i);
        }
      }
      boolean enough = entries.size() >= minimum;
      List<Kind> kinds = new ArrayList<>();
      for (int i : omitted) {
        Kind kind = Objects.requireNonNull(troubles.get(i).atEncrypt());
        kinds.add(kind);
        // One that was late before is not asked again, and was counted.
        if (kind != Kind.TIMEOUT || i > maker) {
          count(i, kind);
        }
        if (enough) {
          warn(i, kind, LEFT_OUT);
        }
      }
      if (!enough) {
        expectError(wrap(), kinds);
        return;
      }
      byte[] wrapped = expectSuccess(wrap());
      assertThat(KeyEnvelope.fromJson(wrapped).keks().stream().map(Cell::entry))
          .containsExactlyElementsOf(entries);
      assertThat(KeyEnvelope.fromJson(wrapped).keks().stream().map(Kek::region).distinct())
          .hasSameSizeAs(entries);
    }

    private static String entry(Kek kek) {
      return kek.region() + " " + kek.arn();
    }

    private Mono<byte[]> wrap() {
      return Mono.using(() -> scenario.secret(1), kms::encryptKey, Secret::close);
    }

    private void decrypts(byte[] wrapped) {
      List<Kind> kinds = new ArrayList<>();
      for (int i = 0; i < troubles.size(); i++) {
        Kind kind = troubles.get(i).atKeys();
        if (kind == null) {
          assertThat(expectSuccess(kms.decryptKey(wrapped).map(CryptoKey::take)))
              .isEqualTo(bytes(1));
          return;
        }
        kinds.add(kind);
        fails(i, kind, OPEN);
      }
      expectError(kms.decryptKey(wrapped).map(CryptoKey::take), kinds);
    }

    private byte[] expectSuccess(Mono<byte[]> call) {
      Object result = resultOf(call);
      assertThat(result).isInstanceOf(byte[].class);
      return (byte[]) result;
    }

    /** Of the kind of the first that may pass, or else of the first. */
    private void expectError(Mono<byte[]> call, List<Kind> kinds) {
      Object result = resultOf(call);
      assertThat(result)
          .isInstanceOfSatisfying(
              KmsException.class,
              e -> {
                boolean mayPass = kinds.stream().anyMatch(Cell::isRetryable);
                assertThat(e.isRetryable()).isEqualTo(mayPass);
                assertThat(e.kind())
                    .isEqualTo(
                        kinds.stream()
                            .filter(kind -> isRetryable(kind) || !mayPass)
                            .findFirst()
                            .orElseThrow());
                assertThat(e.getSuppressed()).hasSize(kinds.size() - 1);
              });
    }

    private static boolean isRetryable(Kind kind) {
      return new KmsException(kind, "", null).isRetryable();
    }

    private Object resultOf(Mono<byte[]> call) {
      Object result;
      List<String> logged;
      scenario.recorder.take();
      try (Log log = new Log()) {
        result = get(call.<Object>map(bytes -> bytes).onErrorResume(Mono::just));
        logged = log.warnings();
      }
      assertThat(logged.stream().map(Cell::shortened)).containsExactlyElementsOf(warnings);
      assertThat(scenario.recorder.take()).containsExactlyElementsOf(failures);
      warnings.clear();
      failures.clear();
      return result;
    }

    /** Without what is between the first and the last words. */
    private static String shortened(String warning) {
      return warning.replaceFirst(": .* \\(", ": (");
    }
  }
}
