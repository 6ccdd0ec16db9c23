/** Locked regions, the secrets in them, and the protocol by which they are opened and closed. */
package io.asherah.reactive.securememory.internal;
