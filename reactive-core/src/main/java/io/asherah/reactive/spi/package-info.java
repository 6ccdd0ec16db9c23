/** What an adapter to a key store or a key management service implements. */
@NullMarked
package io.asherah.reactive.spi;

import org.jspecify.annotations.NullMarked;
