package io.asherah.reactive.examples.quickstart;

import static java.nio.file.StandardOpenOption.WRITE;
import static java.nio.file.attribute.PosixFilePermission.GROUP_READ;
import static java.nio.file.attribute.PosixFilePermission.OTHERS_READ;

import io.asherah.reactive.StaticKeyManagementService;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Collections;
import java.util.Set;
import java.util.function.Consumer;

/**
 * A master key in a file of 32 bytes. It is as safe as that file; a real service has a key
 * management service, which never lets go of its master key.
 *
 * @param file where it is, or is to be
 * @param notices is told what the user should know about the file
 */
record MasterKey(Path file, Consumer<String> notices) {
  static final int BYTES = 32;

  private static final Set<PosixFilePermission> OWNER_ONLY =
      PosixFilePermissions.fromString("rw-------");

  /** Reads the file, which has to exist. */
  StaticKeyManagementService read() throws IOException {
    byte[] key = new byte[BYTES];
    try (InputStream stream = Input.open(file)) {
      int length = stream.readNBytes(key, 0, BYTES);
      if (length < BYTES || stream.read() >= 0) {
        throw new IOException(
            "%s is no master key: it has %s bytes, and a key is %d bytes, not a text of them"
                .formatted(file, length < BYTES ? length : "more than " + BYTES, BYTES));
      }
      warnOfReaders();
      return StaticKeyManagementService.of(key);
    } finally {
      Arrays.fill(key, (byte) 0);
    }
  }

  /**
   * Makes a new key, unless there is one. The file is never there with less than the whole key, is
   * never another's to read, and of many who make it at once all get the same.
   */
  void createIfAbsent() throws IOException {
    if (Files.exists(file)) {
      return;
    }
    try {
      create();
      notices.accept(
          "created the master key %s; keep it safe, nothing can be opened without it"
              .formatted(file));
    } catch (FileAlreadyExistsException e) {
      // Another process was faster, and it is its key that counts.
    } catch (IOException e) {
      throw new IOException(
          "cannot make the master key %s: %s".formatted(file, Input.reason(e)), e);
    }
  }

  private void create() throws IOException {
    Path directory = file.toAbsolutePath().resolveSibling("");
    Path draft = Files.createTempFile(directory, file.getFileName() + ".", ".tmp", ownerOnly());
    try {
      writeNewKey(draft);
      publish(draft);
    } finally {
      Files.deleteIfExists(draft);
    }
  }

  private static void writeNewKey(Path draft) throws IOException {
    byte[] key = new byte[BYTES];
    new SecureRandom().nextBytes(key);
    try (FileChannel channel = FileChannel.open(draft, WRITE)) {
      channel.write(ByteBuffer.wrap(key));
      channel.force(true);
    } finally {
      Arrays.fill(key, (byte) 0);
    }
  }

  /** Gives the draft its name, and fails where something has it. */
  private void publish(Path draft) throws IOException {
    try {
      Files.createLink(file, draft);
    } catch (FileAlreadyExistsException e) {
      throw e;
    } catch (FileSystemException | UnsupportedOperationException e) {
      // No hard links here. Whoever reads while this copies finds a key that is too short, at
      // worst.
      Files.copy(draft, file);
    }
  }

  private FileAttribute<?>[] ownerOnly() {
    if (hasPermissions()) {
      return new FileAttribute<?>[] {PosixFilePermissions.asFileAttribute(OWNER_ONLY)};
    }
    notices.accept(
        "there are no POSIX permissions here to guard %s: guard its directory".formatted(file));
    return new FileAttribute<?>[0];
  }

  private void warnOfReaders() throws IOException {
    if (hasPermissions()
        && !Collections.disjoint(
            Files.getPosixFilePermissions(file), Set.of(GROUP_READ, OTHERS_READ))) {
      notices.accept(
          "other users may read the master key %s: take that right away with chmod 600"
              .formatted(file));
    }
  }

  private boolean hasPermissions() {
    return file.getFileSystem().supportedFileAttributeViews().contains("posix");
  }
}
