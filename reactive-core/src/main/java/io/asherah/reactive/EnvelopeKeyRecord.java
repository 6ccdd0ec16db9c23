package io.asherah.reactive;

import io.asherah.reactive.internal.wire.RecordJson;
import java.time.Instant;
import java.util.Arrays;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A wrapped key as a metastore keeps it: a system key wrapped by the key management service, or an
 * intermediate key wrapped by a system key.
 *
 * <p>Immutable and safe for use by many threads; arrays are copied in and out.
 */
public final class EnvelopeKeyRecord {
  private final Instant created;
  private final byte[] encryptedKey;
  private final @Nullable KeyMeta parentKeyMeta;
  private final boolean revoked;

  /**
   * Makes a record.
   *
   * @param created when the key was made, in whole seconds
   * @param encryptedKey the wrapped key; copied
   * @param parentKeyMeta the key it is wrapped by, or null where that is the master key
   * @param revoked whether the key must not be used for new data
   * @throws IllegalArgumentException if the time is not whole seconds
   */
  public EnvelopeKeyRecord(
      Instant created, byte[] encryptedKey, @Nullable KeyMeta parentKeyMeta, boolean revoked) {
    if (created.getNano() != 0) {
      throw new IllegalArgumentException("created must be whole seconds, was " + created);
    }
    this.created = created;
    this.encryptedKey = encryptedKey.clone();
    this.parentKeyMeta = parentKeyMeta;
    this.revoked = revoked;
  }

  /**
   * Reads the JSON that a metastore keeps: any order of fields, white space, unknown fields.
   *
   * @param json UTF-8 JSON
   * @return the record
   * @throws InvalidRecordException if it is not the JSON of a key record
   */
  public static EnvelopeKeyRecord fromJson(byte[] json) {
    return RecordJson.readKey(json);
  }

  /**
   * Writes the JSON that a metastore keeps: compact, {@code Revoked} only where true, {@code
   * ParentKeyMeta} only where there is one.
   *
   * @return UTF-8 JSON, which belongs to the caller
   */
  public byte[] toJson() {
    return RecordJson.writeKey(this);
  }

  /**
   * When the key was made.
   *
   * @return whole seconds
   */
  public Instant created() {
    return created;
  }

  /**
   * The wrapped key.
   *
   * @return a copy, which belongs to the caller
   */
  public byte[] encryptedKey() {
    return encryptedKey.clone();
  }

  /**
   * The key this one is wrapped by.
   *
   * @return empty for a system key, which is wrapped by the master key
   */
  public Optional<KeyMeta> parentKeyMeta() {
    return Optional.ofNullable(parentKeyMeta);
  }

  /**
   * Whether the key must not be used for new data. Data sealed under it can still be opened.
   *
   * @return true where it was revoked
   */
  public boolean isRevoked() {
    return revoked;
  }

  /**
   * The same key, which must not be used for new data any more.
   *
   * @return a record that differs at most in being revoked
   */
  public EnvelopeKeyRecord asRevoked() {
    return new EnvelopeKeyRecord(created, encryptedKey, parentKeyMeta, true);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof EnvelopeKeyRecord that
        && created.equals(that.created)
        && Arrays.equals(encryptedKey, that.encryptedKey)
        && Objects.equals(parentKeyMeta, that.parentKeyMeta)
        && revoked == that.revoked;
  }

  @Override
  public int hashCode() {
    return Objects.hash(created, Arrays.hashCode(encryptedKey), parentKeyMeta, revoked);
  }

  @Override
  public String toString() {
    return "EnvelopeKeyRecord[created=%s, revoked=%s]".formatted(created, revoked);
  }
}
