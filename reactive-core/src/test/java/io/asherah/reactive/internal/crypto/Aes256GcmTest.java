package io.asherah.reactive.internal.crypto;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.AppEncryptionException;
import io.asherah.reactive.InvalidRecordException;
import io.asherah.reactive.internal.crypto.Aes256Gcm.SealedPayload;
import java.security.AlgorithmParameters;
import java.security.Key;
import java.security.Provider;
import java.security.SecureRandom;
import java.security.Security;
import java.security.spec.AlgorithmParameterSpec;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import javax.crypto.Cipher;
import javax.crypto.CipherSpi;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.scheduler.Schedulers;

class Aes256GcmTest {
  private static final HexFormat HEX = HexFormat.of();
  private static final byte[] KEY = filled(32, 1);

  private static byte[] filled(int length, int value) {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) value);
    return bytes;
  }

  private static Aes256Gcm aead(Provider provider) {
    Aes256Gcm aead = new Aes256Gcm(provider, Schedulers.boundedElastic());
    aead.ready().block(Duration.ofSeconds(30));
    return aead;
  }

  private static Aes256Gcm aead() {
    return aead(Security.getProvider("SunJCE"));
  }

  /** NIST CAVP vectors of wire-and-behaviour §11.2; the envelope is ciphertext, tag, nonce. */
  @ParameterizedTest
  @CsvSource(
      nullValues = "-",
      value = {
        "b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4, 516c33929df5a3284ff463d7,"
            + " -, -, bdc1ac884d332457a1d2664f168c76f0",
        "31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22, 0d18e06c7c725ac9e362e1ce,"
            + " 2db5168e932556f8089a0622981d017d, fa4362189661d163fcd6a56d8bf0405a,"
            + " d636ac1bbedd5cc3ee727dc2ab4a9489"
      })
  void nistVectors_areSealedAndOpened(
      String key, String nonce, String plaintext, String ciphertext, String tag) throws Exception {
    byte[] clear = HEX.parseHex(plaintext == null ? "" : plaintext);
    byte[] envelope = HEX.parseHex((ciphertext == null ? "" : ciphertext) + tag + nonce);
    Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");

    assertThat(
            Aes256Gcm.seal(
                cipher, HEX.parseHex(key), clear, 0, clear.length, HEX.parseHex(nonce), 0))
        .isEqualTo(envelope);
    assertThat(Aes256Gcm.open(cipher, HEX.parseHex(key), envelope, "vector")).isEqualTo(clear);
  }

  @Test
  void sealedPayload_hasTheLengthsOfTheFormat_andOpens() {
    Aes256Gcm aead = aead();
    byte[] payload = filled(100, 7);

    SealedPayload sealed = aead.sealPayload(KEY, payload, 10, 50);

    assertThat(sealed.encryptedKey()).hasSize(60);
    assertThat(sealed.data()).hasSize(78);
    assertThat(aead.openPayload(KEY, sealed.encryptedKey(), sealed.data()))
        .isEqualTo(filled(50, 7));
    assertThatThrownBy(() -> aead.openPayload(filled(32, 2), sealed.encryptedKey(), sealed.data()))
        .isInstanceOf(InvalidRecordException.class)
        .hasMessage("the data row key was sealed under another key or tampered with");
  }

  @Test
  void tooShort_isRefused() {
    Aes256Gcm aead = aead();
    for (int length = 0; length < 28; length++) {
      byte[] sealed = new byte[length];
      assertThatThrownBy(() -> aead.openKey(KEY, sealed, "key"))
          .isInstanceOf(InvalidRecordException.class)
          .hasMessageContaining("at least 28 are needed");
    }
  }

  @Test
  void sealedKeyOfAnotherLength_isRefused() {
    Aes256Gcm aead = aead();
    byte[] sealed = aead.sealKey(KEY, new byte[16]);

    assertThatThrownBy(() -> aead.openKey(KEY, sealed, "key"))
        .isInstanceOf(InvalidRecordException.class)
        .hasMessage("there are 16 bytes sealed where a key of 32 is expected");
  }

  @Test
  void providerWithoutTheCipher_isATypedError() {
    Aes256Gcm aead = new Aes256Gcm(Security.getProvider("SUN"), Schedulers.boundedElastic());

    assertThatThrownBy(() -> aead.ready().block(Duration.ofSeconds(30)))
        .isInstanceOf(AppEncryptionException.class)
        .hasMessage("the JCA provider SUN has no AES/GCM/NoPadding");
  }

  @Test
  void lastKeyTheCipherSaw_isNeverTheParentKey() {
    RecordingProvider provider = new RecordingProvider();
    Aes256Gcm aead = aead(provider);
    byte[] newKey = filled(32, 9);

    SealedPayload sealed = aead.sealPayload(KEY, new byte[10], 0, 10);
    assertThat(provider.keys).element(provider.keys.size() - 2).isEqualTo(KEY);
    assertThat(provider.lastKey()).isNotEqualTo(KEY);
    byte[] rowKey = provider.lastKey();

    aead.openPayload(KEY, sealed.encryptedKey(), sealed.data());
    assertThat(provider.lastKey()).isEqualTo(rowKey);

    byte[] sealedKey = aead.sealKey(KEY, newKey);
    assertThat(provider.lastKey()).isEqualTo(new byte[32]);
    aead.openKey(KEY, sealedKey, "key");
    assertThat(provider.lastKey()).isEqualTo(new byte[32]);

    sealed.encryptedKey()[5]++;
    assertThatThrownBy(() -> aead.openPayload(KEY, sealed.encryptedKey(), sealed.data()))
        .isInstanceOf(InvalidRecordException.class);
    assertThat(provider.lastKey()).isEqualTo(new byte[32]);

    provider.failAtDoFinal = 2;
    assertThatThrownBy(() -> aead.sealPayload(KEY, new byte[10], 0, 10))
        .isInstanceOf(AppEncryptionException.class)
        .hasMessage("AES-GCM of the JCA provider Recording failed");
    assertThat(provider.lastKey()).isEqualTo(new byte[32]);
  }

  @Test
  void copiesThatTheProviderAskedFor_areWipedAfterTheOperation_notBeforeItsEnd() {
    RecordingProvider provider = new RecordingProvider();
    Aes256Gcm aead = aead(provider);

    SealedPayload sealed = aead.sealPayload(KEY, new byte[10], 0, 10);
    aead.openPayload(KEY, sealed.encryptedKey(), sealed.data());

    assertThat(provider.encodedAtDoFinal)
        .isNotEmpty()
        .noneMatch(encoded -> Arrays.equals(encoded, new byte[32]));
    assertThat(provider.encodings)
        .filteredOn(copy -> !Arrays.equals(copy, new byte[32]))
        .as("copies that are not wiped")
        .isEmpty();
  }

  /** The platform's cipher, with every key that it is given written down. */
  private static final class RecordingProvider extends Provider {
    private static final long serialVersionUID = 1L;
    private final transient List<byte[]> keys = new ArrayList<>();
    private final transient List<byte[]> encodings = new ArrayList<>();
    private final transient List<byte[]> encodedAtDoFinal = new ArrayList<>();
    private int failAtDoFinal;

    RecordingProvider() {
      super("Recording", "1", "records the keys of AES/GCM/NoPadding");
      putService(
          new Service(
              this, "Cipher", "AES/GCM/NoPadding", RecordingCipher.class.getName(), null, null) {
            @Override
            public Object newInstance(Object parameter) {
              return new RecordingCipher(RecordingProvider.this);
            }

            @Override
            public boolean supportsParameter(Object parameter) {
              return true;
            }
          });
    }

    byte[] lastKey() {
      return keys.get(keys.size() - 1);
    }
  }

  /** Delegates to SunJCE. */
  public static final class RecordingCipher extends CipherSpi {
    private final RecordingProvider provider;
    private final Cipher cipher;
    private byte[] encoded = new byte[0];

    RecordingCipher(RecordingProvider provider) {
      this.provider = provider;
      try {
        this.cipher = Cipher.getInstance("AES/GCM/NoPadding", "SunJCE");
      } catch (java.security.GeneralSecurityException e) {
        throw new IllegalStateException(e);
      }
    }

    @Override
    protected void engineInit(
        int mode, Key key, AlgorithmParameterSpec parameters, SecureRandom random)
        throws java.security.InvalidKeyException, java.security.InvalidAlgorithmParameterException {
      encoded = key.getEncoded();
      provider.encodings.add(encoded);
      provider.keys.add(encoded.clone());
      cipher.init(mode, key, parameters);
    }

    @Override
    protected int engineDoFinal(byte[] in, int offset, int length, byte[] out, int outOffset)
        throws javax.crypto.ShortBufferException,
            javax.crypto.IllegalBlockSizeException,
            javax.crypto.BadPaddingException {
      provider.encodedAtDoFinal.add(encoded.clone());
      if (provider.failAtDoFinal > 0 && --provider.failAtDoFinal == 0) {
        throw new IllegalStateException("the provider broke");
      }
      return cipher.doFinal(in, offset, length, out, outOffset);
    }

    @Override
    protected byte[] engineDoFinal(byte[] in, int offset, int length)
        throws javax.crypto.IllegalBlockSizeException, javax.crypto.BadPaddingException {
      provider.encodedAtDoFinal.add(encoded.clone());
      return cipher.doFinal(in, offset, length);
    }

    @Override
    protected int engineGetOutputSize(int length) {
      return cipher.getOutputSize(length);
    }

    @Override
    protected void engineSetMode(String mode) {}

    @Override
    protected void engineSetPadding(String padding) {}

    @Override
    protected int engineGetBlockSize() {
      return cipher.getBlockSize();
    }

    @Override
    protected byte[] engineGetIV() {
      return cipher.getIV();
    }

    @Override
    protected AlgorithmParameters engineGetParameters() {
      return cipher.getParameters();
    }

    @Override
    protected void engineInit(int mode, Key key, SecureRandom random) {
      throw new IllegalStateException("never without parameters");
    }

    @Override
    protected void engineInit(
        int mode, Key key, AlgorithmParameters parameters, SecureRandom random) {
      throw new IllegalStateException("never with these parameters");
    }

    @Override
    protected byte[] engineUpdate(byte[] in, int offset, int length) {
      return cipher.update(in, offset, length);
    }

    @Override
    protected int engineUpdate(byte[] in, int offset, int length, byte[] out, int outOffset)
        throws javax.crypto.ShortBufferException {
      return cipher.update(in, offset, length, out, outOffset);
    }
  }
}
