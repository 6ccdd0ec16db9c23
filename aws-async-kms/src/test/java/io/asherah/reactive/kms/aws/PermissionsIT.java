package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.done;
import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.testaws.KmsKey;
import io.asherah.reactive.testaws.KmsRequest;
import io.asherah.reactive.testsupport.Samples;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Which actions of IAM each use of the service needs, and no other. */
class PermissionsIT {
  /** On every key of a region, for a service that makes system keys. */
  static final Set<String> WRITER = Set.of("kms:GenerateDataKey", "kms:Encrypt", "kms:Decrypt");

  /** The same, with one region only. */
  static final Set<String> WRITER_OF_ONE_REGION = Set.of("kms:GenerateDataKey", "kms:Decrypt");

  /** On every key of a region, for a service that only opens. */
  static final Set<String> READER = Set.of("kms:Decrypt");

  /** On every key of {@code previousKeyArns}. */
  static final Set<String> PREVIOUS_KEYS = Set.of("kms:Decrypt");

  /** For {@code warmUp()}. */
  static final Set<String> WARM_UP = Set.of();

  private final KmsScenario scenario = new KmsScenario(3);

  @AfterEach
  void close() {
    scenario.close();
  }

  /** By key, or by {@code null} as text where none was named. */
  private Map<String, Set<String>> actions(int before) {
    Map<String, Set<String>> actions = new TreeMap<>();
    for (KmsRequest request :
        scenario.server.requests().subList(before, scenario.server.requests().size())) {
      actions
          .computeIfAbsent(String.valueOf(request.keyId()), any -> new TreeSet<>())
          .add("kms:" + request.operation());
    }
    return actions;
  }

  @Test
  void writer() {
    // Each region makes a data key, as each may have to while others are out of order.
    for (int i = 0; i < 3; i++) {
      AwsKeyManagementService kms = scenario.builder().preferredRegion(scenario.name(i)).build();
      assertThat(unwrap(kms, scenario.wrap(kms, 1))).isEqualTo(bytes(1));
    }
    Map<String, Set<String>> actions = actions(0);
    assertThat(actions).hasSize(3);
    assertThat(actions.values()).containsOnly(WRITER);
  }

  @Test
  void writerOfOneRegion() {
    for (String arn :
        List.of(scenario.key(0).arn(), scenario.key(0).alias("alias/one"), "alias/one")) {
      int before = scenario.server.requests().size();
      AwsKeyManagementService kms =
          AwsKeyManagementService.builder()
              .region(scenario.name(0), arn)
              .regionTimeout(KmsScenario.PATIENCE)
              .clientFactory(scenario::client)
              .build();
      unwrap(kms, scenario.wrap(kms, 1));
      assertThat(actions(before))
          .containsExactly(Map.entry(arn, new TreeSet<>(WRITER_OF_ONE_REGION)));
    }
  }

  @Test
  void reader() {
    byte[] wrapped = scenario.wrap(scenario.builder().build(), 1);
    int before = scenario.server.requests().size();
    for (int i = 0; i < 3; i++) {
      unwrap(scenario.builder().preferredRegion(scenario.name(i)).build(), wrapped);
    }
    Map<String, Set<String>> actions = actions(before);
    assertThat(actions).hasSize(3);
    assertThat(actions.values()).containsOnly(READER);
  }

  @Test
  void previousKeys() {
    KmsKey previous = scenario.region(0).createKey();
    byte[] old =
        scenario.wrap(
            AwsKeyManagementService.builder()
                .region(scenario.name(0), previous.arn())
                .regionTimeout(KmsScenario.PATIENCE)
                .clientFactory(scenario::client)
                .build(),
            1);
    int before = scenario.server.requests().size();
    AwsKeyManagementService kms =
        scenario.builder().previousKeyArns(List.of(previous.arn())).build();

    unwrap(kms, old);
    unwrap(kms, scenario.wrap(kms, 2));

    assertThat(actions(before)).containsEntry(previous.arn(), new TreeSet<>(PREVIOUS_KEYS));
  }

  @Test
  void warmUp() {
    AwsKeyManagementService kms =
        scenario.ownClients().credentialsProvider(KmsScenario.credentials()).build();
    done(kms.warmUp());
    assertThat(actions(0)).isEmpty();
    assertThat(WARM_UP).isEmpty();
    done(kms.close());
  }

  // What docs/aws.md says.

  /** The actions of the rows of the table whose last cells have these words. */
  private static Set<String> actionsFor(String words) throws IOException {
    return Pattern.compile("(?m)^\\| (`kms:[^|]*)\\|(.*)$")
        .matcher(document())
        .results()
        .filter(row -> row.group(2).contains(words))
        .flatMap(row -> actionsIn(row.group(1)))
        .collect(Collectors.toSet());
  }

  private static Stream<String> actionsIn(String text) {
    return Pattern.compile("\\bkms:[A-Z]\\w*").matcher(text).results().map(MatchResult::group);
  }

  private static String document() throws IOException {
    return Files.readString(Path.of("..", "docs", "aws.md"));
  }

  @Test
  void tableOfTheGuide_isWhatWasRecorded() throws IOException {
    String severalRegions = "with more than one region";
    assertThat(actionsFor("")).isEqualTo(WRITER);
    assertThat(actionsFor("each configured key")).isEqualTo(WRITER);
    Set<String> ofOneRegion = new TreeSet<>(WRITER);
    ofOneRegion.removeAll(actionsFor(severalRegions));
    assertThat(ofOneRegion).isEqualTo(WRITER_OF_ONE_REGION);
    assertThat(actionsFor("only reads")).isEqualTo(READER);
    assertThat(actionsFor("`previousKeyArns`")).isEqualTo(PREVIOUS_KEYS);
    assertThat(document()).contains("needs no more than `" + String.join("", PREVIOUS_KEYS) + "`");
  }

  @Test
  void policyOfTheGuide_isWhatWasRecorded() throws IOException {
    String policies =
        Samples.inDocument("docs/aws.md", "json").stream()
            .filter(block -> block.contains("\"Statement\""))
            .collect(Collectors.joining());
    List<Set<String>> statements =
        Pattern.compile("\"Action\": *\\[([^\\]]*)]")
            .matcher(policies)
            .results()
            .map(action -> actionsIn(action.group(1)).collect(Collectors.toSet()))
            .filter(actions -> !actions.isEmpty())
            .toList();
    assertThat(statements).containsExactly(WRITER);
  }

  /** No other action is named, wherever in the guide. */
  @Test
  void guide_namesNoOtherActionOfKms() throws IOException {
    assertThat(actionsIn(document())).allMatch(WRITER::contains);
  }

  /** Nothing is asked for that the constants do not have: what they have is enough. */
  @Test
  void withTheseActionsAlone_everythingWorks() {
    scenario.keys.forEach(key -> key.deny("DescribeKey", "ListKeys", "GetKeyPolicy"));
    AwsKeyManagementService kms = scenario.builder().minimumRegions(3).build();
    try (Secret secret = scenario.secret(1)) {
      assertThat(unwrap(kms, get(kms.encryptKey(secret)))).isEqualTo(bytes(1));
    }
  }
}
