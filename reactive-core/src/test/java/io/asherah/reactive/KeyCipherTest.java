package io.asherah.reactive;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.Secret;
import io.asherah.reactive.securememory.SecretFactory;
import io.asherah.reactive.spi.CryptoKey;
import io.asherah.reactive.testsupport.Await;
import java.time.Duration;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.Objects;
import java.util.Set;
import java.util.stream.IntStream;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.test.StepVerifier;

class KeyCipherTest {
  private static final HexFormat HEX = HexFormat.of();
  private static final byte[] WRAPPING = filled(32, 1);
  private static final byte[] KEY = filled(32, 7);

  private final KeyCipher cipher = KeyCipher.create();

  @BeforeEach
  void makeReady() {
    StepVerifier.create(cipher.ready()).verifyComplete();
  }

  private static byte[] filled(int length, int value) {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) value);
    return bytes;
  }

  @Test
  void layout_isCiphertextTagNonce_withoutAssociatedData() throws Exception {
    byte[] sealed = cipher.seal(WRAPPING, KEY);

    assertThat(sealed).hasSize(60);
    Cipher jdk = Cipher.getInstance("AES/GCM/NoPadding");
    jdk.init(
        Cipher.DECRYPT_MODE,
        new SecretKeySpec(WRAPPING, "AES"),
        new GCMParameterSpec(128, sealed, 48, 12));
    assertThat(jdk.doFinal(sealed, 0, 48)).isEqualTo(KEY);
  }

  /** Zeros under a key and a nonce of zeros, by OpenSSL; GCM test case 14 begins like that. */
  @Test
  void knownAnswer_isOpened() {
    byte[] zeros = new byte[32];
    byte[] sealed =
        HEX.parseHex(
            "cea7403d4d606b6e074ec5d3baf39d18726003ca37a62a74d1a2f58e7506358e"
                + "d1d3084c99aa8a9fdabb3e83eb28c15d"
                + "000000000000000000000000");
    try (CryptoKey key = cipher.open(zeros, sealed)) {
      assertThat(key.take()).isEqualTo(zeros);
    }
  }

  @Test
  void sealed_isOpened_andNeverTheSameTwice() {
    Set<String> nonces = new HashSet<>();
    for (int i = 0; i < 1_000; i++) {
      byte[] sealed = cipher.seal(WRAPPING, KEY);
      assertThat(nonces.add(HEX.formatHex(sealed, 48, 60))).isTrue();
      assertThat(cipher.open(WRAPPING, sealed).take()).isEqualTo(KEY);
    }
  }

  @Test
  void arrays_stayAsTheyAre() {
    byte[] wrapping = WRAPPING.clone();
    byte[] key = KEY.clone();
    byte[] sealed = cipher.seal(wrapping, key);
    byte[] copy = sealed.clone();
    cipher.open(wrapping, sealed).close();
    assertThat(wrapping).isEqualTo(WRAPPING);
    assertThat(key).isEqualTo(KEY);
    assertThat(sealed).isEqualTo(copy);
  }

  @Test
  void formatOfTheStaticService_isTheSame() {
    StaticKeyManagementService kms = StaticKeyManagementService.of(WRAPPING);
    byte[] ours = cipher.seal(WRAPPING, KEY);
    assertThat(get(kms.decryptKey(ours)).take()).isEqualTo(KEY);
    SecretFactory secrets = SecretFactory.builder().shutdownGrace(Duration.ZERO).build();
    try (Secret secret = get(secrets.create(KEY.clone()))) {
      assertThat(cipher.open(WRAPPING, get(kms.encryptKey(secret))).take()).isEqualTo(KEY);
    }
    secrets.close().block(Await.TIMEOUT);
  }

  private static <T> T get(Mono<T> mono) {
    return Objects.requireNonNull(mono.block(Await.TIMEOUT));
  }

  @Test
  void anyBitChanged_isRefused() {
    byte[] sealed = cipher.seal(WRAPPING, KEY);
    for (int bit = 0; bit < 8 * sealed.length; bit++) {
      byte[] tampered = sealed.clone();
      tampered[bit / 8] ^= (byte) (1 << bit % 8);
      assertThatThrownBy(() -> cipher.open(WRAPPING, tampered))
          .isInstanceOf(InvalidRecordException.class);
    }
    assertThat(cipher.open(WRAPPING, sealed).take()).isEqualTo(KEY);
  }

  @Test
  void otherWrappingKey_isRefused() {
    byte[] sealed = cipher.seal(WRAPPING, KEY);
    assertThatThrownBy(() -> cipher.open(KEY, sealed)).isInstanceOf(InvalidRecordException.class);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 12, 27, 28, 29, 59, 61, 1_000})
  void otherLength_isRefused(int length) {
    byte[] sealed = Arrays.copyOf(cipher.seal(WRAPPING, KEY), length);
    assertThatThrownBy(() -> cipher.open(WRAPPING, sealed))
        .isInstanceOf(InvalidRecordException.class);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 16, 31, 33})
  void whatIsSealedWell_butNoKeyOf32Bytes_isRefused(int length) throws Exception {
    Cipher jdk = Cipher.getInstance("AES/GCM/NoPadding");
    byte[] nonce = filled(12, 3);
    jdk.init(
        Cipher.ENCRYPT_MODE, new SecretKeySpec(WRAPPING, "AES"), new GCMParameterSpec(128, nonce));
    byte[] sealed = jdk.doFinal(new byte[length]);
    byte[] whole = Arrays.copyOf(sealed, sealed.length + 12);
    System.arraycopy(nonce, 0, whole, sealed.length, 12);

    assertThatThrownBy(() -> cipher.open(WRAPPING, whole))
        .isInstanceOf(InvalidRecordException.class);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 16, 24, 31, 33, 64})
  void keysOfAnotherLength_areRefused(int length) {
    byte[] wrong = new byte[length];
    byte[] sealed = cipher.seal(WRAPPING, KEY);
    assertThatThrownBy(() -> cipher.seal(wrong, KEY))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("wrappingKey")
        .hasMessageContaining(String.valueOf(length));
    assertThatThrownBy(() -> cipher.seal(WRAPPING, wrong))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("key must");
    assertThatThrownBy(() -> cipher.open(wrong, sealed))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("wrappingKey");
  }

  /** Under BlockHound, from many threads that must not block. */
  @Test
  void onceReady_itBlocksNobody() {
    KeyCipher fresh = KeyCipher.create();
    Long opened =
        fresh
            .ready()
            .thenMany(
                Flux.fromStream(IntStream.range(0, 1_000).boxed())
                    .flatMap(
                        i ->
                            Mono.fromSupplier(
                                    () -> fresh.open(WRAPPING, fresh.seal(WRAPPING, KEY)).take())
                                .subscribeOn(Schedulers.parallel())))
            .filter(key -> Arrays.equals(key, KEY))
            .count()
            .subscribeOn(Schedulers.parallel())
            .block(Await.TIMEOUT);
    assertThat(opened).isEqualTo(1_000);
  }
}
