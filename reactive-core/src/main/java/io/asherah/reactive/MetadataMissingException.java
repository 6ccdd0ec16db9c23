package io.asherah.reactive;

import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Signalled when a record does not name a key of this session's partition, or names one the
 * metastore does not have. A metastore that cannot be read signals {@link MetastoreException}
 * instead. Not retryable.
 */
public final class MetadataMissingException extends AppEncryptionException {
  private static final long serialVersionUID = 1L;

  private final transient @Nullable KeyMeta keyMeta;

  /**
   * Makes an exception.
   *
   * @param message what is missing
   * @param keyMeta the key that was looked for, or null where none was named
   */
  public MetadataMissingException(String message, @Nullable KeyMeta keyMeta) {
    super(message, null, false);
    this.keyMeta = keyMeta;
  }

  /**
   * The key that was looked for. Its id may contain a partition id, which is why the message does
   * not.
   *
   * @return the key, or empty where the record named none
   */
  public Optional<KeyMeta> keyMeta() {
    return Optional.ofNullable(keyMeta);
  }
}
