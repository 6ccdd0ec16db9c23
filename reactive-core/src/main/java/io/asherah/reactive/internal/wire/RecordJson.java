package io.asherah.reactive.internal.wire;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.InvalidRecordException;
import io.asherah.reactive.KeyMeta;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.TokenStreamFactory;
import tools.jackson.core.io.JsonStringEncoder;
import tools.jackson.core.json.JsonFactory;

/**
 * The JSON of data row records and key records, in the dialect that every Asherah implementation
 * reads: compact, PascalCase, integer seconds, standard base64, {@code Revoked} only where true,
 * never null. Reading accepts any order, white space, unknown fields, and null for an optional
 * field; it refuses a field that comes twice.
 *
 * <p>No message quotes the input, and no exception of the parser is passed on, since its message
 * might.
 */
public final class RecordJson {
  private static final JsonFactory JSON =
      JsonFactory.builder()
          // A record is UTF-8. Interning takes a lock on a table that all of the process shares.
          .disable(TokenStreamFactory.Feature.CHARSET_DETECTION)
          .disable(TokenStreamFactory.Feature.INTERN_PROPERTY_NAMES)
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          // The payload is one string, and its size is the application's to limit.
          .streamReadConstraints(
              StreamReadConstraints.builder().maxStringLength(Integer.MAX_VALUE).build())
          .build();

  private static final byte[] ROW_CREATED = ascii("{\"Key\":{\"Created\":");
  private static final byte[] ROW_KEY = ascii(",\"Key\":\"");
  private static final byte[] ROW_PARENT_ID = ascii("\",\"ParentKeyMeta\":{\"KeyId\":\"");
  private static final byte[] ROW_PARENT_CREATED = ascii("\",\"Created\":");
  private static final byte[] ROW_DATA = ascii("}},\"Data\":\"");
  private static final byte[] ROW_DATA_WITHOUT_PARENT = ascii("\"},\"Data\":\"");
  private static final byte[] ROW_END = ascii("\"}");

  private RecordJson() {}

  /** Writes a data row record. */
  public static byte[] writeRow(Row row) {
    byte[] created = ascii(Long.toString(row.created()));
    byte[] key = StrictBase64.encode(row.encryptedKey());
    byte[] data = StrictBase64.encode(row.data());
    KeyMeta parent = row.parent();
    if (parent == null) {
      return concat(ROW_CREATED, created, ROW_KEY, key, ROW_DATA_WITHOUT_PARENT, data, ROW_END);
    }
    return concat(
        ROW_CREATED,
        created,
        ROW_KEY,
        key,
        ROW_PARENT_ID,
        escape(parent.id()),
        ROW_PARENT_CREATED,
        ascii(Long.toString(parent.created().getEpochSecond())),
        ROW_DATA,
        data,
        ROW_END);
  }

  /** Writes a key record. */
  public static byte[] writeKey(EnvelopeKeyRecord record) {
    ByteArrayOutputStream json = new ByteArrayOutputStream(256);
    json.writeBytes(ascii("{\"Created\":" + record.created().getEpochSecond() + ",\"Key\":\""));
    json.writeBytes(StrictBase64.encode(record.encryptedKey()));
    json.write('"');
    record
        .parentKeyMeta()
        .ifPresent(
            parent -> {
              json.writeBytes(ascii(",\"ParentKeyMeta\":{\"KeyId\":\""));
              json.writeBytes(escape(parent.id()));
              json.writeBytes(ascii("\",\"Created\":" + parent.created().getEpochSecond() + "}"));
            });
    json.writeBytes(ascii(record.isRevoked() ? ",\"Revoked\":true}" : "}"));
    return json.toByteArray();
  }

  /**
   * Reads a data row record.
   *
   * @throws InvalidRecordException if it is not the JSON of one
   */
  public static Row readRow(byte[] json) {
    return read(
        "data row record",
        json,
        parser -> {
          Key key = null;
          byte[] data = null;
          for (String field = nextField(parser); field != null; field = nextField(parser)) {
            switch (field) {
              case "Key" -> key = readKeyFields(parser, field);
              case "Data" -> data = binary(parser, field);
              default -> parser.skipChildren();
            }
          }
          Key found = required(key, "Key");
          return new Row(
              found.created,
              found.encryptedKey,
              found.revoked,
              found.parent,
              required(data, "Data"));
        });
  }

  /**
   * Reads a key record.
   *
   * @throws InvalidRecordException if it is not the JSON of one
   */
  public static EnvelopeKeyRecord readKey(byte[] json) {
    return read(
        "key record",
        json,
        parser -> {
          Key key = readKeyFieldsHere(parser);
          return new EnvelopeKeyRecord(
              Instant.ofEpochSecond(key.created), key.encryptedKey, key.parent, key.revoked);
        });
  }

  private record Key(
      long created, byte[] encryptedKey, @Nullable KeyMeta parent, boolean revoked) {}

  private interface Reader<T> {
    T read(JsonParser parser);
  }

