import org.jspecify.annotations.NullMarked;

/**
 * For tests: what checks an implementation of the SPI, and doubles for programs that use a session
 * factory.
 */
@NullMarked
module io.asherah.reactive.testkit {
  requires transitive io.asherah.reactive;
  requires transitive org.junit.jupiter.api;
  requires transitive reactor.test;
  requires static transitive org.jspecify;
  requires org.assertj.core;

  exports io.asherah.reactive.testkit;
}
