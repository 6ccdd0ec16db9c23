package io.asherah.reactive.kms.aws;

import static io.asherah.reactive.kms.aws.KmsScenario.bytes;
import static io.asherah.reactive.kms.aws.KmsScenario.unwrap;
import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.KmsException;
import io.asherah.reactive.spi.MetricsRecorder;
import org.junit.jupiter.api.Test;

/** A recorder that fails does no harm. */
class RecorderIT {
  private static final class Throwing implements MetricsRecorder {
    private final Throwable thrown;

    Throwing(Throwable thrown) {
      this.thrown = thrown;
    }

    @Override
    public void kmsRegionFailed(String kms, String region, KmsException.Kind kind) {
      RecorderIT.<RuntimeException>sneak(thrown);
    }
  }

  @SuppressWarnings("unchecked")
  private static <E extends Throwable> void sneak(Throwable e) throws E {
    throw (E) e;
  }

  @Test
  void throwingRecorder_isReportedOnce_andDoesNoHarm() {
    for (Throwable thrown :
        new Throwable[] {
          new IllegalStateException("intended"),
          new NoClassDefFoundError("intended"),
          new Exception("intended")
        }) {
      try (KmsScenario scenario = new KmsScenario(2);
          Log log = new Log()) {
        AwsKeyManagementService kms =
            scenario.builder().metricsRecorder(new Throwing(thrown)).build();
        scenario.key(0).deny();

        for (int i = 0; i < 3; i++) {
          assertThat(unwrap(kms, scenario.wrap(kms, 1))).isEqualTo(bytes(1));
        }

        assertThat(log.warnings().stream().filter(line -> line.contains("recorder"))).hasSize(1);
        // Made, left out, and opened by the other: three each time.
        assertThat(log.warnings().stream().filter(line -> !line.contains("recorder")))
            .hasSize(3 * 2);
      }
    }
  }
}
