package com.godaddy.asherah.appencryption.kms;

import java.util.Map;
import java.util.function.Function;
import software.amazon.awssdk.services.kms.KmsClient;

/**
 * Gives canonical Java clients for a server of ours. The interface of its factory is private to its
 * package, so this is in that package.
 */
public final class CanonicalAwsKms {
  private CanonicalAwsKms() {}

  /**
   * Makes a service.
   *
   * @param keys the master keys by region
   * @param preferredRegion the region that is asked first
   * @param clients makes the client of a region
   * @return the service of canonical Java
   */
  public static KeyManagementService of(
      Map<String, String> keys, String preferredRegion, Function<String, KmsClient> clients) {
    return AwsKeyManagementServiceImpl.newBuilder(keys, preferredRegion)
        .withKmsClientFactory(clients::apply)
        .build();
  }
}
