package io.asherah.reactive.securememory.internal.platform;

import io.asherah.reactive.securememory.UnsupportedPlatformException;
import java.util.function.Function;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Tells from what JNA threw why it cannot be loaded, and names what helps. */
final class JnaDiagnosis {
  private static final String PREPARED =
      "or unpack the native library of the JNA jar beforehand and name its directory"
          + " (-Djna.boot.library.path=/its/directory)";

  private JnaDiagnosis() {}

  static UnsupportedPlatformException of(
      Error error, Function<String, @Nullable String> properties) {
    Throwable cause = error;
    if (error instanceof ExceptionInInitializerError && error.getCause() != null) {
      cause = error.getCause();
    }
    return new UnsupportedPlatformException(
        message(cause, String.valueOf(cause.getMessage()), properties), cause);
  }

  private static String message(
      Throwable cause, String reason, Function<String, @Nullable String> properties) {
    if (cause instanceof IllegalCallerException) {
      return "this JVM denies native access, which JNA needs; start it with"
          + " --enable-native-access=io.asherah.reactive.securememory,com.sun.jna where both are"
          + " modules, with --enable-native-access=ALL-UNNAMED where they are on the class path, or"
          + " put Enable-Native-Access: ALL-UNNAMED into the manifest of the application's jar";
    }
    if (cause instanceof NoClassDefFoundError) {
      return "JNA is missing (%s); add net.java.dev.jna:jna to the class path or module path"
          .formatted(reason);
    }
    if (contains(reason, "incompatible JNA native library")) {
      return "JNA found a native library of another version first; remove it, or do not set"
          + " jna.boot.library.path and jna.nosys, so that it uses the one in its own jar: "
          + facts(reason);
    }
    if (contains(reason, "not found in resource path", "Could not find JNA native support")) {
      return "the JNA jar has no native library for this platform (%s); use the complete jar"
              .formatted(facts(reason))
          + " net.java.dev.jna:jna (shading may have dropped files), or where it has none build one"
          + " and name its directory (-Djna.boot.library.path=/its/directory)";
    }
    if (contains(reason, "Unable to locate JNA native support library")) {
      return "jna.noclasspath is set, and JNA's native library is not elsewhere; remove"
          + " -Djna.noclasspath, "
          + PREPARED;
    }
    if (contains(
        reason, "failed to map segment", "Operation not permitted", "cannot enable executable")) {
      return "the system refuses to execute JNA's native library where JNA unpacks it (%s), as it"
              .formatted(properties.apply("jnidispatch.path"))
          + " does in a directory that is mounted noexec; name one it may execute from"
          + " (-Djna.tmpdir=/another/directory), "
          + PREPARED;
    }
    if (contains(
        reason,
        "Failed to create temporary file",
        "JNA temporary directory",
        "Permission denied",
        "Read-only file system",
        "No space left on device",
        "No such file or directory")) {
      return "JNA finds no directory to unpack its native library to (%s); name one it may write to"
              .formatted(facts(reason))
          + " (-Djna.tmpdir=/another/directory), "
          + PREPARED;
    }
    return "JNA could not load its native library: " + facts(reason);
  }

  private static boolean contains(String reason, String... parts) {
    return Stream.of(parts).anyMatch(reason::contains);
  }

  /** On one line, and without the essay that follows in JNA's longest message. */
  private static String facts(String reason) {
    return reason
        .strip()
        .split("\\R\\s*To resolve", 2)[0]
        .strip()
        .replaceAll("\\s*\\R\\s*", ", ")
        .replaceAll("\\s+", " ");
  }
}
