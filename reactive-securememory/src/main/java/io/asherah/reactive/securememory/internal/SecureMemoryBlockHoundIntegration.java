package io.asherah.reactive.securememory.internal;

import io.asherah.reactive.securememory.internal.platform.Platforms;
import java.lang.invoke.MethodType;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.concurrent.ThreadPoolExecutor;
import reactor.blockhound.BlockHound;
import reactor.blockhound.integration.BlockHoundIntegration;

/**
 * Tells BlockHound that the system calls of every platform block, so that a test in which one runs
 * on an event loop fails. BlockHound finds this class through {@code META-INF/services}.
 */
public final class SecureMemoryBlockHoundIntegration implements BlockHoundIntegration {

  /** Called by the service loader. */
  public SecureMemoryBlockHoundIntegration() {}

  @Override
  public void applyTo(BlockHound.Builder builder) {
    for (Class<?> type : Platforms.blockingClasses()) {
      for (Method method : type.getDeclaredMethods()) {
        if (Modifier.isPublic(method.getModifiers()) && !method.isBridge()) {
          builder.markAsBlocking(
              type.getName(),
              method.getName(),
              MethodType.methodType(method.getReturnType(), method.getParameterTypes())
                  .toMethodDescriptorString());
        }
      }
    }
    // Threads of the securememory scheduler end when they were idle. Who starts one again may park
    // for a lock, for as long as another one takes to note a thread in a set; Reactor allows the
    // like for its own executors.
    builder.allowBlockingCallsInside(ThreadPoolExecutor.class.getName(), "addWorker");
  }
}
