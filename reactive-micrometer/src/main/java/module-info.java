import org.jspecify.annotations.NullMarked;

/** Metrics and traces of Asherah Reactive through Micrometer. */
@NullMarked
module io.asherah.reactive.micrometer {
  requires transitive io.asherah.reactive;
  requires transitive micrometer.core;
  requires transitive micrometer.observation;
  requires static transitive org.jspecify;
  requires org.slf4j;
  requires reactor.core.micrometer;

  exports io.asherah.reactive.micrometer;
}
