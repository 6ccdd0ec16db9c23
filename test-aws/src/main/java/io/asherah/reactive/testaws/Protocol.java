package io.asherah.reactive.testaws;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A variant of the JSON protocol of AWS. */
enum Protocol {
  DYNAMO_DB("application/x-amz-json-1.0", "com.amazonaws.dynamodb.v20120810#", true),
  KMS("application/x-amz-json-1.1", "", false);

  private final String contentType;
  private final String namespace;
  private final boolean checked;

  Protocol(String contentType, String namespace, boolean checked) {
    this.contentType = contentType;
    this.namespace = namespace;
    this.checked = checked;
  }

  String contentType() {
    return contentType;
  }

  Reply json(int status, String body) {
    List<Map.Entry<String, String>> headers = new ArrayList<>();
    headers.add(Map.entry("Content-Type", contentType));
    if (checked) {
      headers.add(Map.entry("x-amz-crc32", ""));
    }
    return Reply.of(status, headers, body.getBytes(StandardCharsets.UTF_8));
  }

  Reply error(int status, String type, @Nullable String message) {
    Map<String, Object> body = new LinkedHashMap<>();
    body.put("__type", type.contains("#") ? type : namespace + type);
    if (message != null) {
      body.put("message", message);
    }
    return json(status, Json.write(body));
  }
}
