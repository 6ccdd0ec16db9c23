package io.asherah.reactive;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Looks for keys in all memory of another process, through {@code /proc/<pid>/mem}, which shows
 * pages that the process itself may not read as well.
 *
 * <p>A key is found as it is, and as the cipher of the JDK keeps it: its expanded key begins with
 * the key itself, as 32-bit numbers, which lie byte-reversed in memory. Each half of a key is
 * looked for on its own, because an expanded key for decryption has only one of them unchanged.
 */
final class MemorySearch {
  private static final int HALF = 16;
  private static final int CHUNK = 1 << 20;
  private static final int PAGE = 4_096;
  private static final ByteBuffer ZEROS = ByteBuffer.allocateDirect(CHUNK);
  private static final Pattern HEADER =
      Pattern.compile("([0-9a-f]+)-([0-9a-f]+) (\\S+) \\S+ \\S+ \\d+ *(.*)");

  private final Path process;
  private final Map<Long, List<Needle>> needles = new HashMap<>();
  private final BitSet filter = new BitSet(1 << 16);

  /** How the bytes of a key lie in memory. */
  enum Form {
    PLAIN,
    EXPANDED
  }

  private record Needle(String name, Form form, int half, long first, long second) {}

  /** A range of addresses, and what the kernel says of it. */
  record Mapping(
      long start,
      long end,
      String rights,
      String name,
      List<String> flags,
      boolean isBehindAGuard) {

    /** The stack of a thread, as far as that can be told. */
    boolean isStack() {
      return name.equals("[stack]")
          || isBehindAGuard && name.isEmpty() && start > 1L << 32 && end - start <= 8 << 20;
    }

    @Override
    public String toString() {
      return "%x-%x %s %s %s".formatted(start, end, rights, name, flags);
    }
  }

  /** Half a key that was found. */
  record Hit(String key, Form form, int half, long address, Mapping mapping) {
    @Override
    public String toString() {
      return "half %d of %s, %s, at %x in %s".formatted(half, key, form, address, mapping);
    }
  }

  /**
   * What a search found.
   *
   * @param unreadable mappings that were not read, or not as a whole
   */
  record Found(List<Hit> hits, List<Mapping> unreadable, int mappings, long bytes) {}

  MemorySearch(long pid) {
    this.process = Path.of("/proc", Long.toString(pid));
  }

  /** Whether this process may look into the other one. */
  boolean isAllowed() {
    try (FileChannel memory = FileChannel.open(process.resolve("mem"))) {
      return memory.isOpen();
    } catch (IOException e) {
      return false;
    }
  }

  void lookFor(String name, byte[] key) {
    ByteBuffer plain = ByteBuffer.wrap(key).order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer expanded = ByteBuffer.allocate(key.length).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < key.length; i += Integer.BYTES) {
      expanded.putInt(i, Integer.reverseBytes(plain.getInt(i)));
    }
    for (int half = 0; half < key.length / HALF; half++) {
      add(name, Form.PLAIN, half, plain);
      add(name, Form.EXPANDED, half, expanded);
    }
  }

  private void add(String name, Form form, int half, ByteBuffer bytes) {
    long first = bytes.getLong(half * HALF);
    long second = bytes.getLong(half * HALF + Long.BYTES);
    needles
        .computeIfAbsent(first, unused -> new ArrayList<>())
        .add(new Needle(name, form, half, first, second));
    filter.set((int) first & 0xffff);
  }

  Found search() throws IOException {
    List<Hit> hits = new ArrayList<>();
    List<Mapping> unreadable = new ArrayList<>();
    long bytes = 0;
    List<Mapping> mappings = mappings();
    try (FileChannel memory = FileChannel.open(process.resolve("mem"))) {
      for (Mapping mapping : mappings) {
        long read = search(memory, mapping, hits);
        bytes += read;
        if (read < mapping.end - mapping.start) {
          unreadable.add(mapping);
        }
      }
    }
    return new Found(hits, unreadable, mappings.size(), bytes);
  }

  /** Returns how many bytes of it could be read. */
  private long search(FileChannel memory, Mapping mapping, List<Hit> hits) {
    ByteBuffer chunk = ByteBuffer.allocateDirect(CHUNK).order(ByteOrder.LITTLE_ENDIAN);
    long readBytes = 0;
    long position = mapping.start;
    while (position < mapping.end) {
      chunk.clear().limit((int) Math.min(CHUNK, mapping.end - position));
      int read;
      try {
        read = memory.read(chunk, position);
      } catch (IOException e) {
        read = 0;
      }
      if (read <= 0) {
        position += PAGE;
        continue;
      }
      search(chunk.flip(), position, mapping, hits);
      // A half may lie across the end of the chunk.
      int step = position + read < mapping.end && read > HALF ? read - HALF + 1 : read;
      readBytes += step;
      position += step;
    }
    return readBytes;
  }

  private void search(ByteBuffer chunk, long address, Mapping mapping, List<Hit> hits) {
    if (chunk.mismatch(ZEROS.slice(0, chunk.limit())) < 0) {
      return;
    }
    for (int i = 0; i + HALF <= chunk.limit(); i++) {
      long first = chunk.getLong(i);
      if (!filter.get((int) first & 0xffff)) {
        continue;
      }
      for (Needle needle : needles.getOrDefault(first, List.of())) {
        if (chunk.getLong(i + Long.BYTES) == needle.second) {
          hits.add(new Hit(needle.name, needle.form, needle.half, address + i, mapping));
        }
      }
    }
  }

  /** All but those that belong to the kernel and are the same for every process. */
  private List<Mapping> mappings() throws IOException {
    List<Mapping> mappings = new ArrayList<>();
    for (String line : Files.readAllLines(process.resolve("smaps"))) {
      Matcher header = HEADER.matcher(line);
      if (header.matches()) {
        long start = Long.parseUnsignedLong(header.group(1), 16);
        Mapping before = mappings.isEmpty() ? null : mappings.get(mappings.size() - 1);
        mappings.add(
            new Mapping(
                start,
                Long.parseUnsignedLong(header.group(2), 16),
                header.group(3),
                header.group(4),
                new ArrayList<>(),
                before != null && before.end == start && before.rights.equals("---p")));
      } else if (line.startsWith("VmFlags: ")) {
        mappings
            .get(mappings.size() - 1)
            .flags
            .addAll(List.of(line.substring("VmFlags: ".length()).trim().split(" ")));
      }
    }
    mappings.removeIf(
        mapping -> mapping.name.startsWith("[vvar") || mapping.name.equals("[vsyscall]"));
    return mappings;
  }
}
