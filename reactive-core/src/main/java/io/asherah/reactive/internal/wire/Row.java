package io.asherah.reactive.internal.wire;

import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** The fields of a data row record. Arrays are shared, times are seconds since 1970. */
public record Row(
    long created,
    byte[] encryptedKey,
    boolean revoked,
    @Nullable String parentId,
    long parentCreated,
    byte[] data) {

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Row that
        && created == that.created
        && Arrays.equals(encryptedKey, that.encryptedKey)
        && revoked == that.revoked
        && Objects.equals(parentId, that.parentId)
        && parentCreated == that.parentCreated
        && Arrays.equals(data, that.data);
  }

  @Override
  public int hashCode() {
    return Objects.hash(created, Arrays.hashCode(encryptedKey), parentId, parentCreated)
        ^ Arrays.hashCode(data);
  }

  @Override
  public String toString() {
    return "Row[****]";
  }
}
