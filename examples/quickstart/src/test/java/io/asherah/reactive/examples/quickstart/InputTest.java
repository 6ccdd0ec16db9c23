package io.asherah.reactive.examples.quickstart;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class InputTest {

  static Stream<Arguments> contents() {
    String long1 = "1".repeat(200_000);
    String long2 = "2".repeat(65_536);
    return Stream.of(
        Arguments.of("", List.of()),
        Arguments.of("\n", List.of("")),
        Arguments.of("\n\n", List.of("", "")),
        Arguments.of("a", List.of("a")),
        Arguments.of("a\n", List.of("a")),
        Arguments.of("a\nb", List.of("a", "b")),
        Arguments.of("a\n\nb\n", List.of("a", "", "b")),
        Arguments.of("a\r\nb\rc\r\n", List.of("a\r", "b\rc\r")),
        Arguments.of("\u0000\u00ff\u0080\n\u00c3", List.of("\u0000\u00ff\u0080", "\u00c3")),
        Arguments.of(long1 + "\n" + long2 + "\n" + long1, List.of(long1, long2, long1)));
  }

  @ParameterizedTest
  @MethodSource("contents")
  void lineFeedsDivide_andNothingElseDoes(String content, List<String> lines) {
    assertThat(linesOf(new ByteArrayInputStream(content.getBytes(ISO_8859_1)))).isEqualTo(lines);
  }

  @Test
  void streamThatGivesOneByteAtATime_givesTheSameLines() {
    InputStream trickle =
        new ByteArrayInputStream("one\n\ntwo".getBytes(ISO_8859_1)) {
          @Override
          public synchronized int read(byte[] target, int offset, int length) {
            return super.read(target, offset, Math.min(1, length));
          }
        };

    assertThat(linesOf(trickle)).containsExactly("one", "", "two");
  }

  @Test
  void endlessStream_isReadAsFarAsIsAskedFor() {
    AtomicInteger reads = new AtomicInteger();
    InputStream endless =
        new InputStream() {
          @Override
          public int read() {
            return '\n';
          }

          @Override
          public int read(byte[] target, int offset, int length) {
            reads.incrementAndGet();
            Arrays.fill(target, offset, offset + length, (byte) '\n');
            return length;
          }
        };

    assertThat(new Input("endless", endless).lines().take(3).count().block()).isEqualTo(3);
    assertThat(reads).hasValue(1);
  }

  @Test
  void longestLine_isRead_andALongerOneIsNot() {
    byte[] longest = new byte[Input.MAX_LINE_BYTES];
    byte[] longer = new byte[Input.MAX_LINE_BYTES + 1];

    assertThat(new Input("longest", new ByteArrayInputStream(longest)).lines().blockLast())
        .isEqualTo(longest);
    assertThatThrownBy(
            () -> new Input("longer", new ByteArrayInputStream(longer)).lines().blockLast())
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage("cannot read longer: line 1 is longer than 16777216 bytes");
  }

  @Test
  void failure_isSignalledAfterTheLinesBeforeIt() {
    InputStream failing =
        new InputStream() {
          private int position;

          @Override
          public int read(byte[] target, int offset, int length) throws IOException {
            if (position > 0) {
              throw new IOException("gone");
            }
            position = 2;
            target[offset] = 'a';
            target[offset + 1] = '\n';
            return 2;
          }

          @Override
          public int read() {
            throw new UnsupportedOperationException();
          }
        };

    assertThatThrownBy(
            () ->
                new Input("failing", failing)
                    .lines()
                    .doOnNext(line -> assertThat(line).containsExactly('a'))
                    .blockLast())
        .isInstanceOf(UncheckedIOException.class)
        .hasMessage("cannot read failing: gone");
  }

  private static List<String> linesOf(InputStream stream) {
    return new Input("test", stream)
        .lines()
        .map(line -> new String(line, ISO_8859_1))
        .collectList()
        .blockOptional()
        .orElseThrow();
  }
}
