package io.asherah.reactive.testkit.use;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.testkit.KeyManagementServiceTestKit;
import io.asherah.reactive.testkit.RecordingKeyManagementService;
import java.util.Optional;

/** From another package, as users do. */
class StaticKeyManagementServiceKitTest implements KeyManagementServiceTestKit {
  @Override
  public KeyManagementService keyManagementService() {
    return StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting");
  }

  @Override
  public Optional<KeyManagementService> unreachableKeyManagementService() {
    RecordingKeyManagementService unreachable =
        RecordingKeyManagementService.of(keyManagementService());
    unreachable.outage(new KmsException(KmsException.Kind.UNAVAILABLE, "nothing listens", null));
    return Optional.of(unreachable);
  }
}
