package io.asherah.reactive.securememory.internal.platform;

import io.asherah.reactive.securememory.UnsupportedPlatformException;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;

/**
 * Finds what belongs to the operating system and processor this JVM runs on.
 *
 * <p>Nothing native is loaded before the first call on what is returned. On a platform that is not
 * supported, that call throws {@link UnsupportedPlatformException}, not the methods of this class:
 * making a factory must not fail.
 */
public final class Platforms {
  private static final String SUPPORTED =
      "supported are Linux, macOS (x86-64, arm64) and Windows (x86-64)";

  /** What this library tells apart. */
  private enum Family {
    LINUX,
    MAC,
    WINDOWS,
    FREEBSD,
    OPENBSD,
    NETBSD,
    ILLUMOS,
    OTHER;

    static Family of(String osName) {
      String name = osName.toLowerCase(Locale.ROOT);
      if (name.equals("linux")) {
        return LINUX;
      }
      if (name.startsWith("mac os") || name.equals("darwin")) {
        return MAC;
      }
      if (name.startsWith("windows")) {
        return WINDOWS;
      }
      return switch (name) {
        case "freebsd" -> FREEBSD;
        case "openbsd" -> OPENBSD;
        case "netbsd" -> NETBSD;
        case "sunos" -> ILLUMOS;
        default -> OTHER;
      };
    }
  }

  private enum Processor {
    X86_64,
    ARM64,
    OTHER;

    static Processor of(String osArch) {
      return switch (osArch.toLowerCase(Locale.ROOT)) {
        case "amd64", "x86_64" -> X86_64;
        case "aarch64", "arm64" -> ARM64;
        default -> OTHER;
      };
    }
  }

  private enum Support {
    SUPPORTED,
    EXPERIMENTAL,
    NONE
  }

  // One of each for all, since JNA keeps what it registers.
  private static final Supplier<LinuxLibc> LINUX_LIBC = new Lazy<>(JnaLinuxLibc::new);
  private static final Supplier<BsdLibc> BSD_LIBC = new Lazy<>(JnaBsdLibc::new);
  private static final Supplier<Libc> LIBC = new Lazy<>(JnaLibc::new);
  private static final Supplier<Kernel32> KERNEL32 = new Lazy<>(JnaKernel32::new);

  private Platforms() {}

  /**
   * The memory of this platform.
   *
   * @param experimental whether one that nobody has run this library on will do
   */
  public static NativeMemory memory(boolean experimental) {
    return memory(System.getProperty("os.name"), System.getProperty("os.arch"), experimental);
  }

  static NativeMemory memory(String osName, String osArch, boolean experimental) {
    Family family = Family.of(osName);
    Processor processor = Processor.of(osArch);
    Support support = support(family, processor);
    if (support == Support.NONE || (support == Support.EXPERIMENTAL && !experimental)) {
      return new LinuxMemory(refusing(refusal(osName, osArch, support)), false);
    }
    return switch (family) {
      case LINUX -> new LinuxMemory(LINUX_LIBC, processor == Processor.ARM64);
      case MAC -> new MacMemory(BSD_LIBC);
      case WINDOWS -> new WindowsMemory(KERNEL32);
      case FREEBSD -> new FreeBsdMemory(BSD_LIBC);
      case OPENBSD -> new OpenBsdMemory(BSD_LIBC);
      case NETBSD -> new NetBsdMemory(BSD_LIBC);
      case ILLUMOS -> new IllumosMemory(LIBC);
      case OTHER -> throw new AssertionError(family);
    };
  }

  private static Support support(Family family, Processor processor) {
    if (processor == Processor.OTHER) {
      return Support.NONE;
    }
    return switch (family) {
      case LINUX, MAC -> Support.SUPPORTED;
      case WINDOWS -> processor == Processor.X86_64 ? Support.SUPPORTED : Support.EXPERIMENTAL;
      case FREEBSD, OPENBSD, NETBSD -> Support.EXPERIMENTAL;
      case ILLUMOS -> processor == Processor.X86_64 ? Support.EXPERIMENTAL : Support.NONE;
      case OTHER -> Support.NONE;
    };
  }

  private static String refusal(String osName, String osArch, Support support) {
    return support == Support.EXPERIMENTAL
        ? "%s on %s is experimental, nobody has run this library there; %s, or allow it with"
                .formatted(osName, osArch, SUPPORTED)
            + " SecretFactory.builder().experimentalPlatform(true)"
        : "locked memory is not available for %s on %s; %s, and as experimental ones FreeBSD,"
                .formatted(osName, osArch, SUPPORTED)
            + " OpenBSD, NetBSD, illumos and Windows (arm64)";
  }

  private static <T> Supplier<T> refusing(String refusal) {
    return () -> {
      throw new UnsupportedPlatformException(refusal, null);
    };
  }

  /** This process. Unlike memory it needs no leave on experimental platforms. */
  public static NativeProcess process() {
    return process(System.getProperty("os.name"), System.getProperty("os.arch"));
  }

  static NativeProcess process(String osName, String osArch) {
    Family family = Family.of(osName);
    Support support = support(family, Processor.of(osArch));
    if (support == Support.NONE) {
      return new LinuxProcess(refusing(refusal(osName, osArch, support)));
    }
    return switch (family) {
      case LINUX -> new LinuxProcess(LINUX_LIBC);
      case WINDOWS -> new WindowsProcess();
      default -> new UnixProcess<>(LIBC);
    };
  }

  /** The classes whose public methods block, with those they inherit from. */
  public static List<Class<?>> blockingClasses() {
    return List.of(
        UnixMemory.class,
        LinuxMemory.class,
        BsdMemory.class,
        MacMemory.class,
        FreeBsdMemory.class,
        OpenBsdMemory.class,
        NetBsdMemory.class,
        IllumosMemory.class,
        WindowsMemory.class,
        UnixProcess.class,
        LinuxProcess.class,
        WindowsProcess.class);
  }
}
