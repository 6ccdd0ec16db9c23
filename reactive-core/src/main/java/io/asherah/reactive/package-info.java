/**
 * Reactive, non-blocking Asherah: what an application touches.
 *
 * <p>A {@link io.asherah.reactive.SessionFactory} is made once per service; a {@link
 * io.asherah.reactive.Session} encrypts and decrypts for one partition (a tenant or a user). The
 * records are those of the Go, Java, C# and Rust implementations of Asherah, byte for byte.
 */
@NullMarked
package io.asherah.reactive;

import org.jspecify.annotations.NullMarked;
