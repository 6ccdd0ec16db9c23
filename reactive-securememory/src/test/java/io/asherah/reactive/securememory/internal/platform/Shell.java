package io.asherah.reactive.securememory.internal.platform;

import java.io.IOException;

/** Tries what the system may not allow. */
final class Shell {
  private Shell() {}

  /** Whether a command ends without an error; what it prints is lost. */
  static boolean succeeds(String command) {
    try {
      return new ProcessBuilder("sh", "-c", command)
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start()
              .waitFor()
          == 0;
    } catch (IOException | InterruptedException e) {
      throw new AssertionError(e);
    }
  }
}
