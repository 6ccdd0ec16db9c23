import org.jspecify.annotations.NullMarked;

/** Reactive, non-blocking Asherah: application-layer envelope encryption. */
@NullMarked
module io.asherah.reactive {
  requires transitive org.reactivestreams;
  requires transitive io.asherah.reactive.securememory;
  requires transitive reactor.core;
  requires static transitive org.jspecify;
  requires com.github.benmanes.caffeine;
  requires org.slf4j;
  requires reactor.pool;
  requires tools.jackson.core;

  exports io.asherah.reactive;
  exports io.asherah.reactive.spi;
}
