package io.asherah.reactive.internal.keys;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** The ids of wire-and-behaviour §1.2 and §11.3, and the check of §1.4. */
class PartitionTest {
  private static final Partition PLAIN = new Partition("partid", "service", "product", "");
  private static final Partition SUFFIXED = new Partition("partid", "service", "product", "suffix");

  @Test
  void ids_putTheServiceBeforeTheProduct_andTheSuffixLast() {
    assertThat(Partition.systemKeyId("service", "product", "")).isEqualTo("_SK_service_product");
    assertThat(PLAIN.intermediateKeyId()).isEqualTo("_IK_partid_service_product");
    assertThat(Partition.systemKeyId("service", "product", "suffix"))
        .isEqualTo("_SK_service_product_suffix");
    assertThat(SUFFIXED.intermediateKeyId()).isEqualTo("_IK_partid_service_product_suffix");
  }

  @Test
  void withoutSuffix_onlyTheVeryIdIsOwned() {
    assertThat(PLAIN.owns("_IK_partid_service_product")).isTrue();
    assertThat(PLAIN.owns("_IK_partid_service_product_suffix")).isFalse();
    assertThat(PLAIN.owns("_IK_partid_service_product2")).isFalse();
    assertThat(PLAIN.owns("_IK_partid2_service_product")).isFalse();
    assertThat(PLAIN.owns("_IK_PARTID_service_product")).isFalse();
    assertThat(PLAIN.owns("_SK_service_product")).isFalse();
    assertThat(PLAIN.owns("")).isFalse();
  }

  @Test
  void withSuffix_anotherPartitionWhoseIdStartsAlike_isNotOwned() {
    assertThat(SUFFIXED.owns("_IK_partid_service_product_2_service_product_suffix")).isFalse();
    assertThat(SUFFIXED.owns("_IK_partid_service_product_service_product_suffix")).isFalse();
    assertThat(SUFFIXED.owns("_IK_partid_service_product_service_product")).isFalse();
  }

  @Test
  void withSuffix_anotherPartitionWhoseIdOverlaps_isNotOwned() {
    Partition alice = new Partition("alice", "orders", "orders", "west");
    assertThat(alice.owns("_IK_alice_orders_orders_west")).isTrue();
    assertThat(alice.owns("_IK_alice_orders_orders_east")).isTrue();
    // Tenant alice_orders.
    assertThat(alice.owns("_IK_alice_orders_orders_orders_west")).isFalse();
    assertThat(alice.owns("_IK_alice_orders_orders_orders")).isFalse();
  }

  @Test
  void withSuffix_idsWithoutOneOrWithAnotherOneAreOwnedToo_butNotThoseOfASiblingProduct() {
    assertThat(SUFFIXED.owns("_IK_partid_service_product_suffix")).isTrue();
    assertThat(SUFFIXED.owns("_IK_partid_service_product")).isTrue();
    assertThat(SUFFIXED.owns("_IK_partid_service_product_other")).isTrue();
    // The prefix rule of the Java, C# and Go implementations accepts these two.
    assertThat(SUFFIXED.owns("_IK_partid_service_product2_suffix")).isFalse();
    assertThat(SUFFIXED.owns("_IK_partid_service_product2")).isFalse();
    assertThat(SUFFIXED.owns("_IK_partid_service_produc")).isFalse();
    assertThat(SUFFIXED.owns("_IK_other_service_product_suffix")).isFalse();
  }
}
