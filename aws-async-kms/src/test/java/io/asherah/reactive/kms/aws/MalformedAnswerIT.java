package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.get;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.kms.aws.KmsScenario.Http;
import io.asherah.reactive.securememory.Secret;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.publisher.Mono;

/**
 * Answers that have a data key in them and cannot be read, as of a proxy that damages them. Nothing
 * of the key may come to light in what is signalled or logged.
 */
class MalformedAnswerIT {
  private static final Pattern PLAINTEXT = Pattern.compile("(\"Plaintext\":\\s*\")([^\"]+)\"");

  /** So much of a key would be a leak: 9 characters of base64 are 54 bits. */
  private static final int PART = 9;

  private static UnaryOperator<String> plaintext(String replacement) {
    return body -> PLAINTEXT.matcher(body).replaceFirst(replacement);
  }

  private static final Map<String, UnaryOperator<String>> DAMAGES =
      Map.ofEntries(
          Map.entry("the key alone", body -> keyIn(body)),
          Map.entry("the key first", body -> keyIn(body) + body),
          Map.entry("not quoted", plaintext("\"Plaintext\":$2")),
          Map.entry("not ended", plaintext("$1$2")),
          Map.entry("no base64", plaintext("$1!$2*\"")),
          Map.entry("half a group", plaintext("$1$2A\"")),
          Map.entry("an object", plaintext("\"Plaintext\":{\"$2\":1}")),
          Map.entry("an array", plaintext("\"Plaintext\":[\"$2\"]")),
          Map.entry("a bad escape", plaintext("$1\\\\q$2\"")),
          Map.entry("a line break", plaintext("$1$2\n\"")),
          Map.entry("a wrong name", plaintext("\"KeyId\":{\"$2\":2},\"x\":\"\"")),
          Map.entry("cut in the key", body -> body.substring(0, body.indexOf(keyIn(body)) + 20)),
          Map.entry("cut at the end", body -> body.substring(0, body.length() - 1)),
          Map.entry("an array of all", body -> "[" + body + "]"),
          Map.entry("a string of all", body -> "\"" + keyIn(body) + "\""),
          Map.entry("no quotes around names", body -> body.replace("\"Plaintext\"", "Plaintext")),
          Map.entry("HTML", body -> "<html>" + keyIn(body) + "</html>"));

  private static String keyIn(String body) {
    Matcher matcher = PLAINTEXT.matcher(body);
    assertThat(matcher.find()).isTrue();
    return matcher.group(2);
  }

  static Stream<Arguments> answers() {
    return Stream.of(Http.values())
        .flatMap(
            http -> DAMAGES.keySet().stream().sorted().map(damage -> Arguments.of(http, damage)));
  }

  @ParameterizedTest
  @MethodSource("answers")
  void damagedAnswer_isAnError_andNothingOfTheKeyIsTold(Http http, String damage) {
    Queue<String> keys = new ConcurrentLinkedQueue<>();
    try (KmsScenario scenario = new KmsScenario(2, http);
        Log log = new Log();
        Secret secret = scenario.secret(1)) {
      AwsKeyManagementService kms = scenario.builder().build();
      byte[] wrapped = get(kms.encryptKey(secret));
      for (int i = 0; i < 2; i++) {
        scenario
            .region(i)
            .on("GenerateDataKey", "Decrypt")
            .edit(
                body -> {
                  keys.add(keyIn(body));
                  return Objects.requireNonNull(DAMAGES.get(damage)).apply(body);
                });
      }
      for (Mono<?> call : List.of(kms.encryptKey(secret), kms.decryptKey(wrapped))) {
        assertThat(assertTellsNothing(call, keys, log))
            .hasMessageContaining("is no answer of AWS KMS")
            .hasNoCause();
      }
      assertThat(keys).hasSize(4);
    }
  }

  static Stream<Arguments> cuts() {
    return Stream.of(Http.values()).map(Arguments::of);
  }

  @ParameterizedTest
  @MethodSource("cuts")
  void answerCutOff_isAnErrorThatMayPass_andNothingOfTheKeyIsTold(Http http) {
    Queue<String> keys = new ConcurrentLinkedQueue<>();
    try (KmsScenario scenario = new KmsScenario(1, http);
        Log log = new Log();
        Secret secret = scenario.secret(1)) {
      AwsKeyManagementService kms = scenario.builder().build();
      byte[] wrapped = get(kms.encryptKey(secret));
      scenario
          .region(0)
          .truncate(
              body -> {
                String key = keyIn(body);
                keys.add(key);
                String keyFirst = "{\"Plaintext\":\"%s\",%s".formatted(key, body.substring(1));
                assertThat(keyFirst.substring(0, keyFirst.length() / 2)).contains(key);
                return keyFirst;
              });
      assertThat(assertTellsNothing(kms.encryptKey(secret), keys, log).isRetryable()).isTrue();
      assertThat(assertTellsNothing(kms.decryptKey(wrapped), keys, log).isRetryable()).isTrue();
      assertThat(keys).hasSize(2);
    }
  }

  @ParameterizedTest
  @MethodSource("cuts")
  void successUnderAnErrorStatus_isAnError_andNothingOfTheKeyIsTold(Http http) {
    // What KMS would have answered, as a proxy may send it on.
    String key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    String body =
        "{\"KeyId\":\"x\",\"Plaintext\":\"%s\",\"CiphertextBlob\":\"AQID\"}".formatted(key);
    try (KmsScenario scenario = new KmsScenario(1, http);
        Log log = new Log();
        Secret secret = scenario.secret(1)) {
      AwsKeyManagementService kms = scenario.builder().build();
      for (int status : new int[] {400, 403, 429, 500, 503}) {
        for (String sent : List.of(body, body.replace("\"Plaintext\":", "\"Plaintext\""), key)) {
          scenario.region(0).raw(status, "application/x-amz-json-1.1", sent);
          assertTellsNothing(kms.encryptKey(secret), List.of(key), log);
        }
      }
    }
  }

  private static KmsException assertTellsNothing(Mono<?> call, Iterable<String> keys, Log log) {
    Object result = get(call.<Object>map(any -> any).onErrorResume(Mono::just));
    assertThat(result).isInstanceOf(KmsException.class);
    KmsException e = (KmsException) result;
    StringWriter trace = new StringWriter();
    e.printStackTrace(new PrintWriter(trace, true));
    List<String> parts = new ArrayList<>();
    for (String key : keys) {
      for (int i = 0; i + PART <= key.length(); i++) {
        parts.add(key.substring(i, i + PART));
      }
    }
    for (String told : List.of(trace.toString(), log.text())) {
      assertThat(parts).noneMatch(told::contains);
    }
    return e;
  }
}
