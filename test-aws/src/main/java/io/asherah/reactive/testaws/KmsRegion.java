package io.asherah.reactive.testaws;

import java.util.Arrays;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** One region of {@link KmsServer}, with keys of its own. */
public final class KmsRegion extends FaultyEndpoint {
  private static final String TARGET = "TrentService.";
  private static final Pattern SIGNATURE =
      Pattern.compile("AWS4-HMAC-SHA256 .*Credential=[^/]+/\\d{8}/([^/]+)/([^/]+)/aws4_request.*");

  private final String name;
  private final Consumer<KmsRequest> requests;
  private final Map<String, KmsKey> keys = new ConcurrentHashMap<>();
  private final Map<String, KmsKey> aliases = new ConcurrentHashMap<>();

  KmsRegion(String name, Consumer<KmsRequest> requests) {
    super(new HttpEndpoint("kms-" + name), Protocol.KMS);
    this.name = name;
    this.requests = requests;
  }

  /**
   * What it is called.
   *
   * @return for instance {@code us-west-2}
   */
  public String name() {
    return name;
  }

  /**
   * Creates a key of 256 random bits.
   *
   * @return enabled, without an alias
   */
  public KmsKey createKey() {
    KmsKey key = new KmsKey(this);
    keys.put(key.id(), key);
    return key;
  }

  /**
   * Has {@code GenerateDataKey} and {@code Decrypt} answer with keys of another length.
   *
   * @param length in bytes
   */
  public void keyLength(int length) {
    on("GenerateDataKey", "Decrypt").edit(plaintextOf(length));
  }

  /**
   * For {@link #edit}: gives the plaintext in an answer another length.
   *
   * @param length in bytes
   * @return cuts off what is too much, and adds zeros where there is too little
   */
  public static UnaryOperator<String> plaintextOf(int length) {
    return answer -> {
      Map<String, Object> edited = Json.read(answer);
      if (edited.get("Plaintext") instanceof String plaintext) {
        byte[] bytes = Arrays.copyOf(Base64.getDecoder().decode(plaintext), length);
        edited.put("Plaintext", Base64.getEncoder().encodeToString(bytes));
      }
      return Json.write(edited);
    };
  }

  String arn(String resource) {
    return "arn:aws:kms:%s:%s:%s".formatted(name, KmsServer.ACCOUNT, resource);
  }

  String alias(String alias, KmsKey key) {
    if (!alias.startsWith("alias/")) {
      throw new IllegalArgumentException(alias);
    }
    aliases.put(alias, key);
    return arn(alias);
  }

  /** Finds a key by its id, ARN, alias or ARN of an alias. */
  KmsKey find(String keyId) throws KmsError {
    String resource = keyId;
    if (keyId.startsWith("arn:")) {
      String start = arn("");
      if (!keyId.startsWith(start)) {
        throw new KmsError("NotFoundException", "Invalid arn " + keyId);
      }
      resource = keyId.substring(start.length());
    } else if (!keyId.startsWith("alias/")) {
      resource = "key/" + keyId;
    }
    KmsKey key = aliases.get(resource);
    if (key == null) {
      key = resource.startsWith("key/") ? keys.get(resource.substring(4)) : null;
    }
    if (key == null) {
      throw new KmsError(
          "NotFoundException",
          resource.startsWith("alias/")
              ? "Alias " + arn(resource) + " is not found."
              : "Key '" + arn(resource) + "' does not exist");
    }
    key.checkExists();
    return key;
  }

  /** The key that encrypted it. */
  KmsKey findFor(byte[] blob) throws KmsError {
    KmsKey key = keys.get(KmsKey.idIn(blob));
    if (key == null) {
      throw KmsError.invalidCiphertext();
    }
    return key;
  }

  @Override
  void arrived(Call call) {
    requests.accept(new KmsRequest(name, call.operation(), keyId(call), call));
  }

  private static @Nullable String keyId(Call call) {
    try {
      return Json.read(call.body()).get("KeyId") instanceof String keyId ? keyId : null;
    } catch (RuntimeException e) {
      return null;
    }
  }

  @Override
  CompletionStage<Reply> answer(Call call) {
    Reply reply;
    try {
      checkRequest(call);
      Map<String, Object> answer = new KmsOperation(this, call.operation(), read(call)).execute();
      reply = Protocol.KMS.json(200, Json.write(answer));
    } catch (KmsError e) {
      reply = e.reply();
    }
    return CompletableFuture.completedFuture(reply);
  }

  private static Map<String, Object> read(Call call) throws KmsError {
    try {
      return Json.read(call.body());
    } catch (RuntimeException e) {
      throw new KmsError("SerializationException", null);
    }
  }

  private void checkRequest(Call call) throws KmsError {
    String target = call.header("X-Amz-Target");
    if (!call.method().equals("POST")
        || !call.path().equals("/")
        || target == null
        || !target.startsWith(TARGET)
        || !Protocol.KMS.contentType().equals(call.header("Content-Type"))) {
      throw new KmsError("UnknownOperationException", null);
    }
    String authorization = call.header("Authorization");
    if (authorization == null) {
      throw new KmsError(
          403, "MissingAuthenticationTokenException", "Missing Authentication Token");
    }
    Matcher signature = SIGNATURE.matcher(authorization);
    if (!signature.matches()) {
      throw new KmsError(403, "IncompleteSignatureException", "Not a signature of version 4.");
    }
    if (!signature.group(1).equals(name) || !signature.group(2).equals("kms")) {
      throw new KmsError(
          403, "InvalidSignatureException", "Credential should be scoped to a valid region.");
    }
  }
}
