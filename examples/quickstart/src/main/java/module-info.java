import org.jspecify.annotations.NullMarked;

/** A program that seals the lines of a file and opens them again. */
@NullMarked
module io.asherah.reactive.examples.quickstart {
  requires io.asherah.reactive;
}
