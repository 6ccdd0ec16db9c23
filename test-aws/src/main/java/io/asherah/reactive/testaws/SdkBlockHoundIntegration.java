package io.asherah.reactive.testaws;

import reactor.blockhound.BlockHound;
import reactor.blockhound.integration.BlockHoundIntegration;

/**
 * Lets the AWS SDK do on event loops of its own what nobody else can change: BlockHound's error
 * would be lost there, and with it the answer to a call. BlockHound finds this class through {@code
 * META-INF/services}.
 */
public final class SdkBlockHoundIntegration implements BlockHoundIntegration {
  /** For BlockHound. */
  public SdkBlockHoundIntegration() {}

  @Override
  public void applyTo(BlockHound.Builder builder) {
    builder
        // Hands an answer to its pool of threads, whose queue has a lock that is held for moments.
        .allowBlockingCallsInside("java.util.concurrent.CompletableFuture$UniCompletion", "claim")
        // Waits for connections where a client is closed (aws-sdk-java-v2 #2145).
        .allowBlockingCallsInside("io.netty.channel.pool.SimpleChannelPool", "close");
  }
}
