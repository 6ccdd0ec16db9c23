package io.asherah.reactive.internal.wire;

import io.asherah.reactive.KeyMeta;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The fields of a data row record. Arrays are shared.
 *
 * @param created seconds since 1970
 * @param parent the intermediate key it was sealed under
 */
public record Row(
    long created, byte[] encryptedKey, boolean revoked, @Nullable KeyMeta parent, byte[] data) {

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Row that
        && created == that.created
        && Arrays.equals(encryptedKey, that.encryptedKey)
        && revoked == that.revoked
        && Objects.equals(parent, that.parent)
        && Arrays.equals(data, that.data);
  }

  @Override
  public int hashCode() {
    return Objects.hash(
        created, Arrays.hashCode(encryptedKey), revoked, parent, Arrays.hashCode(data));
  }

  @Override
  public String toString() {
    return "Row[****]";
  }
}
