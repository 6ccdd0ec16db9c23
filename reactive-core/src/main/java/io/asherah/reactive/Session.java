package io.asherah.reactive;

import io.asherah.reactive.internal.crypto.Aes256Gcm;
import io.asherah.reactive.internal.crypto.Aes256Gcm.SealedPayload;
import io.asherah.reactive.internal.keys.KeyHierarchy;
import io.asherah.reactive.internal.keys.OperationGate;
import io.asherah.reactive.internal.keys.Partition;
import io.asherah.reactive.internal.wire.RecordJson;
import io.asherah.reactive.internal.wire.Row;
import java.nio.ByteBuffer;
import java.time.Clock;
import java.util.Arrays;
import java.util.Objects;
import java.util.function.Supplier;
import reactor.core.publisher.Mono;

/**
 * Encrypts and decrypts for one partition, usually a tenant or a user.
 *
 * <p>A session is a handle: making one costs nothing, there is nothing to close, and the keys of
 * the partition are cached in the factory. Instances are safe for use by many threads.
 *
 * <p><b>Subscriptions.</b> Nothing happens before a subscription; each one is an operation of its
 * own. Argument errors are thrown at once; all else is signalled as an {@link
 * AppEncryptionException}. After {@link SessionFactory#close()} every operation signals {@link
 * FactoryClosedException}. Cancelling stops an operation; a key that is being loaded for it is
 * still loaded, for others and for the next time.
 *
 * <p><b>Threads.</b> While the keys are cached and were used within the access window, an operation
 * runs wholly on the subscribing thread, without a lock, a system call or I/O. Otherwise it goes
 * on, and its result is emitted, on the factory's continuation scheduler. The subscribing thread is
 * never blocked.
 *
 * <p><b>Buffers.</b> What is passed in is not modified, a {@code ByteBuffer} keeps its position,
 * and it must not change until the Mono has ended. What comes out belongs to the subscriber.
 *
 * <p><b>Security guarantees.</b> AES-256-GCM with a fresh key and nonce for each payload. A record
 * that was changed in any bit that matters does not open; only its own creation time, which is
 * informational, is not authenticated. A record of another partition does not open.
 * <b>Restrictions.</b> A record does not hide the length of its payload, and one that an attacker
 * puts in the place of another one of the same partition opens.
 */
public final class Session {
  /** The greatest payload that can be sealed as one record, in bytes: 1 GiB. */
  public static final int MAX_PAYLOAD_BYTES = 1 << 30;

  private static final int SEALED_KEY_BYTES = 60;
  private static final int SEALED_OVERHEAD_BYTES = 28;

  private final KeyHierarchy keys;
  private final Aes256Gcm aead;
  private final Clock clock;
  private final OperationGate gate;
  private final OperationMetrics metrics;
  private final Partition partition;

  Session(
      KeyHierarchy keys,
      Aes256Gcm aead,
      Clock clock,
      OperationGate gate,
      OperationMetrics metrics,
      Partition partition) {
    this.metrics = metrics;
    this.keys = keys;
    this.aead = aead;
    this.clock = clock;
    this.gate = gate;
    this.partition = partition;
  }

  /**
   * Seals a payload.
   *
   * @param payload any bytes, also none; at most {@link #MAX_PAYLOAD_BYTES}
   * @return the record to store
   * @throws IllegalArgumentException if the payload is too large
   */
  public Mono<DataRowRecord> encrypt(byte[] payload) {
    return seal(payload).map(DataRowRecord::new);
  }

  /**
   * Seals what remains in a buffer.
   *
   * @param payload any bytes, also none; at most {@link #MAX_PAYLOAD_BYTES}
   * @return the record to store
   * @throws IllegalArgumentException if the payload is too large
   */
  public Mono<DataRowRecord> encrypt(ByteBuffer payload) {
    return seal(payload).map(DataRowRecord::new);
  }

  /**
   * Seals a payload into the JSON that all Asherah implementations exchange.
   *
   * @param payload any bytes, also none; at most {@link #MAX_PAYLOAD_BYTES}
   * @return the record to store, as UTF-8 JSON
   * @throws IllegalArgumentException if the payload is too large
   */
  public Mono<byte[]> encryptToJson(byte[] payload) {
    return seal(payload).map(RecordJson::writeRow);
  }

  /**
   * Seals what remains in a buffer into the JSON that all Asherah implementations exchange.
   *
   * @param payload any bytes, also none; at most {@link #MAX_PAYLOAD_BYTES}
   * @return the record to store, as UTF-8 JSON
   * @throws IllegalArgumentException if the payload is too large
   */
  public Mono<byte[]> encryptToJson(ByteBuffer payload) {
    return seal(payload).map(RecordJson::writeRow);
  }

  /**
   * Opens a record. Signals {@link InvalidRecordException} where it was tampered with or is
   * malformed, and {@link MetadataMissingException} where it belongs to another partition or its
   * keys are not in the metastore.
   *
   * @param record a record of this partition
   * @return the payload
   */
  public Mono<byte[]> decrypt(DataRowRecord record) {
    Objects.requireNonNull(record, "record");
    return operation(() -> open(record.row()));
  }

  /**
   * Opens a record in the JSON that all Asherah implementations exchange. Signals as {@link
   * #decrypt} does.
   *
   * @param json a record of this partition, as UTF-8 JSON
   * @return the payload
   */
  public Mono<byte[]> decryptJson(byte[] json) {
    Objects.requireNonNull(json, "json");
    return operation(() -> open(RecordJson.readRow(json)));
  }

