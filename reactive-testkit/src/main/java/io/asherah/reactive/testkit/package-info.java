/**
 * For tests: {@link io.asherah.reactive.testkit.MetastoreTestKit} and {@link
 * io.asherah.reactive.testkit.KeyManagementServiceTestKit} check an implementation of the SPI;
 * {@link io.asherah.reactive.testkit.TestTime}, {@link
 * io.asherah.reactive.testkit.RecordingMetastore} and {@link
 * io.asherah.reactive.testkit.RecordingKeyManagementService} are for tests of what uses a session
 * factory.
 */
@NullMarked
package io.asherah.reactive.testkit;

import org.jspecify.annotations.NullMarked;
