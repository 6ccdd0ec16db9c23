package io.asherah.reactive.securememory;

import io.asherah.reactive.securememory.internal.platform.NativeProcess;
import io.asherah.reactive.securememory.internal.platform.Platforms;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Keeps the memory of the whole process, its Java heap included, from core dumps and from other
 * processes. Copies of secrets are on the heap while they are used; locked memory alone does not
 * cover them.
 *
 * <p>Nothing else in this library does any of it: each method changes how the whole process can be
 * operated, and none can be undone. Call them first thing in {@code main}.
 *
 * <p>Each subscription makes the system calls on {@link Schedulers#boundedElastic()}; a second one
 * changes nothing. Cancelling does not take back what was done. A Mono signals {@link
 * UnsupportedPlatformException} where the platform has nothing of the kind or JNA cannot be loaded,
 * and {@link NativeCallException} where the system refuses.
 *
 * <p>The methods are safe for use by many threads.
 */
public final class ProcessHardening {
  private final NativeProcess process;

  ProcessHardening(NativeProcess process) {
    this.process = process;
  }

  /**
   * Has the system write no core dump when this process crashes.
   *
   * <p>Lowers the limit of the size of core dumps ({@code RLIMIT_CORE}), soft and hard, for this
   * process and for all that it starts from now on; none can raise it again without privilege. A
   * crash of the JVM still writes its {@code hs_err} file, which has registers and a few words of
   * the stack in it, and {@code -XX:+HeapDumpOnOutOfMemoryError} and {@code jmap} still write the
   * Java heap.
   *
   * <p><b>Platforms.</b> Linux, macOS, the BSDs and illumos. On Linux the limit becomes one byte,
   * not zero, because zero does not keep the kernel from handing the memory to a program such as
   * systemd-coredump; where the hard limit is zero already it stays so, and only {@link
   * #forbidInspection()} stops such a program. Windows: not supported, see {@code
   * -XX:-CreateCoredumpOnCrash} and the settings of Windows Error Reporting.
   *
   * @return completion when it is done
   */
  public static Mono<Void> forbidCoreDumps() {
    return new ProcessHardening(Platforms.process()).coreDumpsForbidden();
  }

  /**
   * Forbids other processes of the same user to look into this one: debuggers, {@code
   * /proc/<pid>/mem} and {@code process_vm_readv} are refused, and no core dump is written.
   *
   * <p><b>Side effects.</b> Most files of {@code /proc/<pid>} belong to root from then on. So
   * {@code gdb}, {@code strace} and profilers that look in from outside stop working for the same
   * user, as does monitoring that reads {@code /proc/<pid>/environ}, {@code io} or {@code fd}
   * without being root; the process itself may be refused some of its own files below {@code
   * /proc/self}. Processes that it starts are not affected: executing a program sets it back.
   *
   * <p><b>Restrictions.</b> It does not stop root, or another process with CAP_SYS_PTRACE, nor the
   * attach mechanism of the JVM itself, with which {@code jcmd}, {@code jmap} and agents of the
   * same user still get in; start the JVM with {@code -XX:+DisableAttachMechanism} to end that.
   *
   * <p><b>Platforms.</b> Linux only ({@code PR_SET_DUMPABLE}).
   *
   * @return completion when it is done
   */
  public static Mono<Void> forbidInspection() {
    return new ProcessHardening(Platforms.process()).inspectionForbidden();
  }

  Mono<Void> coreDumpsForbidden() {
    return onElastic(process::forbidCoreDumps);
  }

  Mono<Void> inspectionForbidden() {
    return onElastic(process::forbidInspection);
  }

  private static Mono<Void> onElastic(Runnable call) {
    return Mono.<Void>fromRunnable(call).subscribeOn(Schedulers.boundedElastic());
  }
}
