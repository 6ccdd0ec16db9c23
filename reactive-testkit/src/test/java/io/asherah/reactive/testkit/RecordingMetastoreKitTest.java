package io.asherah.reactive.testkit;

import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.Metastore;
import java.time.Duration;
import java.util.Optional;
import reactor.core.scheduler.Schedulers;

/** The double is itself a metastore as it should be, late answers included. */
class RecordingMetastoreKitTest implements MetastoreTestKit {
  @Override
  public RecordingMetastore metastore() {
    RecordingMetastore metastore = RecordingMetastore.of(new InMemoryMetastore());
    metastore.delay(Duration.ofMillis(1), Schedulers.parallel());
    return metastore;
  }

  @Override
  public Optional<Metastore> unreachableMetastore() {
    RecordingMetastore unreachable = metastore();
    unreachable.outage(new MetastoreException("nothing listens", null, true));
    return Optional.of(unreachable);
  }
}
