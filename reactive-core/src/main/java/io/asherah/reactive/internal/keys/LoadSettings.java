package io.asherah.reactive.internal.keys;

import java.time.Duration;
import java.util.Set;

/**
 * How back ends are called.
 *
 * @param loadTimeout how long a load of a key may take, with all its calls
 * @param callTimeout how long one attempt of one call may take
 * @param callAttempts how often a call that fails with a retryable error is made in all
 * @param callBackoff the pause before the second attempt; it doubles with every further one
 * @param maxConcurrentCalls how many calls may be under way at once, to each of the two back ends
 * @param contextKeys which entries of the first caller's Reactor context a load sees
 */
public record LoadSettings(
    Duration loadTimeout,
    Duration callTimeout,
    int callAttempts,
    Duration callBackoff,
    int maxConcurrentCalls,
    Set<Object> contextKeys) {}
