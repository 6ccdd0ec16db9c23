package io.asherah.reactive.internal.fixtureb;

import io.asherah.reactive.internal.fixturea.OneHalfOfACycle;

/** See the other half. */
public final class OtherHalfOfACycle {
  Class<?> breach() {
    return OneHalfOfACycle.class;
  }
}
