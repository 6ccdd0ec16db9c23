package io.asherah.reactive.securememory.internal.platform;

/**
 * What a process can do to keep its memory from others. Every method may block. A call that the
 * system refuses throws {@link io.asherah.reactive.securememory.NativeCallException}, one that it
 * does not have {@link io.asherah.reactive.securememory.UnsupportedPlatformException}.
 */
public interface NativeProcess {

  /** Has no core dump of this process and of its future children written, for ever. */
  void forbidCoreDumps();

  /** Keeps processes of the same user from reading this one, until it executes another program. */
  void forbidInspection();
}
