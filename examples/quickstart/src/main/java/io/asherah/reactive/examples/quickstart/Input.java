package io.asherah.reactive.examples.quickstart;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Schedulers;

/** What is to be sealed: bytes, which line feeds divide into lines. */
final class Input implements Closeable {
  static final int MAX_LINE_BYTES = 16 << 20;

  private static final String README = "README.md";
  private static final int BUFFER_BYTES = 64 << 10;

  private final String name;
  private final InputStream stream;

  Input(String name, InputStream stream) {
    this.name = name;
    this.stream = stream;
  }

  static Input of(Path file) throws IOException {
    return new Input(file.toString(), open(file));
  }

  /** Opens a file. The message of an error names it and says what to do. */
  static InputStream open(Path file) throws IOException {
    String problem = "cannot read %s: ".formatted(file);
    if (Files.isDirectory(file)) {
      throw new IOException(problem + "it is a directory");
    }
    try {
      return Files.newInputStream(file);
    } catch (IOException e) {
      throw new IOException(problem + reason(e), e);
    }
  }

  /** Why a file could not be used, where the message may be nothing but its name. */
  static String reason(IOException e) {
    if (e instanceof NoSuchFileException) {
      return "there is no such file";
    }
    return e instanceof AccessDeniedException
        ? "permission denied"
        : Objects.requireNonNullElse(e.getMessage(), e.toString());
  }

  /** Opens the README of the working directory, or else the one in this program. */
  static Input ofReadme() throws IOException {
    Path here = Path.of(README);
    if (Files.isRegularFile(here) && Files.isReadable(here)) {
      return of(here);
    }
    InputStream bundled = Input.class.getResourceAsStream(README);
    if (bundled == null) {
      throw new FileNotFoundException("there is no README.md here; name a file");
    }
    return new Input("the README.md in this program", bundled);
  }

  /**
   * All of standard input, whatever bytes they are.
   *
   * @param maxBytes how many are taken; more are an error
   * @param advice what the error says about that
   */
  static byte[] all(InputStream standardInput, int maxBytes, String advice) throws IOException {
    byte[] bytes;
    try {
      bytes = standardInput.readNBytes(maxBytes + 1);
    } catch (IOException e) {
      throw new IOException("cannot read standard input: " + reason(e), e);
    }
    if (bytes.length > maxBytes) {
      throw new IOException(
          "standard input is longer than %d bytes: %s".formatted(maxBytes, advice));
    }
    return bytes;
  }

  String name() {
    return name;
  }

  /**
   * The lines, without the line feeds that end them; each is read when it is asked for. Reading
   * blocks, so it has threads of its own.
   */
  Flux<byte[]> lines() {
    return Flux.<byte[], Reader>generate(
            Reader::new,
            (reader, sink) -> {
              try {
                byte[] line = reader.next();
                if (line == null) {
                  sink.complete();
                } else {
                  sink.next(line);
                }
              } catch (IOException e) {
                String problem = "cannot read %s: %s".formatted(name, e.getMessage());
                sink.error(new UncheckedIOException(problem, e));
              }
              return reader;
            })
        .subscribeOn(Schedulers.boundedElastic());
  }

  @Override
  public void close() throws IOException {
    stream.close();
  }

  private final class Reader {
    private final byte[] buffer = new byte[BUFFER_BYTES];
    private int position;
    private int limit;
    private long lines;

    /** The next line, or null at the end. */
    byte @Nullable [] next() throws IOException {
      lines++;
      ByteArrayOutputStream line = new ByteArrayOutputStream();
      while (position < limit || fill()) {
        int end = position;
        while (end < limit && buffer[end] != '\n') {
          end++;
        }
        line.write(buffer, position, end - position);
        if (line.size() > MAX_LINE_BYTES) {
          throw new IOException("line %d is longer than %d bytes".formatted(lines, MAX_LINE_BYTES));
        }
        position = end + 1;
        if (end < limit) {
          return line.toByteArray();
        }
      }
      return line.size() == 0 ? null : line.toByteArray();
    }

    private boolean fill() throws IOException {
      position = 0;
      limit = Math.max(0, stream.read(buffer));
      return limit > 0;
    }
  }
}
