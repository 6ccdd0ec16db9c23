package io.asherah.reactive.securememory.internal.platform;

import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import io.asherah.reactive.securememory.UnsupportedPlatformException;
import org.jspecify.annotations.Nullable;

/**
 * Whether JNA could load its native library. Tried once, with the first use of this class, because
 * a class that failed to initialize does not say why a second time.
 */
final class JnaLoading {
  private static final @Nullable UnsupportedPlatformException FAILURE = tryToLoad();

  private JnaLoading() {}

  /**
   * Loads JNA's native library, which writes a temporary file.
   *
   * @throws UnsupportedPlatformException that tells why it cannot be had and what to do
   */
  static void require() {
    UnsupportedPlatformException failure = FAILURE;
    if (failure != null) {
      // A new one, with the stack of who asks.
      throw new UnsupportedPlatformException(
          String.valueOf(failure.getMessage()), failure.getCause());
    }
  }

  /** Binds the native methods of a class to functions that this process has loaded already. */
  static void registerInProcess(Class<?> natives) {
    register(natives, null);
  }

  /** Binds the native methods of a class to functions of the library of that name. */
  static void register(Class<?> natives, @Nullable String library) {
    // First, so that no other class of JNA is needed before it is known to be there.
    require();
    try {
      Native.register(
          natives,
          library == null ? NativeLibrary.getProcess() : NativeLibrary.getInstance(library));
    } catch (UnsatisfiedLinkError e) {
      throw new UnsupportedPlatformException(
          "a function that locked memory needs is missing in the libraries of this system: "
              + e.getMessage(),
          e);
    }
  }

  private static @Nullable UnsupportedPlatformException tryToLoad() {
    try {
      // Not a constant: it initializes the class.
      return Native.POINTER_SIZE == Long.BYTES
          ? null
          : new UnsupportedPlatformException("locked memory needs a 64-bit process", null);
    } catch (VirtualMachineError e) {
      throw e;
    } catch (Error e) {
      // Most are LinkageErrors, but JNA throws a plain Error for a library of another version.
      return JnaDiagnosis.of(e, System::getProperty);
    }
  }
}
