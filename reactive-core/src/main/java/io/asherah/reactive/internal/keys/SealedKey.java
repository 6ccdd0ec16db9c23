package io.asherah.reactive.internal.keys;

import io.asherah.reactive.EnvelopeKeyRecord;
import io.asherah.reactive.KeyMeta;
import io.asherah.reactive.MetadataMissingException;

/**
 * A key as its record has it.
 *
 * @param readAt when the read of the record, or the call that stored it, was sent, on the ticker
 */
record SealedKey(KeyMeta meta, EnvelopeKeyRecord record, long readAt) {

  boolean isRevoked() {
    return record.isRevoked();
  }

  byte[] encryptedKey() {
    return record.encryptedKey();
  }

  /** The system key that opens an intermediate key. */
  KeyMeta parentMeta() {
    return record
        .parentKeyMeta()
        .orElseThrow(
            () ->
                new MetadataMissingException(
                    "the record of the intermediate key created at %s does not name its system key"
                        .formatted(meta.created()),
                    meta));
  }
}
