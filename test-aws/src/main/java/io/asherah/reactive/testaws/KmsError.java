package io.asherah.reactive.testaws;

import org.jspecify.annotations.Nullable;

/** An error that AWS KMS answers with. */
final class KmsError extends Exception {
  private static final long serialVersionUID = 1L;

  private final int status;
  private final String type;

  KmsError(int status, String type, @Nullable String message) {
    super(message, null, false, false);
    this.status = status;
    this.type = type;
  }

  KmsError(String type, @Nullable String message) {
    this(400, type, message);
  }

  static KmsError invalid(String message) {
    return new KmsError("ValidationException", message);
  }

  static KmsError invalidCiphertext() {
    return new KmsError("InvalidCiphertextException", null);
  }

  Reply reply() {
    return Protocol.KMS.error(status, type, getMessage());
  }
}
