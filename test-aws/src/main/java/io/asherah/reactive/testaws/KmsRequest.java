package io.asherah.reactive.testaws;

import org.jspecify.annotations.Nullable;

/**
 * A request that arrived at {@link KmsServer}.
 *
 * @param region where
 * @param operation for instance {@code Decrypt}
 * @param keyId the {@code KeyId} that was sent, or null for none
 * @param call the same, and what has become of it
 */
public record KmsRequest(String region, String operation, @Nullable String keyId, Call call) {}
