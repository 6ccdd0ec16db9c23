package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.Enclave;
import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretClosedException;
import io.asherah.reactive.securememory.SecureMemoryException;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.ProviderException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import org.jspecify.annotations.Nullable;

/**
 * The key under which enclaves are sealed, kept as two halves: the key is {@code left XOR
 * SHA-256(right)}. Each half lies in a region of its own, so that no one page gives the key away,
 * and every second both are replaced by others that make the same key, so that halves that were
 * seen at different times do not fit. The scheme is that of memguard's coffer, but for the regions.
 *
 * <p>Works on the scheduler, one task after the other, each of which may wait for a region without
 * keeping a thread.
 */
final class Coffer {
  private static final int KEY_LENGTH = 32;
  private static final int NONCE_LENGTH = 12;
  private static final int TAG_BITS = 128;
  private static final long REKEY_NANOS = TimeUnit.SECONDS.toNanos(1);

  private final LockedSecretFactory factory;
  private final Arena leftArena;
  private final Arena rightArena;

  private final AtomicInteger work = new AtomicInteger();
  private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();

  // Of the task at work.
  private @Nullable Halves halves;
  private boolean rekeys;
  private @Nullable Crypto crypto;

  private record Halves(LockedSecret left, LockedSecret right) {}

  Coffer(LockedSecretFactory factory) {
    this.factory = factory;
    // Strict, since each new half would begin another access window.
    this.leftArena = new Arena(factory, 1, true);
    this.rightArena = new Arena(factory, 1, true);
  }

  /** Seals bytes; the array is wiped on success only. */
  void seal(byte[] bytes, Receiver<? super Enclave> receiver) {
    submit(
        () ->
            withKey(
                key -> {
                  byte[] nonce = Drbg.bytes(NONCE_LENGTH);
                  byte[] sealed = crypto().crypt(Cipher.ENCRYPT_MODE, key, nonce, bytes);
                  Arrays.fill(bytes, (byte) 0);
                  receiver.put(new SealedEnclave(factory, bytes.length, nonce, sealed));
                },
                receiver::fail));
  }

  /** Opens what {@link #seal} made into a secret of the arena. */
  void open(SealedEnclave enclave, Arena arena, Receiver<? super Secret> receiver) {
    submit(
        () ->
            withKey(
                key -> {
                  byte[] bytes =
                      crypto().crypt(Cipher.DECRYPT_MODE, key, enclave.nonce, enclave.sealed);
                  factory.store(
                      arena,
                      bytes,
                      Receiver.of(
                          receiver::isAbandoned,
                          receiver::put,
                          e -> {
                            Arrays.fill(bytes, (byte) 0);
                            receiver.fail(e);
                          }));
                },
                receiver::fail));
  }

  private void submit(Runnable task) {
    tasks.add(task);
    if (work.getAndIncrement() == 0) {
      factory.execute(this::next);
    }
  }

  private void next() {
    Objects.requireNonNull(tasks.poll()).run();
  }

  /** The last thing that a task does. */
  private void finished() {
    if (work.decrementAndGet() != 0) {
      factory.execute(this::next);
    }
  }

  private void withKey(Consumer<byte[]> use, Consumer<Throwable> failed) {
    withHalves(
        (left, right) -> {
          byte[] key = crypto().combine(left, right);
          try {
            use.accept(key);
          } finally {
            Arrays.fill(key, (byte) 0);
          }
          finished();
        },
        e -> {
          failed.accept(e);
          finished();
        });
  }

  private void rekey() {
    if (!factory.begin()) {
      return;
    }
    submit(
        () ->
            withHalves(
                (left, right) -> {
                  byte[] newRight = Drbg.bytes(KEY_LENGTH);
                  byte[] key = crypto().combine(left, right);
                  byte[] newLeft = crypto().combine(key, newRight);
                  Arrays.fill(key, (byte) 0);
                  store(newLeft, newRight, e -> rekeyed(), this::rekeyed);
                },
                // The halves that are there still make the key.
                e -> rekeyed()));
  }

  private void rekeyed() {
    factory.later(this::rekey, REKEY_NANOS);
    finished();
    factory.settled();
  }

  /**
   * Copies both halves for the consumer, and makes them first where there are none. Calls one of
   * the two, or the second after the first has thrown.
   */
  private void withHalves(BiConsumer<byte[], byte[]> use, Consumer<Throwable> failed) {
    Halves present = halves;
    if (present == null) {
      makeHalves(() -> withHalves(use, failed), failed);
      return;
    }
    present.left.read(
        Receiver.of(
            left ->
                present.right.read(
                    Receiver.of(
                        right -> useHalves(left, right, use, failed),
                        e -> {
                          Arrays.fill(left, (byte) 0);
                          failed.accept(lost(e));
                        })),
            e -> failed.accept(lost(e))));
  }

