package io.asherah.reactive;

import java.time.Instant;
import java.util.List;

/**
 * What {@link SessionFactory#shred} deleted: evidence for whoever has to prove an erasure.
 * Immutable and safe for use by many threads.
 *
 * @param partition the partition whose keys were deleted
 * @param deleted the versions that were deleted, each once, in the order of the metastore's answer
 * @param started when the deletion began, on the clock of the factory
 * @param finished when no key with the same id and time could be made any more, on that clock
 */
public record ShredReport(
    String partition, List<KeyMeta> deleted, Instant started, Instant finished) {

  /**
   * Makes a report.
   *
   * @param partition the partition whose keys were deleted
   * @param deleted the versions that were deleted; copied
   * @param started when the deletion began
   * @param finished when it was over
   */
  public ShredReport {
    deleted = List.copyOf(deleted);
  }

  /** Leaves the partition out. */
  @Override
  public String toString() {
    return "ShredReport[deleted=%d, started=%s, finished=%s]"
        .formatted(deleted.size(), started, finished);
  }
}
