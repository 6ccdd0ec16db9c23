package io.asherah.reactive.testaws;

import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A request for AWS KMS. */
final class KmsOperation {
  private static final int MAX_PLAINTEXT = 4096;
  private static final int MAX_CIPHERTEXT = 6144;
  private static final int MAX_DATA_KEY = 1024;

  private final KmsRegion region;
  private final String name;
  private final Map<String, Object> request;
  private final Map<String, Object> answer = new LinkedHashMap<>();

  KmsOperation(KmsRegion region, String name, Map<String, Object> request) {
    this.region = region;
    this.name = name;
    this.request = request;
  }

  Map<String, Object> execute() throws KmsError {
    switch (name) {
      case "GenerateDataKey" -> generateDataKey();
      case "Encrypt" -> encrypt();
      case "Decrypt" -> decrypt();
      case "DescribeKey" -> describeKey();
      default -> throw new KmsError("UnknownOperationException", null);
    }
    return answer;
  }

  private void generateDataKey() throws KmsError {
    int length = dataKeyLength();
    KmsKey key = requiredKey();
    key.checkUsable(name);
    byte[] plaintext = KmsKey.random(length);
    put("CiphertextBlob", key.encrypt(plaintext, context()));
    put("Plaintext", plaintext);
    answer.put("KeyId", key.arn());
  }

  private int dataKeyLength() throws KmsError {
    Object spec = request.get("KeySpec");
    Object length = request.get("NumberOfBytes");
    if ((spec == null) == (length == null)) {
      throw KmsError.invalid("Please specify either number of bytes or key spec.");
    }
    if (length == null) {
      if ("AES_256".equals(spec)) {
        return 32;
      }
      if ("AES_128".equals(spec)) {
        return 16;
      }
      throw constraint("keySpec", "Member must satisfy enum value set: [AES_256, AES_128]");
    }
    if (!(length instanceof Integer bytes) || bytes < 1 || bytes > MAX_DATA_KEY) {
      throw constraint("numberOfBytes", "Member must be between 1 and " + MAX_DATA_KEY);
    }
    return bytes;
  }

  private void encrypt() throws KmsError {
    byte[] plaintext = bytes("Plaintext", MAX_PLAINTEXT);
    KmsKey key = requiredKey();
    key.checkUsable(name);
    put("CiphertextBlob", key.encrypt(plaintext, context()));
    answer.put("KeyId", key.arn());
    answer.put("EncryptionAlgorithm", "SYMMETRIC_DEFAULT");
  }

  private void decrypt() throws KmsError {
    byte[] blob = bytes("CiphertextBlob", MAX_CIPHERTEXT);
    KmsKey expected = key();
    KmsKey key = region.findFor(blob);
    if (expected != null && expected != key) {
      throw new KmsError(
          "IncorrectKeyException",
          "The key ID in the request does not identify a CMK that can perform this operation.");
    }
    key.checkUsable(name);
    byte[] plaintext = key.decrypt(blob, context());
    answer.put("KeyId", key.arn());
    put("Plaintext", plaintext);
    answer.put("EncryptionAlgorithm", "SYMMETRIC_DEFAULT");
  }

  private void describeKey() throws KmsError {
    KmsKey key = requiredKey();
    key.checkAllowed(name);
    answer.put("KeyMetadata", key.metadata());
  }

  private KmsKey requiredKey() throws KmsError {
    KmsKey key = key();
    if (key == null) {
      throw constraint("keyId", "Member must not be null");
    }
    return key;
  }

  private @Nullable KmsKey key() throws KmsError {
    return request.get("KeyId") instanceof String keyId ? region.find(keyId) : null;
  }

  private Map<String, String> context() throws KmsError {
    Map<String, String> context = new LinkedHashMap<>();
    if (request.get("EncryptionContext") instanceof Map<?, ?> members) {
      for (Map.Entry<?, ?> member : members.entrySet()) {
        if (!(member.getValue() instanceof String value)) {
          throw new KmsError("SerializationException", null);
        }
        context.put((String) member.getKey(), value);
      }
    }
    return context;
  }

  private byte[] bytes(String member, int max) throws KmsError {
    byte[] bytes;
    try {
      bytes =
          request.get(member) instanceof String base64
              ? Base64.getDecoder().decode(base64)
              : new byte[0];
    } catch (IllegalArgumentException e) {
      throw new KmsError("SerializationException", null);
    }
    if (bytes.length < 1 || bytes.length > max) {
      throw constraint(member, "Member must have a length between 1 and " + max);
    }
    return bytes;
  }

  private static KmsError constraint(String member, String constraint) {
    return KmsError.invalid(
        "1 validation error detected: Value at '%s%s' failed to satisfy constraint: %s"
            .formatted(
                member.substring(0, 1).toLowerCase(Locale.ROOT), member.substring(1), constraint));
  }

  private void put(String member, byte[] value) {
    answer.put(member, Base64.getEncoder().encodeToString(value));
  }
}
