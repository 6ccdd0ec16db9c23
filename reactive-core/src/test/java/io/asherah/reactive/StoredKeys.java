package io.asherah.reactive;

import io.asherah.reactive.spi.Metastore;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.time.Instant;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import reactor.core.publisher.Mono;

/**
 * The keys of another process, from the records it stored and the master key that {@link Scenario}
 * has. Opens everything with plain JCE, so that what it says does not rest on the code under test.
 */
final class StoredKeys {
  private static final String PREFIX = "row ";
  private static final int NONCE_BYTES = 12;

  private final Map<KeyMeta, EnvelopeKeyRecord> rows = new HashMap<>();

  /** A metastore that tells of each key it stores, one line for each, before it says so. */
  static Metastore telling(Consumer<String> lines) {
    InMemoryMetastore store = new InMemoryMetastore();
    return new Metastore() {
      @Override
      public Mono<EnvelopeKeyRecord> load(String id, Instant created) {
        return store.load(id, created);
      }

      @Override
      public Mono<EnvelopeKeyRecord> loadLatest(String id) {
        return store.loadLatest(id);
      }

      @Override
      public Mono<Boolean> store(String id, Instant created, EnvelopeKeyRecord record) {
        return store
            .store(id, created, record)
            .doOnNext(
                stored -> {
                  if (stored) {
                    lines.accept(
                        PREFIX + id + " " + new String(record.toJson(), StandardCharsets.UTF_8));
                  }
                });
      }
    };
  }

  /** Takes a line of such a metastore, and leaves others alone. */
  void read(String line) {
    if (line.startsWith(PREFIX)) {
      String[] parts = line.substring(PREFIX.length()).split(" ", 2);
      EnvelopeKeyRecord record =
          EnvelopeKeyRecord.fromJson(parts[1].getBytes(StandardCharsets.UTF_8));
      rows.put(new KeyMeta(parts[0], record.created()), record);
    }
  }

  /** All keys in the clear. */
  Map<KeyMeta, byte[]> keys() {
    Map<KeyMeta, byte[]> keys = new HashMap<>();
    rows.keySet().forEach(meta -> keys.put(meta, key(meta)));
    return keys;
  }

  private byte[] key(KeyMeta meta) {
    EnvelopeKeyRecord row = Objects.requireNonNull(rows.get(meta), () -> "never stored: " + meta);
    byte[] parent =
        row.parentKeyMeta()
            .map(this::key)
            .orElseGet(() -> Scenario.MASTER_KEY.getBytes(StandardCharsets.UTF_8));
    return open(parent, row.encryptedKey());
  }

  /** The data row key of a record. */
  byte[] rowKey(DataRowRecord record) {
    return open(key(record.key().parentKeyMeta().orElseThrow()), record.key().encryptedKey());
  }

  /** The payload of a record. */
  byte[] payload(DataRowRecord record) {
    return open(rowKey(record), record.data());
  }

  private static byte[] open(byte[] key, byte[] sealed) {
    int nonceOffset = sealed.length - NONCE_BYTES;
    try {
      Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
      cipher.init(
          Cipher.DECRYPT_MODE,
          new SecretKeySpec(key, "AES"),
          new GCMParameterSpec(128, sealed, nonceOffset, NONCE_BYTES));
      return cipher.doFinal(sealed, 0, nonceOffset);
    } catch (GeneralSecurityException e) {
      throw new AssertionError("sealed under another key", e);
    }
  }
}
