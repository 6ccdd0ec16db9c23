package io.asherah.reactive.securememory.internal.platform;

import io.asherah.reactive.securememory.UnsupportedPlatformException;

/** A process of Windows, where dumps and debuggers are for the administrator to forbid. */
final class WindowsProcess implements NativeProcess {

  @Override
  public void forbidCoreDumps() {
    throw new UnsupportedPlatformException(
        "a process of Windows cannot forbid dumps of itself; set DontShowUI and Disabled of Windows"
            + " Error Reporting, and start Java with -XX:-CreateCoredumpOnCrash",
        null);
  }

  @Override
  public void forbidInspection() {
    throw new UnsupportedPlatformException(
        "a process of Windows cannot forbid others to inspect it; run it as a user of its own",
        null);
  }
}
