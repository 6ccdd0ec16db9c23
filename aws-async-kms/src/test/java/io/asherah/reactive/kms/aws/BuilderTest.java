package io.asherah.reactive.kms.aws;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.spi.MetricsRecorder;
import java.time.Duration;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a builder refuses; the tests that have servers show what its options do. */
class BuilderTest {
  private static final String WEST = "us-west-2";
  private static final String EAST = "us-east-1";
  private static final String WEST_ARN = "arn:aws:kms:us-west-2:111122223333:key/one";
  private static final String EAST_ARN = "arn:aws:kms:us-east-1:111122223333:key/two";

  private static AwsKeyManagementService.Builder two() {
    return AwsKeyManagementService.builder().region(WEST, WEST_ARN).region(EAST, EAST_ARN);
  }

  @Test
  void text_namesTheRegionsInTheirOrder() {
    assertThat(two().build()).hasToString("AwsKeyManagementService[us-west-2, us-east-1]");
    assertThat(two().preferredRegion(EAST).build())
        .hasToString("AwsKeyManagementService[us-east-1, us-west-2]");
    assertThat(AwsKeyManagementService.create(WEST, WEST_ARN))
        .hasToString("AwsKeyManagementService[us-west-2]");
  }

  @Test
  void mapOfRegions_isAddedInItsOrder() {
    Map<String, String> map = new LinkedHashMap<>();
    map.put(EAST, EAST_ARN);
    map.put("us-gov-west-1", "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/three");
    map.put(WEST, WEST_ARN);
    AwsKeyManagementService.Builder builder = AwsKeyManagementService.builder();
    map.forEach(builder::region);
    assertThat(builder.build())
        .hasToString("AwsKeyManagementService[us-east-1, us-gov-west-1, us-west-2]");
  }

  @Test
  void name_isAws() {
    assertThat(two().build().name()).isEqualTo("aws");
  }

  @Test
  void building_callsNobody() {
    AtomicInteger calls = new AtomicInteger();
    two()
        .clientFactory(
            region -> {
              calls.incrementAndGet();
              throw new IllegalStateException(region);
            })
        .build();
    two().clientCustomizer((region, builder) -> calls.incrementAndGet()).build();
    assertThat(calls).hasValue(0);
  }

  @Test
  void builder_canBeUsedAgain_withoutChangingWhatItBuilt() {
    AwsKeyManagementService.Builder builder =
        AwsKeyManagementService.builder().region(WEST, WEST_ARN);
    AwsKeyManagementService first = builder.build();
    AwsKeyManagementService second = builder.region(EAST, EAST_ARN).preferredRegion(EAST).build();
    assertThat(first).hasToString("AwsKeyManagementService[us-west-2]");
    assertThat(second).hasToString("AwsKeyManagementService[us-east-1, us-west-2]");
  }

  static Stream<UnaryOperator<AwsKeyManagementService.Builder>> refused() {
    return Stream.of(
        b -> b.region("", "alias/key"),
        b -> b.region("US-WEST-1", "alias/key"),
        b -> b.region("uswest1", "alias/key"),
        b -> b.region("us-west-1\n", "alias/key"),
        b -> b.region("us west 1", "alias/key"),
        b -> b.region("us-west-", "alias/key"),
        b -> b.region("us-west-1.example.org", "alias/key"),
        b -> b.region(WEST, WEST_ARN),
        b -> b.region("us-west-1", ""),
        b -> b.region("us-west-1", " \t"),
        b -> b.region("us-west-1", WEST_ARN),
        b -> b.region("us-west-1", "arn:aws-cn:kms:cn-north-1:1:key/x"),
        b -> b.region("us-west-1", "arn:aws:kms::1:key/x"),
        b -> b.profile(""),
        b -> b.profile(" \t"),
        b -> b.minimumRegions(0),
        b -> b.minimumRegions(-1),
        b -> b.regionTimeout(Duration.ZERO),
        b -> b.regionTimeout(Duration.ofNanos(-1)),
        b -> b.regionTimeout(Duration.ofDays(1).plusNanos(1)),
        b -> b.previousKeyArns(List.of(WEST_ARN, "")),
        b -> b.previousKeyArns(List.of(WEST_ARN, "arn:aws:kms::1:key/x")),
        b -> b.previousKeyArns(List.of("arn:aws:kms:us west 1:1:key/x")));
  }

