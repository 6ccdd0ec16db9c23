package io.asherah.reactive.internal.keys;

import io.asherah.reactive.spi.KeyInfo;

/**
 * The key ids of one partition of one service. The parts are joined as they are, the service before
 * the product, as in every implementation of Asherah.
 */
public final class Partition {
  private final String intermediateKeyId;
  private final String unsuffixedIntermediateKeyId;
  private final String serviceAndProduct;

  /** Joins parts that were checked before; an empty suffix means none. */
  public Partition(String partition, String service, String product, String suffix) {
    String ending = suffix.isEmpty() ? "" : "_" + suffix;
    this.serviceAndProduct = "_" + service + "_" + product;
    this.unsuffixedIntermediateKeyId = "_IK_" + partition + serviceAndProduct;
    this.intermediateKeyId = unsuffixedIntermediateKeyId + ending;
  }

  /**
   * The id of the system key that new intermediate keys of a service are wrapped by; an empty
   * suffix means none.
   */
  public static String systemKeyId(String service, String product, String suffix) {
    return "_SK_" + service + "_" + product + (suffix.isEmpty() ? "" : "_" + suffix);
  }

  /** The id of the intermediate key that new data is sealed under. */
  public String intermediateKeyId() {
    return intermediateKeyId;
  }

  /** The same without suffix. */
  String unsuffixedIntermediateKeyId() {
    return unsuffixedIntermediateKeyId;
  }

  /** What the key ring of this partition is called, whatever the suffix of the keys in it. */
  String ringName() {
    return unsuffixedIntermediateKeyId;
  }

  /**
   * Whether a record that names this intermediate key may be opened here. With a suffix, ids of the
   * same partition without one or with another one are accepted too, since regions read each
   * other's records.
   */
  public boolean owns(String id) {
    return id.equals(intermediateKeyId) || isSuffixed() && isItsKey(id);
  }

  /**
   * Whether this is the id of an intermediate key of this partition, with whatever suffix. What
   * follows the product must be a suffix, and not the rest of the id of another partition: the
   * tenant {@code a_service_product_b} is not the tenant {@code a}.
   */
  boolean isItsKey(String id) {
    if (!id.startsWith(unsuffixedIntermediateKeyId)) {
      return false;
    }
    int end = unsuffixedIntermediateKeyId.length();
    boolean isAnotherPartition =
        id.indexOf(serviceAndProduct, end - serviceAndProduct.length() + 1) >= 0;
    return id.length() == end || id.charAt(end) == '_' && !isAnotherPartition;
  }

  /**
   * Whether this is a key of this partition, with whatever suffix. Where an id could be that of a
   * tenant of another service as well, the system key that wraps it tells.
   */
  boolean isItsKey(KeyInfo key) {
    String id = key.meta().id();
    return id.equals(unsuffixedIntermediateKeyId)
        || id.equals(intermediateKeyId)
        || isItsKey(id)
            && key.parent()
                .map(parent -> (parent.id() + "_").startsWith("_SK" + serviceAndProduct + "_"))
                .orElse(false);
  }

  private boolean isSuffixed() {
    return intermediateKeyId.length() != unsuffixedIntermediateKeyId.length();
  }

  /**
   * Checks a part of a key id.
   *
   * @throws IllegalArgumentException if it is empty or cannot be written as UTF-8
   */
  public static String requireValid(String name, String part) {
    if (part.isEmpty()) {
      throw new IllegalArgumentException(name + " must not be empty");
    }
    for (int i = 0; i < part.length(); i++) {
      if (Character.isSurrogate(part.charAt(i))) {
        if (!Character.isSupplementaryCodePoint(part.codePointAt(i))) {
          // Written as UTF-8 it would become '?', and two partitions might become one.
          throw new IllegalArgumentException(name + " has a surrogate without its pair");
        }
        i++;
      }
    }
    return part;
  }
}
