/** The key hierarchy: which key is used when, and how long it lives in memory. */
package io.asherah.reactive.internal.keys;