  /**
   * Opens a record in the JSON that remains in a buffer. Signals as {@link #decrypt} does.
   *
   * @param json a record of this partition, as UTF-8 JSON
   * @return the payload
   */
  public Mono<byte[]> decryptJson(ByteBuffer json) {
    Objects.requireNonNull(json, "json");
    return operation(() -> open(RecordJson.readRow(copyOf(json))));
  }

  /**
   * Seals a payload and stores it under a key that the persistence chooses.
   *
   * @param payload any bytes, also none
   * @param persistence where to store the record; its errors are passed on unchanged
   * @return the key, when the record is stored
   */
  public Mono<String> store(byte[] payload, Persistence persistence) {
    Objects.requireNonNull(persistence, "persistence");
    requireSealable(payload.length);
    return operation(
        () -> seal(payload, 0, payload.length).map(DataRowRecord::new).flatMap(persistence::store));
  }

  /**
   * Seals a payload and stores it under a key.
   *
   * @param key the key
   * @param payload any bytes, also none
   * @param persistence where to store the record; its errors are passed on unchanged
   * @return completion when the record is stored
   */
  public Mono<Void> store(String key, byte[] payload, Persistence persistence) {
    Objects.requireNonNull(key, "key");
    Objects.requireNonNull(persistence, "persistence");
    requireSealable(payload.length);
    return operation(
        () ->
            seal(payload, 0, payload.length)
                .flatMap(row -> persistence.store(key, new DataRowRecord(row))));
  }

  /**
   * Loads a record and opens it.
   *
   * @param key the key under which it was stored
   * @param persistence where it is stored; its errors are passed on unchanged
   * @return the payload, or empty where there is no such record
   */
  public Mono<byte[]> load(String key, Persistence persistence) {
    Objects.requireNonNull(key, "key");
    Objects.requireNonNull(persistence, "persistence");
    return operation(() -> persistence.load(key).flatMap(record -> open(record.row())));
  }

  /**
   * Wipes the cached keys of this partition from memory, in this process. They are loaded again
   * when they are needed; an operation that is using one goes on with a newly loaded one. A load
   * that is under way is not cached.
   *
   * @return completion when no operation finds the keys any more, on the continuation scheduler
   */
  public Mono<Void> forget() {
    return operation(() -> keys.forget(partition));
  }

  private Mono<Row> seal(byte[] payload) {
    requireSealable(payload.length);
    return operation(() -> seal(payload, 0, payload.length));
  }

  private Mono<Row> seal(ByteBuffer payload) {
    requireSealable(payload.remaining());
    return operation(
        () -> {
          if (payload.hasArray()) {
            return seal(
                payload.array(), payload.arrayOffset() + payload.position(), payload.remaining());
          }
          byte[] copy = copyOf(payload);
          return seal(copy, 0, copy.length).doFinally(signal -> Arrays.fill(copy, (byte) 0));
        });
  }

  private Mono<Row> seal(byte[] payload, int offset, int length) {
    return metrics.encrypting(
        () ->
            keys.withKeyForWriting(
                partition,
                (meta, key) -> {
                  SealedPayload sealed = aead.sealPayload(key, payload, offset, length);
                  return new Row(
                      clock.instant().getEpochSecond(),
                      sealed.encryptedKey(),
                      false,
                      meta,
                      sealed.data());
                }));
  }

  private Mono<byte[]> open(Row row) {
    return metrics.decrypting(() -> openChecked(row));
  }

  private Mono<byte[]> openChecked(Row row) {
    KeyMeta meta = row.parent();
    if (meta == null) {
      throw new MetadataMissingException(
          "the record does not name the intermediate key it was sealed under", null);
    }
    if (meta.created().getEpochSecond() <= 0) {
      throw new InvalidRecordException(
          "the intermediate key of the record was not made after 1970");
    }
    if (!partition.owns(meta.id())) {
      throw new MetadataMissingException(
          "the record belongs to another partition, service or product than this session", meta);
    }
    // Checked before anything is loaded: a malformed record must not cost a query.
    if (row.encryptedKey().length != SEALED_KEY_BYTES
        || row.data().length < SEALED_OVERHEAD_BYTES) {
      throw new InvalidRecordException(
          "the record has a wrapped key of %d bytes and %d bytes of data; %d and at least %d are needed"
              .formatted(
                  row.encryptedKey().length,
                  row.data().length,
                  SEALED_KEY_BYTES,
                  SEALED_OVERHEAD_BYTES));
    }
    return keys.withKeyForReading(
        partition, meta, (name, key) -> aead.openPayload(key, row.encryptedKey(), row.data()));
  }

  private <T> Mono<T> operation(Supplier<Mono<T>> operation) {
    return Mono.using(gate::enter, entered -> operation.get(), OperationGate::leave);
  }

  private static void requireSealable(int length) {
    if (length > MAX_PAYLOAD_BYTES) {
      throw new IllegalArgumentException(
          "a payload of %d bytes is too large for one record; split it into parts of at most %d"
              .formatted(length, MAX_PAYLOAD_BYTES));
    }
  }

  private static byte[] copyOf(ByteBuffer buffer) {
    byte[] copy = new byte[buffer.remaining()];
    buffer.duplicate().get(copy);
    return copy;
  }

  @Override
  public String toString() {
    return "Session[****]";
  }
}
