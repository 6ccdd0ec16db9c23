package io.asherah.reactive.metastore.dynamodb;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetastoreException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;

/**
 * A key as an item of the table, as all implementations of Asherah have it: {@code Id} (S) and
 * {@code Created} (N, seconds) are its key, {@code KeyRecord} (M) is the record. Canonical Java
 * reads nothing but S, N, BOOL and M in there, so nothing else is written.
 */
final class KeyItem {
  static final String ID = "Id";
  static final String CREATED = "Created";
  static final String KEY_RECORD = "KeyRecord";
  static final String REVOKED = "Revoked";

  private static final String KEY = "Key";
  private static final String PARENT = "ParentKeyMeta";
  private static final String PARENT_ID = "KeyId";

  /** Of a system key, which has no partition in it. */
  private static final Pattern PRINTABLE = Pattern.compile("_SK_[\\p{Alnum}_.-]{1,250}");

  /** What DynamoDB takes for a partition key, in bytes of UTF-8. */
  private static final int LONGEST_ID = 2_048;

  private KeyItem() {}

  /**
   * Whether there may be a key with this id. DynamoDB keeps UTF-8, in which half of a pair of
   * surrogates has no place.
   */
  static boolean mayBeId(String id) {
    return !id.isEmpty()
        && StandardCharsets.UTF_8.newEncoder().canEncode(id)
        && id.getBytes(StandardCharsets.UTF_8).length <= LONGEST_ID;
  }

  static void requireStorable(KeyMeta meta) {
    int length = meta.id().getBytes(StandardCharsets.UTF_8).length;
    if (length > LONGEST_ID) {
      throw new MetastoreException(
          "the id of %s has %d bytes, and DynamoDB keeps %d. Use shorter names for partitions"
              .formatted(meta, length, LONGEST_ID),
          null,
          false);
    }
  }

  static Map<String, AttributeValue> keyOf(String id, Instant created) {
    Map<String, AttributeValue> key = new LinkedHashMap<>();
    key.put(ID, AttributeValue.fromS(id));
    key.put(CREATED, seconds(created));
    return key;
  }

  static Map<String, AttributeValue> of(KeyMeta meta, EnvelopeKeyRecord record) {
    Map<String, AttributeValue> item = keyOf(meta.id(), meta.created());
    Map<String, AttributeValue> fields = new LinkedHashMap<>();
    fields.put(CREATED, seconds(record.created()));
    fields.put(
        KEY, AttributeValue.fromS(Base64.getEncoder().encodeToString(record.encryptedKey())));
    record
        .parentKeyMeta()
        .ifPresent(
            parent -> {
              Map<String, AttributeValue> name = new LinkedHashMap<>();
              name.put(PARENT_ID, AttributeValue.fromS(parent.id()));
              name.put(CREATED, seconds(parent.created()));
              fields.put(PARENT, AttributeValue.fromM(name));
            });
    if (record.isRevoked()) {
      fields.put(REVOKED, AttributeValue.fromBool(true));
    }
    item.put(KEY_RECORD, AttributeValue.fromM(fields));
    return item;
  }

  static AttributeValue seconds(Instant time) {
    return AttributeValue.fromN(Long.toString(time.getEpochSecond()));
  }

  /**
   * Reads the record of an item.
   *
   * @param id of the item
   * @throws MetastoreException if it has none, or a malformed one
   */
  static EnvelopeKeyRecord record(String id, Map<String, AttributeValue> item, String table) {
    try {
      Map<String, AttributeValue> fields = map(item, KEY_RECORD);
      return new EnvelopeKeyRecord(
          time(fields, CREATED),
          Base64.getDecoder().decode(text(fields, KEY)),
          parent(fields),
          isRevoked(fields));
    } catch (IllegalArgumentException | ArithmeticException | DateTimeException e) {
      throw malformed(id, table, e);
    }
  }

  /**
   * Reads which key an item is.
   *
   * @throws MetastoreException if it does not say so
   */
  static KeyMeta meta(Map<String, AttributeValue> item, String table) {
    try {
      return new KeyMeta(text(item, ID), time(item, CREATED));
    } catch (IllegalArgumentException | ArithmeticException | DateTimeException e) {
      throw malformed("", table, e);
    }
  }

  private static @Nullable KeyMeta parent(Map<String, AttributeValue> fields) {
    if (isAbsent(fields.get(PARENT))) {
      return null;
    }
    Map<String, AttributeValue> name = map(fields, PARENT);
    return new KeyMeta(text(name, PARENT_ID), time(name, CREATED));
  }

  private static boolean isRevoked(Map<String, AttributeValue> fields) {
    AttributeValue revoked = fields.get(REVOKED);
    if (isAbsent(revoked)) {
      return false;
    }
    return required(revoked == null ? null : revoked.bool(), REVOKED, "BOOL");
  }

  /** Others leave out what they do not have; null means the same. */
  private static boolean isAbsent(@Nullable AttributeValue value) {
    return value == null || Boolean.TRUE.equals(value.nul());
  }

  private static Map<String, AttributeValue> map(Map<String, AttributeValue> item, String name) {
    AttributeValue value = item.get(name);
    return required(value == null || !value.hasM() ? null : value.m(), name, "M");
  }

  private static String text(Map<String, AttributeValue> item, String name) {
    AttributeValue value = item.get(name);
    return required(value == null ? null : value.s(), name, "S");
  }

  private static Instant time(Map<String, AttributeValue> item, String name) {
    AttributeValue value = item.get(name);
    String seconds = required(value == null ? null : value.n(), name, "N");
    return Instant.ofEpochSecond(new BigDecimal(seconds).longValueExact());
  }

  private static <T> T required(@Nullable T value, String name, String type) {
    if (value == null) {
      throw new IllegalArgumentException("%s is missing, or not of type %s".formatted(name, type));
    }
    return value;
  }

  /** An id may contain a partition, so the whole of it is in the cause only. */
  private static MetastoreException malformed(String id, String table, RuntimeException e) {
    return new MetastoreException(
        "an item of the key %s in the table %s is malformed: %s. Restore it from a backup"
            .formatted(PRINTABLE.matcher(id).matches() ? id : "****", table, reason(e)),
        new MalformedItemException("the item with the Id " + id, e),
        false);
  }

  /** Only of messages that are made here: those of others may quote the item. */
  private static String reason(RuntimeException e) {
    String message = e.getMessage();
    return e.getClass() == IllegalArgumentException.class
            && message != null
            && message.contains(" is missing, or not of type ")
        ? message
        : "a value is not base64, not whole seconds, or empty";
  }

  /** Names an item. */
  static final class MalformedItemException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    MalformedItemException(String message, RuntimeException cause) {
      super(message, cause);
    }
  }
}
