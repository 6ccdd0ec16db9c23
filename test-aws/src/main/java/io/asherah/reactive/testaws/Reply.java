package io.asherah.reactive.testaws;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.zip.CRC32;

/** An HTTP response. */
final class Reply {
  private static final String CRC = "x-amz-crc32";

  private final int status;
  private final List<Map.Entry<String, String>> headers;
  private final byte[] body;
  private final int length;

  private Reply(int status, List<Map.Entry<String, String>> headers, byte[] body, int length) {
    this.status = status;
    this.headers = headers;
    this.body = body;
    this.length = length;
  }

  /** Of these headers, a check sum is made to fit. */
  static Reply of(int status, List<Map.Entry<String, String>> headers, byte[] body) {
    List<Map.Entry<String, String>> checked =
        headers.stream()
            .map(h -> h.getKey().equalsIgnoreCase(CRC) ? Map.entry(h.getKey(), crc(body)) : h)
            .toList();
    return new Reply(status, checked, body, body.length);
  }

  static Reply of(int status, String contentType, String body) {
    return of(
        status,
        List.of(Map.entry("Content-Type", contentType)),
        body.getBytes(StandardCharsets.UTF_8));
  }

  Reply edited(UnaryOperator<String> edit) {
    String edited = edit.apply(new String(body, StandardCharsets.UTF_8));
    return of(status, headers, edited.getBytes(StandardCharsets.UTF_8));
  }

  /** Half of it, after which the connection ends. */
  Reply truncated() {
    return new Reply(status, headers, Arrays.copyOf(body, body.length / 2), body.length);
  }

  int status() {
    return status;
  }

  List<Map.Entry<String, String>> headers() {
    return headers;
  }

  byte[] body() {
    return body;
  }

  /** As the header says. */
  int length() {
    return length;
  }

  boolean isTruncated() {
    return body.length < length;
  }

  private static String crc(byte[] body) {
    CRC32 crc = new CRC32();
    crc.update(body);
    return Long.toString(crc.getValue());
  }
}
