package io.asherah.reactive.kms.aws;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** What is logged while this is open, which goes to {@code System.err} in tests. */
final class Log implements AutoCloseable {
  private static final String OURS = " WARN " + AwsKeyManagementService.class.getName() + " - ";

  private final PrintStream before = System.err;
  private final ByteArrayOutputStream written = new ByteArrayOutputStream();

  Log() {
    System.setErr(new PrintStream(written, true, StandardCharsets.UTF_8));
  }

  String text() {
    return written.toString(StandardCharsets.UTF_8);
  }

  /** What the service warns of. */
  List<String> warnings() {
    return text()
        .lines()
        .filter(line -> line.contains(OURS))
        .map(line -> line.substring(line.indexOf(OURS) + OURS.length()))
        .toList();
  }

  /** Forgets what was logged so far. */
  void clear() {
    written.reset();
  }

  @Override
  public void close() {
    System.setErr(before);
  }
}