  private static <T> T read(String what, byte[] json, Reader<T> reader) {
    requireUtf8(what, json);
    try (JsonParser parser = JSON.createParser(ObjectReadContext.empty(), json)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new MalformedRecordException("it is not a JSON object");
      }
      T result = reader.read(parser);
      if (parser.nextToken() != null) {
        throw new MalformedRecordException("something follows the JSON object");
      }
      return result;
    } catch (MalformedRecordException e) {
      throw new InvalidRecordException("this is not a %s: %s".formatted(what, e.getMessage()));
    } catch (JacksonException e) {
      throw new InvalidRecordException(
          "this is not a %s: malformed JSON at byte %d"
              .formatted(what, e.getLocation() == null ? -1 : e.getLocation().getByteOffset()));
    }
  }

  /** The parser takes overlong forms, with which a changed text would read the same. */
  private static void requireUtf8(String what, byte[] json) {
    if (isAscii(json)) {
      return;
    }
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    ByteBuffer bytes = ByteBuffer.wrap(json);
    CharBuffer unused = CharBuffer.allocate(1_024);
    CoderResult result;
    do {
      unused.clear();
      result = decoder.decode(bytes, unused, true);
    } while (result.isOverflow());
    if (result.isError()) {
      throw new InvalidRecordException("this is not a %s: malformed UTF-8".formatted(what));
    }
  }

  private static boolean isAscii(byte[] json) {
    for (byte b : json) {
      if (b < 0) {
        return false;
      }
    }
    return true;
  }

  private static Key readKeyFields(JsonParser parser, String field) {
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw new MalformedRecordException(field + " is not an object");
    }
    return readKeyFieldsHere(parser);
  }

  private static Key readKeyFieldsHere(JsonParser parser) {
    Long created = null;
    byte[] encryptedKey = null;
    KeyMeta parent = null;
    boolean revoked = false;
    for (String field = nextField(parser); field != null; field = nextField(parser)) {
      switch (field) {
        case "Created" -> created = seconds(parser, field);
        case "Key" -> encryptedKey = binary(parser, field);
        case "ParentKeyMeta" -> parent = readParent(parser, field);
        case "Revoked" -> revoked = optionalBoolean(parser, field);
        default -> parser.skipChildren();
      }
    }
    return new Key(required(created, "Created"), required(encryptedKey, "Key"), parent, revoked);
  }

  private static @Nullable KeyMeta readParent(JsonParser parser, String parentField) {
    if (parser.currentToken() == JsonToken.VALUE_NULL) {
      return null;
    }
    if (parser.currentToken() != JsonToken.START_OBJECT) {
      throw new MalformedRecordException(parentField + " is not an object");
    }
    String id = null;
    Long created = null;
    for (String field = nextField(parser); field != null; field = nextField(parser)) {
      switch (field) {
        case "KeyId" -> id = string(parser, field);
        case "Created" -> created = seconds(parser, field);
        default -> parser.skipChildren();
      }
    }
    String name = required(id, "KeyId");
    Instant time = Instant.ofEpochSecond(required(created, "Created"));
    if (time.getEpochSecond() <= 0) {
      throw new MalformedRecordException("Created of ParentKeyMeta is not after 1970");
    }
    try {
      return new KeyMeta(name, time);
    } catch (IllegalArgumentException e) {
      throw new MalformedRecordException("KeyId is empty or has a surrogate without its pair");
    }
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
      throw new MalformedRecordException(field + " is not a string");
    }
    return parser.getString();
  }

  private static byte[] binary(JsonParser parser, String field) {
    try {
      return StrictBase64.decode(string(parser, field));
    } catch (IllegalArgumentException e) {
      throw new MalformedRecordException("%s is not base64: %s".formatted(field, e.getMessage()));
    }
  }

  private static long seconds(JsonParser parser, String field) {
    if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT) {
      throw new MalformedRecordException(field + " is not an integer");
    }
    long seconds = parser.getLongValue();
    if (seconds < Instant.MIN.getEpochSecond() || seconds > Instant.MAX.getEpochSecond()) {
      throw new MalformedRecordException(field + " is out of range");
    }
    return seconds;
  }

  private static boolean optionalBoolean(JsonParser parser, String field) {
    return switch (parser.currentToken()) {
      case VALUE_TRUE -> true;
      case VALUE_FALSE, VALUE_NULL -> false;
      default -> throw new MalformedRecordException(field + " is not a boolean");
    };
  }

  private static <T> T required(@Nullable T value, String field) {
    if (value == null) {
      throw new MalformedRecordException(field + " is missing");
    }
    return value;
  }

  private static byte[] escape(String text) {
    return JsonStringEncoder.getInstance().quoteAsUTF8(text);
  }

  private static byte[] ascii(String text) {
    return text.getBytes(StandardCharsets.US_ASCII);
  }

  private static byte[] concat(byte[]... parts) {
    int length = 0;
    for (byte[] part : parts) {
      length = Math.addExact(length, part.length);
    }
    byte[] whole = new byte[length];
    int position = 0;
    for (byte[] part : parts) {
      System.arraycopy(part, 0, whole, position, part.length);
      position += part.length;
    }
    return whole;
  }

  /** Says what is wrong with the input, without any of it. */
  private static final class MalformedRecordException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    MalformedRecordException(String message) {
      super(message, null, false, false);
    }
  }
}
