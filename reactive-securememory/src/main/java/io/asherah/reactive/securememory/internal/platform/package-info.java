/** The system calls for locked memory, one class per operating system. */
package io.asherah.reactive.securememory.internal.platform;
