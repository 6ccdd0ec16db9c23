import org.jspecify.annotations.NullMarked;

/** A program that seals the lines of a file and opens them again, or seals and opens for others. */
@NullMarked
module io.asherah.reactive.examples.quickstart {
  requires io.asherah.reactive;
  requires io.asherah.reactive.metastore.r2dbc;
  // H2 needs it, and cannot say so, being no module of its own.
  requires java.sql;
}
