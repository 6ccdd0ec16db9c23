package io.asherah.reactive;

import io.asherah.reactive.internal.fixture.InternalType;
import java.util.List;

/** In an exported package: mentions internal types where no user can see them. */
public final class NotLeaking {
  private final InternalType internal;

  NotLeaking(InternalType internal) {
    this.internal = internal;
  }

  /** Uses what is internal, and shows nothing of it. */
  public List<String> names() {
    return List.of(String.valueOf(internal()));
  }

  InternalType internal() {
    return internal;
  }

  interface Hidden {
    InternalType breach();
  }
}
