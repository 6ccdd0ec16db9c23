package io.asherah.reactive.metastore.r2dbc;

import static org.assertj.core.api.Assertions.assertThat;

import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.NullSource;
import org.junit.jupiter.params.provider.ValueSource;

class FailureTest {
  @ParameterizedTest
  @CsvSource({
    "23505, DUPLICATE",
    "42P01, TABLE_MISSING",
    "42S02, TABLE_MISSING",
    "42S04, TABLE_MISSING",
    "3F000, NO_DATABASE",
    "42703, COLUMN_MISSING",
    "42S22, COLUMN_MISSING",
    "42501, DENIED",
    "3D000, NO_DATABASE",
    "28000, UNKNOWN_USER",
    "28P01, UNKNOWN_USER",
    "08000, PASSING",
    "08006, PASSING",
    "08P01, PASSING",
    "40001, PASSING",
    "40P01, PASSING",
    "53300, PASSING",
    "55P03, PASSING",
    "57014, PASSING",
    "57P01, PASSING",
    "57P03, PASSING",
    "58030, PASSING",
    "25006, PASSING",
    "23502, OTHER",
    "23000, OTHER",
    "22001, OTHER",
    "42601, OTHER",
    "25P02, OTHER",
    "HY000, OTHER",
    "66000, OTHER",
    "00000, OTHER"
  })
  void sqlState_isUnderstood(String state, Failure failure) {
    assertThat(Failure.ofSqlState(state)).isEqualTo(failure);
  }

  @ParameterizedTest
  @NullSource
  @ValueSource(strings = {"", "0", "0800", "080000", "23505 "})
  void sqlState_thatIsNone_tellsNothing(@Nullable String state) {
    assertThat(Failure.ofSqlState(state)).isEqualTo(Failure.OTHER);
  }

  @ParameterizedTest
  @EnumSource
  void onlyPassing_isRetryable(Failure failure) {
    assertThat(failure.isRetryable).isEqualTo(failure == Failure.PASSING);
    assertThat(failure.fix).isNotBlank();
  }
}
