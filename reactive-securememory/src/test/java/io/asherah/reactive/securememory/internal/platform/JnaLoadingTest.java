package io.asherah.reactive.securememory.internal.platform;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.asherah.reactive.securememory.UnsupportedPlatformException;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

class JnaLoadingTest {

  @RepeatedTest(2)
  @EnabledOnOs(OS.LINUX)
  void functionThatIsMissing_isNamed_eachTime() {
    assertThatThrownBy(JnaBsdLibc::new)
        .isInstanceOf(UnsupportedPlatformException.class)
        .hasMessageContainingAll("is missing in the libraries of this system", "minherit")
        .hasCauseInstanceOf(UnsatisfiedLinkError.class);
  }
}
