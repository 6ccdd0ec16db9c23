package io.asherah.reactive.testkit.use;

import io.asherah.reactive.InMemoryMetastore;
import io.asherah.reactive.MetastoreException;
import io.asherah.reactive.spi.Metastore;
import io.asherah.reactive.testkit.MetastoreTestKit;
import io.asherah.reactive.testkit.RecordingMetastore;
import java.util.Optional;

/** From another package, as users do. */
class InMemoryMetastoreKitTest implements MetastoreTestKit {
  @Override
  public Metastore metastore() {
    return new InMemoryMetastore("region");
  }

  @Override
  public Optional<Metastore> unreachableMetastore() {
    RecordingMetastore unreachable = RecordingMetastore.of(metastore());
    unreachable.outage(new MetastoreException("nothing listens", null, true));
    return Optional.of(unreachable);
  }
}