  @ParameterizedTest
  @MethodSource("refused")
  void badValue_isRefusedWhereItIsGiven(UnaryOperator<AwsKeyManagementService.Builder> option) {
    AwsKeyManagementService.Builder builder = two();
    assertThatThrownBy(() -> option.apply(builder)).isInstanceOf(IllegalArgumentException.class);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        " ",
        "alias/my key",
        "alias/key\n",
        "\talias/key",
        "1234abcd-12ab-34cd-56ef-1234567890ab\r\n",
        WEST_ARN + "\n",
        WEST_ARN + " ",
        " " + WEST_ARN,
        WEST_ARN + "\u2028",
        "arn:aws:kms:us-west-2:111122223333:key/\none"
      })
  void keyWithWhiteSpace_isRefused_andQuoted(String key) {
    isRefused(key, "white space", "'" + key + "'");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "arn:",
        "arn:aws:kms",
        "arn:aws:kms:us-west-2",
        "arn:aws:kms:us-west-2:111122223333",
        "arn:aws:kms:us-west-2:111122223333:",
        "arn:aws:kms:us-west-2:111122223333:key/",
        "arn:aws:kms:us-west-2:111122223333:one",
        "arn:aws:kms:us-west-2:111122223333:grant/one",
        "arn:aws:kms:us-west-2::key/one",
        "arn:aws:kms::111122223333:key/one",
        "arn:aws:s3:::bucket",
        "arn:aws:s3:us-west-2:111122223333:key/one",
        "arn:AWS:kms:us-west-2:111122223333:key/one"
      })
  void arnOfNoMasterKey_isRefused_andQuoted(String key) {
    isRefused(key, "arn:aws:kms:us-west-2:111122223333:key/…", key);
  }

  private static void isRefused(String key, String... told) {
    for (UnaryOperator<AwsKeyManagementService.Builder> option :
        List.<UnaryOperator<AwsKeyManagementService.Builder>>of(
            b -> b.region(WEST, key), b -> b.previousKeyArns(List.of("alias/good", key)))) {
      assertThatThrownBy(() -> option.apply(AwsKeyManagementService.builder()))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContainingAll(told);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "us-gov-east-1",
        "cn-northwest-1",
        "us-isob-east-1",
        "eusc-de-east-1",
        "ap-southeast-7",
        "mx-central-1"
      })
  void regionsOfAllPartitions_areAccepted(String region) {
    assertThatCode(
            () ->
                AwsKeyManagementService.builder()
                    .region(region, "arn:aws-any:kms:%s:1:key/mrk-x".formatted(region))
                    .build())
        .doesNotThrowAnyException();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "1234abcd-12ab-34cd-56ef-1234567890ab",
        "mrk-1234abcd12ab34cd56ef1234567890ab",
        "alias/key",
        "alias/x",
        "alias/team/key_1",
        "arn:aws:kms:us-west-2:111122223333:alias/key",
        "arn:aws:kms:us-west-2:111122223333:alias/team/key_1",
        "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
        "some:arn:value"
      })
  void otherNamesOfKeys_areAccepted(String key) {
    assertThatCode(() -> AwsKeyManagementService.create(WEST, key)).doesNotThrowAnyException();
    assertThatCode(() -> two().previousKeyArns(List.of(key)).build()).doesNotThrowAnyException();
  }

  @ParameterizedTest
  @CsvSource({
    "cn-north-1, arn:aws-cn:kms:cn-north-1:111122223333:key/one",
    "us-gov-west-1, arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/one",
    "us-iso-east-1, arn:aws-iso:kms:us-iso-east-1:111122223333:key/one"
  })
  void arnsOfOtherPartitions_areAccepted_inTheirRegionOnly(String region, String arn) {
    assertThatCode(() -> AwsKeyManagementService.create(region, arn)).doesNotThrowAnyException();
    assertThatCode(() -> two().previousKeyArns(List.of(arn)).build()).doesNotThrowAnyException();
    assertThatThrownBy(() -> AwsKeyManagementService.create(WEST, arn))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContainingAll(WEST, "another region", arn);
  }

  @Test
  void combinationsThatCannotBe_areRefusedByBuild() {
    assertThatThrownBy(AwsKeyManagementService.builder()::build)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("region()");
    assertThatThrownBy(two().minimumRegions(3)::build)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("3");
    assertThatThrownBy(two().preferredRegion("eu-west-1")::build)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("eu-west-1");
    assertThatCode(two().minimumRegions(2)::build).doesNotThrowAnyException();
  }

  static Stream<UnaryOperator<AwsKeyManagementService.Builder>> conflicts() {
    UnaryOperator<AwsKeyManagementService.Builder> factory =
        b ->
            b.clientFactory(
                region -> {
                  throw new AssertionError(region);
                });
    UnaryOperator<AwsKeyManagementService.Builder> credentials =
        b -> b.credentialsProvider(KmsScenario.credentials());
    UnaryOperator<AwsKeyManagementService.Builder> profile = b -> b.profile("profile");
    UnaryOperator<AwsKeyManagementService.Builder> customizer =
        b -> b.clientCustomizer((region, builder) -> {});
    return Stream.of(
        b -> credentials.apply(factory.apply(b)),
        b -> factory.apply(credentials.apply(b)),
        b -> profile.apply(factory.apply(b)),
        b -> customizer.apply(factory.apply(b)),
        b -> profile.apply(credentials.apply(b)),
        b -> credentials.apply(profile.apply(customizer.apply(b))));
  }

  @ParameterizedTest
  @MethodSource("conflicts")
  void optionsThatExcludeEachOther_areRefused(
      UnaryOperator<AwsKeyManagementService.Builder> options) {
    AwsKeyManagementService.Builder builder = options.apply(two());
    assertThatThrownBy(builder::build).isInstanceOf(IllegalStateException.class);
  }

  @Test
  @SuppressWarnings("NullAway") // that is what is tested
  void null_isRefusedWhereItIsGiven() {
    isRefusedAsNull("region", b -> b.region(null, WEST_ARN));
    isRefusedAsNull("keyArn", b -> b.region("us-west-1", null));
    isRefusedAsNull("region", b -> b.preferredRegion(null));
    isRefusedAsNull("regionTimeout", b -> b.regionTimeout(null));
    isRefusedAsNull("previousKeyArns", b -> b.previousKeyArns(null));
    isRefusedAsNull("keyArn", b -> b.previousKeyArns(Arrays.asList(WEST_ARN, null)));
    isRefusedAsNull("metricsRecorder", b -> b.metricsRecorder(null));
    isRefusedAsNull("clientFactory", b -> b.clientFactory(null));
    isRefusedAsNull("credentialsProvider", b -> b.credentialsProvider(null));
    isRefusedAsNull("profile", b -> b.profile(null));
    isRefusedAsNull("clientCustomizer", b -> b.clientCustomizer(null));
    AwsKeyManagementService kms = two().metricsRecorder(MetricsRecorder.NONE).build();
    assertThatThrownBy(() -> kms.decryptKey(null)).isInstanceOf(NullPointerException.class);
    assertThatThrownBy(() -> kms.encryptKey(null)).isInstanceOf(NullPointerException.class);
  }

  private static void isRefusedAsNull(
      String name, UnaryOperator<AwsKeyManagementService.Builder> option) {
    assertThatThrownBy(() -> option.apply(two()))
        .isInstanceOf(NullPointerException.class)
        .hasMessageContaining(name);
  }
}
