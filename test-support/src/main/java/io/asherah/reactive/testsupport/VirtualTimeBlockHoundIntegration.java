package io.asherah.reactive.testsupport;

import java.util.List;
import java.util.concurrent.PriorityBlockingQueue;
import reactor.blockhound.BlockHound;
import reactor.blockhound.integration.BlockHoundIntegration;

/**
 * Lets the queue of Reactor's {@code VirtualTimeScheduler} lock. Tests let time pass on one thread
 * while the library plans and cancels on event loops, and there the two may meet; no library of
 * ours or of Reactor has such a queue outside of tests. BlockHound finds this class through {@code
 * META-INF/services}.
 */
public final class VirtualTimeBlockHoundIntegration implements BlockHoundIntegration {

  /** Called by the service loader. */
  public VirtualTimeBlockHoundIntegration() {}

  @Override
  public void applyTo(BlockHound.Builder builder) {
    for (String method : List.of("offer", "poll", "peek", "remove", "size")) {
      builder.allowBlockingCallsInside(PriorityBlockingQueue.class.getName(), method);
    }
  }
}
