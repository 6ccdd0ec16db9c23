/** AES-256-GCM and random bytes. */
package io.asherah.reactive.internal.crypto;
