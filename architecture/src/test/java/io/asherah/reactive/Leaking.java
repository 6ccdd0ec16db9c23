package io.asherah.reactive;

import io.asherah.reactive.internal.fixture.InternalType;
import java.util.List;

/** In an exported package: each nested class shows an internal type in another place. */
public final class Leaking {
  private Leaking() {}

  /** See the name. */
  public static final class AParameter {
    /** Breaks the rule. */
    public void breach(InternalType internal) {}
  }

  /** See the name. */
  public static final class AConstructorParameter {
    /** Breaks the rule. */
    public AConstructorParameter(InternalType internal) {}
  }

  /** See the name. */
  public interface AReturnType {
    /** Breaks the rule. */
    InternalType breach();
  }

  /** See the name. */
  public abstract static class AProtectedReturnType {
    /** Breaks the rule. */
    protected abstract InternalType breach();
  }

  /** See the name. */
  public interface ATypeArgument {
    /** Breaks the rule. */
    List<? extends InternalType> breach();
  }

  /** See the name. */
  public interface AnArray {
    /** Breaks the rule. */
    InternalType[] breach();
  }

  /** See the name. */
  public static final class AField {
    /** Breaks the rule. */
    public static final List<InternalType> BREACH = List.of();
  }

  /** See the name. */
  public interface AnException {
    /** Breaks the rule. */
    void breach() throws InternalType.InternalException;
  }

  /** See the name. */
  public static final class ASuperclass extends InternalType {}

  /** See the name. */
  public static final class AnInterface implements InternalType.Contract {}

  /** See the name. */
  public interface ABound<T extends InternalType> {}
}
