package io.asherah.reactive.securememory;

/** Signalled when the operating system refuses a system call for locked memory. */
public final class NativeCallException extends SecureMemoryException {
  private static final long serialVersionUID = 1L;

  private final String call;
  private final int errno;

  /**
   * Makes an exception.
   *
   * @param call the name of the system call
   * @param errno the error number it left, as in {@code errno.h}
   */
  public NativeCallException(String call, int errno) {
    super(call + " failed with errno " + errno + hint(errno), null);
    this.call = call;
    this.errno = errno;
  }

  private static String hint(int errno) {
    // ENOMEM, the same number on all Unixes.
    return errno == 12
        ? " (ENOMEM): there is no memory left, or too many regions are mapped (vm.max_map_count of"
            + " Linux)"
        : "";
  }

  /**
   * The system call that failed.
   *
   * @return its name, for instance {@code mprotect}
   */
  public String call() {
    return call;
  }

  /**
   * Why it failed.
   *
   * @return the error number, as in {@code errno.h}
   */
  public int errno() {
    return errno;
  }
}
