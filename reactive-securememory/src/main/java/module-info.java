import org.jspecify.annotations.NullMarked;

/**
 * Locked off-heap memory for secrets, for reactive programs.
 *
 * <p>Grant native access to this module alone: {@code
 * --enable-native-access=io.asherah.reactive.securememory,com.sun.jna}.
 */
@NullMarked
module io.asherah.reactive.securememory {
  requires transitive org.reactivestreams;
  requires transitive reactor.core;
  requires com.sun.jna;
  requires static transitive org.jspecify;
  // The integration is registered through META-INF/services only: a `provides` would stop a JDK 17
  // boot layer that has no BlockHound.
  requires static reactor.blockhound;

  exports io.asherah.reactive.securememory;
}
