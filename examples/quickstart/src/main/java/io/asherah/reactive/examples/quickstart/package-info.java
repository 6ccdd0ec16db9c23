/** The library in one page: seal, open, compare, close. */
@NullMarked
package io.asherah.reactive.examples.quickstart;

import org.jspecify.annotations.NullMarked;
