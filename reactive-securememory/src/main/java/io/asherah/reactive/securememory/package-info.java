/**
 * Secrets in locked off-heap memory: never swapped, left out of core dumps, unreadable while idle.
 *
 * <p>{@link io.asherah.reactive.securememory.SecretFactory} makes {@link
 * io.asherah.reactive.securememory.Secret}s; a program only ever sees copies of their bytes, inside
 * a scope that wipes them.
 */
@NullMarked
package io.asherah.reactive.securememory;

import org.jspecify.annotations.NullMarked;