  private static void useHalves(
      byte[] left, byte[] right, BiConsumer<byte[], byte[]> use, Consumer<Throwable> failed) {
    try {
      use.accept(left, right);
    } catch (RuntimeException | Error e) {
      failed.accept(e);
    } finally {
      Arrays.fill(left, (byte) 0);
      Arrays.fill(right, (byte) 0);
    }
  }

  /** Two random halves make a random key. */
  private void makeHalves(Runnable made, Consumer<Throwable> failed) {
    byte[] left;
    byte[] right;
    try {
      left = Drbg.bytes(KEY_LENGTH);
      right = Drbg.bytes(KEY_LENGTH);
    } catch (RuntimeException | Error e) {
      failed.accept(e);
      return;
    }
    store(
        left,
        right,
        failed,
        () -> {
          if (!rekeys) {
            rekeys = true;
            factory.later(this::rekey, REKEY_NANOS);
          }
          made.run();
        });
  }

  /** A half that is gone while the factory is open was in memory that was found corrupt. */
  private Throwable lost(Throwable reason) {
    if (factory.isClosed() || !(reason instanceof SecretClosedException)) {
      return reason;
    }
    halves = null;
    return new SecureMemoryException(
        "the key of the enclaves was in memory that was found corrupt and wiped; those that were"
            + " sealed before are lost, others can be sealed",
        reason);
  }

  /** Puts these halves into the place of those that were there. */
  private void store(byte[] left, byte[] right, Consumer<Throwable> failed, Runnable stored) {
    factory.store(
        leftArena,
        left,
        Receiver.of(
            newLeft ->
                factory.store(
                    rightArena,
                    right,
                    Receiver.of(
                        newRight -> {
                          replace(new Halves(newLeft, newRight));
                          stored.run();
                        },
                        e -> {
                          newLeft.close();
                          Arrays.fill(right, (byte) 0);
                          failed.accept(e);
                        })),
            e -> {
              Arrays.fill(left, (byte) 0);
              Arrays.fill(right, (byte) 0);
              failed.accept(e);
            }));
  }

  private void replace(Halves fresh) {
    Halves old = halves;
    halves = fresh;
    if (old != null) {
      old.left.close();
      old.right.close();
    }
  }

  private Crypto crypto() {
    if (crypto == null) {
      crypto = new Crypto();
    }
    return crypto;
  }

  /** The primitives, got when the first enclave is sealed. They keep no key from call to call. */
  private static final class Crypto {
    private final Cipher cipher;
    private final MessageDigest sha256;

    Crypto() {
      try {
        cipher = Cipher.getInstance("AES/GCM/NoPadding");
        sha256 = MessageDigest.getInstance("SHA-256");
      } catch (GeneralSecurityException e) {
        throw new SecureMemoryException("this JDK has no AES-GCM or no SHA-256", e);
      }
    }

    /** Left XOR SHA-256(right), which is its own inverse in the first argument. */
    byte[] combine(byte[] left, byte[] right) {
      byte[] combined = sha256.digest(right);
      for (int i = 0; i < KEY_LENGTH; i++) {
        combined[i] ^= left[i];
      }
      return combined;
    }

    byte[] crypt(int mode, byte[] key, byte[] nonce, byte[] input) {
      CofferKey cofferKey = new CofferKey(key);
      try {
        cipher.init(mode, cofferKey, new GCMParameterSpec(TAG_BITS, nonce));
        return cipher.doFinal(input);
      } catch (AEADBadTagException e) {
        throw new SecureMemoryException(
            "the enclave was sealed by another factory or tampered with", e);
      } catch (GeneralSecurityException | ProviderException e) {
        throw new SecureMemoryException("AES-GCM of an enclave failed", e);
      } finally {
        cofferKey.destroy();
        forgetKey();
      }
    }

    /** A cipher remembers its last key; this one gives it a key that is worth nothing. */
    private void forgetKey() {
      CofferKey nothing = new CofferKey(new byte[KEY_LENGTH]);
      try {
        cipher.init(
            Cipher.DECRYPT_MODE, nothing, new GCMParameterSpec(TAG_BITS, new byte[NONCE_LENGTH]));
      } catch (GeneralSecurityException e) {
        throw new SecureMemoryException("AES-GCM of an enclave failed", e);
      }
    }
  }

  /**
   * A key over an array of the caller's; {@code SecretKeySpec} keeps a copy that nobody can wipe.
   */
  private static final class CofferKey implements SecretKey {
    private static final long serialVersionUID = 1L;

    private final transient byte[] bytes;
    private final transient List<byte[]> copies = new ArrayList<>(1);

    CofferKey(byte[] bytes) {
      this.bytes = bytes;
    }

    @Override
    public String getAlgorithm() {
      return "AES";
    }

    @Override
    public String getFormat() {
      return "RAW";
    }

    @Override
    public byte[] getEncoded() {
      byte[] copy = bytes.clone();
      copies.add(copy);
      return copy;
    }

    @Override
    public void destroy() {
      copies.forEach(copy -> Arrays.fill(copy, (byte) 0));
    }
  }
}
