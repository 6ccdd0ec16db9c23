package io.asherah.reactive.internal.fixturea;

import io.asherah.reactive.internal.fixtureb.OtherHalfOfACycle;

/** See the other half. */
public final class OneHalfOfACycle {
  Class<?> breach() {
    return OtherHalfOfACycle.class;
  }
}
