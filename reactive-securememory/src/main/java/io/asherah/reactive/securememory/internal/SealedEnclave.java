package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.Enclave;
import io.asherah.reactive.securememory.Secret;
import reactor.core.publisher.Mono;

/** Ciphertext of a {@link Coffer}. */
final class SealedEnclave implements Enclave {
  private final LockedSecretFactory factory;
  private final int length;
  final byte[] nonce;
  final byte[] sealed;

  SealedEnclave(LockedSecretFactory factory, int length, byte[] nonce, byte[] sealed) {
    this.factory = factory;
    this.length = length;
    this.nonce = nonce;
    this.sealed = sealed;
  }

  @Override
  public int length() {
    return length;
  }

  @Override
  public Mono<Secret> open() {
    return factory.open(this);
  }

  @Override
  public String toString() {
    return "Enclave[****]";
  }
}
