package io.asherah.reactive.spi;

import io.asherah.reactive.KeyMeta;
import java.time.Instant;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Which keys of a metastore are meant: by id or by what an id starts with, and by creation time.
 * Immutable and safe for use by many threads.
 *
 * @param id the id, or its beginning
 * @param isPrefix whether ids that only start with it are meant too
 * @param from the earliest creation time that is meant, or null for any
 * @param before the earliest creation time that is not meant any more, or null for none
 */
public record KeySelector(
    String id, boolean isPrefix, @Nullable Instant from, @Nullable Instant before) {

  /**
   * Makes a selector.
   *
   * @param id the id, or its beginning, which may be empty to select every key
   * @param isPrefix whether ids that only start with it are meant too
   * @param from the earliest creation time that is meant, or null for any
   * @param before the earliest creation time that is not meant any more, or null for none
   * @throws IllegalArgumentException if a whole id is empty
   */
  public KeySelector {
    Objects.requireNonNull(id, "id");
    if (id.isEmpty() && !isPrefix) {
      throw new IllegalArgumentException("the id of a key must not be empty");
    }
  }

  /**
   * All versions of one key.
   *
   * @param id the id of the key
   * @return a selector
   */
  public static KeySelector id(String id) {
    return new KeySelector(id, false, null, null);
  }

  /**
   * All versions of all keys whose id starts like this. Letters count exactly; nothing in the
   * prefix is a wild card.
   *
   * @param prefix what the ids start with; empty for all keys
   * @return a selector
   */
  public static KeySelector idPrefix(String prefix) {
    return new KeySelector(prefix, true, null, null);
  }

  /**
   * One version of one key.
   *
   * @param meta the name of the version
   * @return a selector
   */
  public static KeySelector version(KeyMeta meta) {
    return new KeySelector(meta.id(), false, meta.created(), meta.created().plusSeconds(1));
  }

  /**
   * Selects, of these, those that were made at that time or later.
   *
   * @param from the earliest creation time
   * @return another selector
   */
  public KeySelector createdFrom(Instant from) {
    return new KeySelector(id, isPrefix, from, before);
  }

  /**
   * Selects, of these, those that were made before that time.
   *
   * @param before the earliest creation time that is not meant
   * @return another selector
   */
  public KeySelector createdBefore(Instant before) {
    return new KeySelector(id, isPrefix, from, before);
  }

  /**
   * Whether a key is meant.
   *
   * @param meta the name of a version of a key
   * @return true if it is selected
   */
  public boolean selects(KeyMeta meta) {
    return (isPrefix ? meta.id().startsWith(id) : meta.id().equals(id))
        && (from == null || !meta.created().isBefore(from))
        && (before == null || meta.created().isBefore(before));
  }

  /** Leaves the id out, which may contain a partition. */
  @Override
  public String toString() {
    return "KeySelector[%s, from=%s, before=%s]"
        .formatted(isPrefix ? "idPrefix=****" : "id=****", from, before);
  }
}
