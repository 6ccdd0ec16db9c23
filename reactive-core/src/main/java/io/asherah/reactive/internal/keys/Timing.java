package io.asherah.reactive.internal.keys;

import java.time.Clock;
import java.util.function.LongSupplier;
import reactor.core.scheduler.Scheduler;

/**
 * What tells and keeps the time.
 *
 * @param clock the wall clock, for creation times and expiry
 * @param ticker the monotonic clock in nanoseconds, for the age of what is cached
 * @param timer where time-outs and back-offs are timed
 * @param continuation where operations go on after they waited
 */
public record Timing(Clock clock, LongSupplier ticker, Scheduler timer, Scheduler continuation) {}
