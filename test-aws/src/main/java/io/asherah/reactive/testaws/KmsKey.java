package io.asherah.reactive.testaws;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.time.Instant;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/** A key of {@link KmsServer}. */
public final class KmsKey {
  /** What a key may be used for. */
  private enum State {
    ENABLED("Enabled"),
    DISABLED("Disabled"),
    PENDING_DELETION("PendingDeletion"),
    DELETED("");

    final String label;

    State(String label) {
      this.label = label;
    }
  }

  private static final SecureRandom RANDOM = new SecureRandom();
  private static final int VERSION = 1;
  private static final int HEADER = 1 + 2 * Long.BYTES;
  private static final int NONCE = 12;
  private static final int TAG = 16;

  private final KmsRegion region;
  private final UUID id = UUID.randomUUID();
  private final Instant created = Instant.now();
  private final SecretKeySpec material = new SecretKeySpec(random(32), "AES");

  // Guarded by this.
  private final Set<String> denied = new HashSet<>();
  private boolean allDenied;
  private State state = State.ENABLED;

  KmsKey(KmsRegion region) {
    this.region = region;
  }

  static byte[] random(int length) {
    byte[] random = new byte[length];
    RANDOM.nextBytes(random);
    return random;
  }

  /**
   * Its full name.
   *
   * @return as in {@code arn:aws:kms:us-west-2:111122223333:key/…}
   */
  public String arn() {
    return region.arn("key/" + id);
  }

  /**
   * Its name within the region.
   *
   * @return the end of the ARN
   */
  public String id() {
    return id.toString();
  }

  /**
   * Gives it another name, which another key may have had.
   *
   * @param name which begins with {@code alias/}
   * @return the ARN of the alias
   */
  public String alias(String name) {
    return region.alias(name, this);
  }

  /** Has it answer with {@code DisabledException}. */
  public synchronized void disable() {
    state = State.DISABLED;
  }

  /** Ends {@link #disable()} and {@link #scheduleDeletion()}. */
  public synchronized void enable() {
    if (state == State.DELETED) {
      throw new IllegalStateException("the key is deleted");
    }
    state = State.ENABLED;
  }

  /** Has it answer with {@code KMSInvalidStateException}. */
  public synchronized void scheduleDeletion() {
    state = State.PENDING_DELETION;
  }

  /** Deletes it, so that it answers with {@code NotFoundException}. */
  public synchronized void delete() {
    state = State.DELETED;
  }

  /**
   * Has it answer with {@code AccessDeniedException}.
   *
   * @param operations for instance {@code Decrypt}; none are all
   */
  public synchronized void deny(String... operations) {
    allDenied |= operations.length == 0;
    denied.addAll(List.of(operations));
  }

  /** Ends {@link #deny}. */
  public synchronized void allow() {
    allDenied = false;
    denied.clear();
  }

  synchronized void checkExists() throws KmsError {
    if (state == State.DELETED) {
      throw new KmsError("NotFoundException", "Key '" + arn() + "' does not exist");
    }
  }

  synchronized void checkAllowed(String operation) throws KmsError {
    checkExists();
    if (allDenied || denied.contains(operation)) {
      throw new KmsError(
          "AccessDeniedException",
          ("User: arn:aws:iam::%1$s:user/test is not authorized to perform: kms:%2$s"
                  + " on resource: %3$s because no identity-based policy allows the kms:%2$s"
                  + " action")
              .formatted(KmsServer.ACCOUNT, operation, arn()));
    }
  }

  synchronized void checkUsable(String operation) throws KmsError {
    checkAllowed(operation);
    if (state == State.DISABLED) {
      throw new KmsError("DisabledException", arn() + " is disabled.");
    }
    if (state == State.PENDING_DELETION) {
      throw new KmsError("KMSInvalidStateException", arn() + " is pending deletion.");
    }
  }

  synchronized Map<String, Object> metadata() {
    Map<String, Object> metadata = new LinkedHashMap<>();
    metadata.put("AWSAccountId", KmsServer.ACCOUNT);
    metadata.put("KeyId", id());
    metadata.put("Arn", arn());
    metadata.put("CreationDate", created.getEpochSecond());
    metadata.put("Enabled", state == State.ENABLED);
    metadata.put("Description", "");
    metadata.put("KeyUsage", "ENCRYPT_DECRYPT");
    metadata.put("KeyState", state.label);
    metadata.put("Origin", "AWS_KMS");
    metadata.put("KeyManager", "CUSTOMER");
    metadata.put("CustomerMasterKeySpec", "SYMMETRIC_DEFAULT");
    metadata.put("KeySpec", "SYMMETRIC_DEFAULT");
    metadata.put("EncryptionAlgorithms", List.of("SYMMETRIC_DEFAULT"));
    metadata.put("MultiRegion", false);
    return metadata;
  }

  /** Which key encrypted it. */
  static String idIn(byte[] blob) throws KmsError {
    if (blob.length < HEADER + NONCE + TAG || blob[0] != VERSION) {
      throw KmsError.invalidCiphertext();
    }
    ByteBuffer buffer = ByteBuffer.wrap(blob, 1, 2 * Long.BYTES);
    return new UUID(buffer.getLong(), buffer.getLong()).toString();
  }

  byte[] encrypt(byte[] plaintext, Map<String, String> context) {
    byte[] nonce = random(NONCE);
    try {
      byte[] ciphertext = cipher(Cipher.ENCRYPT_MODE, nonce, context).doFinal(plaintext);
      return ByteBuffer.allocate(HEADER + NONCE + ciphertext.length)
          .put((byte) VERSION)
          .putLong(id.getMostSignificantBits())
          .putLong(id.getLeastSignificantBits())
          .put(nonce)
          .put(ciphertext)
          .array();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    }
  }

  byte[] decrypt(byte[] blob, Map<String, String> context) throws KmsError {
    byte[] nonce = new byte[NONCE];
    System.arraycopy(blob, HEADER, nonce, 0, NONCE);
    int begin = HEADER + NONCE;
    try {
      return cipher(Cipher.DECRYPT_MODE, nonce, context).doFinal(blob, begin, blob.length - begin);
    } catch (AEADBadTagException e) {
      throw KmsError.invalidCiphertext();
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException(e);
    }
  }

  private Cipher cipher(int mode, byte[] nonce, Map<String, String> context)
      throws GeneralSecurityException {
    Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
    cipher.init(mode, material, new GCMParameterSpec(8 * TAG, nonce));
    // In one order, whatever that of the request, and so that no two contexts are the same.
    Map<String, Object> ordered = new TreeMap<>(context);
    cipher.updateAAD(Json.write(ordered).getBytes(StandardCharsets.UTF_8));
    return cipher;
  }
}
