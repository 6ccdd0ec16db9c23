package io.asherah.reactive;

import io.asherah.reactive.internal.wire.RecordJson;
import io.asherah.reactive.internal.wire.Row;
import java.time.Instant;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A sealed payload together with its wrapped data row key: what an application stores.
 *
 * <p>Immutable and safe for use by many threads; arrays are copied in and out.
 */
public final class DataRowRecord {
  private final Row row;

  /** Shares the row's arrays. */
  DataRowRecord(Row row) {
    this.row = row;
  }

  /**
   * Makes a record from its parts, for instance from columns of a table.
   *
   * @param key the wrapped data row key, with the intermediate key that wraps it as its parent
   * @param data the sealed payload: ciphertext, tag (16 bytes), nonce (12 bytes); copied
   */
  public DataRowRecord(EnvelopeKeyRecord key, byte[] data) {
    this.row =
        new Row(
            key.created().getEpochSecond(),
            key.encryptedKey(),
            key.isRevoked(),
            key.parentKeyMeta().orElse(null),
            data.clone());
  }

  /**
   * Reads the JSON that all Asherah implementations exchange: any order of fields, white space,
   * unknown fields.
   *
   * @param json UTF-8 JSON
   * @return the record
   * @throws InvalidRecordException if it is not the JSON of a data row record
   */
  public static DataRowRecord fromJson(byte[] json) {
    return new DataRowRecord(RecordJson.readRow(json));
  }

  /**
   * Writes the JSON that all Asherah implementations exchange.
   *
   * @return compact UTF-8 JSON, which belongs to the caller
   */
  public byte[] toJson() {
    return RecordJson.writeRow(row);
  }

  /**
   * The wrapped data row key.
   *
   * @return the key record; its parent is the intermediate key that wraps it
   */
  public EnvelopeKeyRecord key() {
    return new EnvelopeKeyRecord(
        Instant.ofEpochSecond(row.created()), row.encryptedKey(), row.parent(), row.revoked());
  }

  /**
   * The sealed payload.
   *
   * @return ciphertext, tag (16 bytes) and nonce (12 bytes); a copy, which belongs to the caller
   */
  public byte[] data() {
    return row.data().clone();
  }

  Row row() {
    return row;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof DataRowRecord that && row.equals(that.row);
  }

  @Override
  public int hashCode() {
    return Objects.hash(row);
  }

  @Override
  public String toString() {
    return "DataRowRecord[created=%s, %d bytes]"
        .formatted(Instant.ofEpochSecond(row.created()), row.data().length);
  }
}
