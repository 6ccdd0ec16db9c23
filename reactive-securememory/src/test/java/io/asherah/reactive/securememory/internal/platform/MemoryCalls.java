package io.asherah.reactive.securememory.internal.platform;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.NativeCallException;
import io.asherah.reactive.securememory.internal.platform.NativeMemory.Access;
import java.util.function.Consumer;

/** What the tests of all operating systems do with memory. */
final class MemoryCalls {

  private MemoryCalls() {}

  /** The life of a page between two guard pages, in the order in which regions do it. */
  static void live(NativeMemory memory) {
    long mapping = memory.map(0x3000);
    long address = mapping + 0x1000;
    memory.protect(address, 0x1000, Access.READ_WRITE);
    assertThat(memory.lock(address, 0x1000)).isTrue();
    memory.excludeFromCoreDumps(address, 0x1000);
    memory.excludeFromForks(address, 0x1000);
    memory.protect(address, 0x1000, Access.NONE);
    memory.protect(address, 0x1000, Access.READ);
    memory.unlock(address, 0x1000);
    memory.unmap(mapping, 0x3000);
  }

  /** One use of each method that can make a call fail, by the name of the call. */
  static Consumer<NativeMemory> use(String method) {
    return memory -> {
      switch (method) {
        case "lockLimit" -> memory.lockLimit();
        case "map" -> memory.map(0x1000);
        case "unmap" -> memory.unmap(0x10000, 0x1000);
        case "protect" -> memory.protect(0x10000, 0x1000, Access.READ);
        case "lock" -> memory.lock(0x10000, 0x1000);
        case "unlock" -> memory.unlock(0x10000, 0x1000);
        case "hide" -> memory.hide(0x10000, 0x1000);
        case "excludeFromCoreDumps" -> memory.excludeFromCoreDumps(0x10000, 0x1000);
        case "excludeFromForks" -> memory.excludeFromForks(0x10000, 0x1000);
        default -> throw new IllegalArgumentException(method);
      }
    };
  }

  static void assertFails(NativeMemory memory, String method, String call, int errno) {
    assertThatThrownBy(() -> use(method).accept(memory))
        .isInstanceOfSatisfying(
            NativeCallException.class,
            e -> {
              assertThat(e.call()).isEqualTo(call);
              assertThat(e.errno()).isEqualTo(errno);
            });
  }
}
