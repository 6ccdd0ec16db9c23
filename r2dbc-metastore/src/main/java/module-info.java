import org.jspecify.annotations.NullMarked;

/** Keeps the keys of Asherah Reactive in relational databases over R2DBC. */
@NullMarked
module io.asherah.reactive.metastore.r2dbc {
  requires transitive io.asherah.reactive;
  requires transitive r2dbc.spi;
  requires static transitive org.jspecify;
  requires static r2dbc.postgresql;
  requires org.slf4j;
  requires reactor.pool;

  exports io.asherah.reactive.metastore.r2dbc;
}
