package io.asherah.reactive.securememory;

/**
 * Whether secrets lie in pages of Linux's {@code memfd_secret(2)}, which the kernel itself can no
 * longer reach: nobody reads them from outside, be it through {@code /proc/<pid>/mem} or a
 * debugger, and be it root. Who can make this process run code of his, as a debugger and root can,
 * still gets at them. Needs Linux 5.14, before 6.5 also the boot option {@code secretmem.enable=1},
 * and a container whose system call filter lets it through. While such pages exist the machine
 * cannot hibernate.
 */
public enum MemfdSecret {
  /** Secrets lie in ordinary locked memory. */
  OFF,

  /** Where there are no such pages, that is logged once and ordinary locked memory is used. */
  PREFERRED,

  /** Where there are no such pages, every creation signals {@link UnsupportedPlatformException}. */
  REQUIRED
}
