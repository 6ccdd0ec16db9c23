package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.LimitPolicy;
import io.asherah.reactive.securememory.MemfdSecret;
import java.time.Duration;

/** What the builder of a factory was told. */
public record MemorySettings(
    Duration accessWindow,
    int maxPendingCreations,
    long memoryBudget,
    LimitPolicy limitPolicy,
    MemfdSecret memfdSecret,
    Duration shutdownGrace) {}
