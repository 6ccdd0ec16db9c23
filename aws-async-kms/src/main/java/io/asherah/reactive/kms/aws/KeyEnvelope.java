package io.asherah.reactive.kms.aws;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.KmsException.Kind;
import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.TokenStreamFactory;
import tools.jackson.core.json.JsonFactory;

/**
 * A system key under a data key, and the data key under the master key of each region: JSON with
 * camelCase names and standard base64, as all other implementations have it. Reading accepts any
 * order, white space and unknown fields.
 *
 * @param encryptedKey the system key under the data key, 60 bytes
 * @param keks the data key, once for each region
 */
record KeyEnvelope(byte[] encryptedKey, List<Kek> keks) {
  private static final JsonFactory JSON =
      JsonFactory.builder()
          .disable(TokenStreamFactory.Feature.CHARSET_DETECTION)
          .disable(TokenStreamFactory.Feature.INTERN_PROPERTY_NAMES)
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .build();

  /** AWS has fewer than 40 regions, and an entry has some 400 bytes. */
  private static final int MAX_BYTES = 65_536;

  /** Each may cost a call, so whoever writes records could have many of them made otherwise. */
  private static final int MAX_KEKS = 64;

  /**
   * The data key under one master key.
   *
   * @param region the region of the master key
   * @param arn the master key, as it was configured where this was written
   * @param encryptedKek the data key under it
   */
  record Kek(String region, String arn, byte[] encryptedKek) {}

  byte[] toJson() {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(256 + 512 * keks.size());
    try (JsonGenerator json = JSON.createGenerator(ObjectWriteContext.empty(), bytes)) {
      json.writeStartObject();
      json.writeStringProperty("encryptedKey", base64(encryptedKey));
      json.writeArrayPropertyStart("kmsKeks");
      for (Kek kek : keks) {
        json.writeStartObject();
        json.writeStringProperty("region", kek.region);
        json.writeStringProperty("arn", kek.arn);
        json.writeStringProperty("encryptedKek", base64(kek.encryptedKek));
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeEndObject();
    }
    return bytes.toByteArray();
  }

  /**
   * Reads an envelope.
   *
   * @throws KmsException of kind {@link Kind#INVALID_CIPHERTEXT} if it is none
   */
  static KeyEnvelope fromJson(byte[] json) {
    if (json.length > MAX_BYTES) {
      throw malformed("it is longer than %d bytes".formatted(MAX_BYTES));
    }
    try (JsonParser parser = JSON.createParser(ObjectReadContext.empty(), json)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw malformed("it is not a JSON object");
      }
      KeyEnvelope envelope = read(parser);
      if (parser.nextToken() != null) {
        throw malformed("something follows the JSON object");
      }
      return envelope;
    } catch (JacksonException e) {
      // Without the cause, which quotes what it could not read.
      throw malformed("its JSON is malformed");
    }
  }

  private static KeyEnvelope read(JsonParser parser) {
    byte[] encryptedKey = null;
    List<Kek> keks = null;
    for (String field = nextField(parser); field != null; field = nextField(parser)) {
      switch (field) {
        case "encryptedKey" -> encryptedKey = binary(parser, field);
        case "kmsKeks" -> keks = readKeks(parser, field);
        default -> parser.skipChildren();
      }
    }
    return new KeyEnvelope(
        required(encryptedKey, "encryptedKey"), List.copyOf(required(keks, "kmsKeks")));
  }

  private static List<Kek> readKeks(JsonParser parser, String field) {
    if (parser.currentToken() != JsonToken.START_ARRAY) {
      throw malformed(field + " is not an array");
    }
    List<Kek> keks = new ArrayList<>();
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      if (parser.currentToken() != JsonToken.START_OBJECT) {
        throw malformed(field + " has something that is not an object");
      }
      if (keks.size() == MAX_KEKS) {
        throw malformed("%s has more than %d entries".formatted(field, MAX_KEKS));
      }
      keks.add(readKek(parser));
    }
    return keks;
  }

  private static Kek readKek(JsonParser parser) {
    String region = null;
    String arn = null;
    byte[] encryptedKek = null;
    for (String field = nextField(parser); field != null; field = nextField(parser)) {
      switch (field) {
        case "region" -> region = string(parser, field);
        case "arn" -> arn = string(parser, field);
        case "encryptedKek" -> encryptedKek = binary(parser, field);
        default -> parser.skipChildren();
      }
    }
    return new Kek(
        required(region, "region"), required(arn, "arn"), required(encryptedKek, "encryptedKek"));
  }

  /** Moves to the value of the next field of this object, or returns null at its end. */
  private static @Nullable String nextField(JsonParser parser) {
    if (parser.nextToken() == JsonToken.END_OBJECT) {
      return null;
    }
    String name = parser.currentName();
    parser.nextToken();
    return name;
  }

  private static String string(JsonParser parser, String field) {
    if (parser.currentToken() != JsonToken.VALUE_STRING) {
      throw malformed(field + " is not a string");
    }
    return parser.getString();
  }

  private static byte[] binary(JsonParser parser, String field) {
    try {
      return Base64.getDecoder().decode(string(parser, field));
    } catch (IllegalArgumentException e) {
      throw malformed(field + " is not base64");
    }
  }

  private static <T> T required(@Nullable T value, String field) {
    if (value == null) {
      throw malformed(field + " is missing");
    }
    return value;
  }

  private static String base64(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }

  private static KmsException malformed(String what) {
    return new KmsException(
        Kind.INVALID_CIPHERTEXT,
        "the wrapped system key is not an envelope of AWS KMS: %s; it was made by another key"
                .formatted(what)
            + " management service, or was damaged",
        null);
  }

  @Override
  public String toString() {
    return "KeyEnvelope[****]";
  }
}
