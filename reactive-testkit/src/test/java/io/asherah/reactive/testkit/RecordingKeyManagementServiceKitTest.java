package io.asherah.reactive.testkit;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.StaticKeyManagementService;
import io.asherah.reactive.spi.KeyManagementService;
import java.time.Duration;
import java.util.Optional;
import reactor.core.scheduler.Schedulers;

/** The double is itself a key management service as it should be, late answers included. */
class RecordingKeyManagementServiceKitTest implements KeyManagementServiceTestKit {
  @Override
  public RecordingKeyManagementService keyManagementService() {
    RecordingKeyManagementService kms =
        RecordingKeyManagementService.of(
            StaticKeyManagementService.ofUtf8("thisIsAStaticMasterKeyForTesting"));
    kms.delay(Duration.ofMillis(1), Schedulers.parallel());
    return kms;
  }

  @Override
  public Optional<KeyManagementService> unreachableKeyManagementService() {
    RecordingKeyManagementService unreachable = keyManagementService();
    unreachable.outage(new KmsException(KmsException.Kind.UNAVAILABLE, "nothing listens", null));
    return Optional.of(unreachable);
  }
}
