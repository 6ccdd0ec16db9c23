package io.asherah.reactive.internal.keys;

import io.asherah.reactive.KeyEvent;
import io.asherah.reactive.KmsException;
import io.asherah.reactive.spi.MetricsRecorder;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Keeps an operation from failing because a recorder does. */
public final class GuardedRecorder implements MetricsRecorder {
  private static final Logger log = LoggerFactory.getLogger(GuardedRecorder.class);

  private final MetricsRecorder recorder;
  private final AtomicBoolean isReported = new AtomicBoolean();

  private GuardedRecorder(MetricsRecorder recorder) {
    this.recorder = recorder;
  }

  /** Guards a recorder, unless it is the one that does nothing. */
  public static MetricsRecorder of(MetricsRecorder recorder) {
    return recorder == NONE ? NONE : new GuardedRecorder(recorder);
  }

  @Override
  public void encrypted(long nanos, boolean isSuccess) {
    guarded(() -> recorder.encrypted(nanos, isSuccess));
  }

  @Override
  public void decrypted(long nanos, boolean isSuccess) {
    guarded(() -> recorder.decrypted(nanos, isSuccess));
  }

  @Override
  public void metastoreCalled(String metastore, MetastoreCall call, long nanos, boolean isSuccess) {
    guarded(() -> recorder.metastoreCalled(metastore, call, nanos, isSuccess));
  }

  @Override
  public void kmsCalled(String kms, KmsCall call, long nanos, boolean isSuccess) {
    guarded(() -> recorder.kmsCalled(kms, call, nanos, isSuccess));
  }

  @Override
  public void kmsRegionFailed(String kms, String region, KmsException.Kind kind) {
    guarded(() -> recorder.kmsRegionFailed(kms, region, kind));
  }

  @Override
  public void keyLookedUp(Cache cache, Lookup lookup) {
    guarded(() -> recorder.keyLookedUp(cache, lookup));
  }

  @Override
  public void keyEvent(KeyEvent event) {
    guarded(() -> recorder.keyEvent(event));
  }

  private void guarded(Runnable record) {
    try {
      record.run();
    } catch (Throwable e) {
      if (isReported.compareAndSet(false, true)) {
        log.warn("A metrics recorder throws; that is its fault, and reported once", e);
      }
    }
  }
}
