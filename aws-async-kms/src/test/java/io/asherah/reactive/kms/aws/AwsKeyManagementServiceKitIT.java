package io.asherah.reactive.kms.aws;

import io.asherah.reactive.kms.aws.KmsScenario.Http;
import io.asherah.reactive.spi.KeyManagementService;
import io.asherah.reactive.testaws.KmsServer;
import io.asherah.reactive.testkit.KeyManagementServiceTestKit;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.TestInstance;
import software.amazon.awssdk.services.kms.KmsAsyncClient;

/** What every key management service has to do, in one region and in three, by both clients. */
class AwsKeyManagementServiceKitIT {

  @TestInstance(TestInstance.Lifecycle.PER_CLASS)
  abstract static class Kit implements KeyManagementServiceTestKit {
    private final KmsScenario scenario;
    private final KmsServer refusing = KmsServer.start("us-west-2");
    private final KmsAsyncClient unreachable;

    Kit(int regions, Http http) {
      scenario = new KmsScenario(regions, http);
      unreachable =
          scenario
              .anonymousClientBuilder(scenario.name(0))
              .credentialsProvider(KmsScenario.credentials())
              .endpointOverride(refusing.region("us-west-2").endpoint())
              .build();
      refusing.region("us-west-2").refuse();
    }

    @AfterAll
    void closeScenario() {
      unreachable.close();
      refusing.close();
      scenario.close();
    }

    @Override
    public KeyManagementService keyManagementService() {
      return scenario.builder().build();
    }

    @Override
    public Optional<KeyManagementService> unreachableKeyManagementService() {
      return Optional.of(
          scenario
              .withRegions(AwsKeyManagementService.builder())
              .clientFactory(region -> unreachable)
              .build());
    }

    @Override
    public Duration timeout() {
      return KmsScenario.PATIENCE;
    }

    @Override
    public boolean isEveryByteAuthenticated() {
      return false;
    }
  }

  @Nested
  class OneRegionByNetty extends Kit {
    OneRegionByNetty() {
      super(1, Http.NETTY);
    }
  }

  @Nested
  class OneRegionByCrt extends Kit {
    OneRegionByCrt() {
      super(1, Http.CRT);
    }
  }

  @Nested
  class ThreeRegionsByNetty extends Kit {
    ThreeRegionsByNetty() {
      super(3, Http.NETTY);
    }
  }

  @Nested
  class ThreeRegionsByCrt extends Kit {
    ThreeRegionsByCrt() {
      super(3, Http.CRT);
    }
  }
}
