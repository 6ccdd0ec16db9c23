package io.asherah.reactive.securememory.internal.platform;

import static org.assertj.core.api.Assertions.assertThat;

import io.asherah.reactive.securememory.UnsupportedPlatformException;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Causes that {@link JnaLoadingIT} does not bring about. */
class JnaDiagnosisTest {

  @Test
  void causeThatIsNotKnown_isShownAsItIs() {
    UnsatisfiedLinkError cause =
        new UnsatisfiedLinkError("/tmp/jna1.tmp: libc.musl-x86_64.so.1: wrong ELF class\n at x");

    UnsupportedPlatformException diagnosis = diagnosis(cause);

    assertThat(diagnosis)
        .hasMessage(
            "JNA could not load its native library: /tmp/jna1.tmp: libc.musl-x86_64.so.1: wrong ELF"
                + " class, at x")
        .hasCause(cause);
  }

  @Test
  void causeOfAFailedInitializer_isUnwrapped() {
    IllegalCallerException cause = new IllegalCallerException("Illegal native access");

    assertThat(diagnosis(new ExceptionInInitializerError(cause)))
        .hasMessageContaining("denies native access")
        .hasCause(cause);
  }

  @Test
  void muslRefusingToExecute_isRecognized() {
    // musl has only the words of the error number.
    assertThat(
            diagnosis(
                new UnsatisfiedLinkError(
                    "/tmp/jna1.tmp: Error loading shared library: Operation not permitted")))
        .hasMessageContainingAll("refuses to execute", "/tmp/jna1.tmp");
  }

  @Test
  void causeWithoutAMessage_isNoProblem() {
    assertThat(diagnosis(new ExceptionInInitializerError())).hasMessageContaining("null");
  }

  private static UnsupportedPlatformException diagnosis(Error error) {
    return JnaDiagnosis.of(error, Map.of("jnidispatch.path", "/tmp/jna1.tmp")::get);
  }
}
