/**
 * Metrics and traces of a session factory through Micrometer. Everything goes to registries that
 * the program hands in; the global registry is never used.
 *
 * <pre>{@code
 * SessionFactory factory =
 *     SessionFactory.builder("shop", "orders")
 *         .metastore(ObservedMetastore.create(metastore, observations))
 *         .keyManagementService(ObservedKeyManagementService.create(kms, observations))
 *         .metricsRecorder(MicrometerMetricsRecorder.create(meters))
 *         .build();
 * SessionFactoryMetrics.create(factory, Tags.of("product", "shop", "service", "orders"))
 *     .bindTo(meters);
 * }</pre>
 *
 * <p>A whole operation is observed where it is called, with a name that means something there. Its
 * parent is the observation in the caller's Reactor context, and it is the parent of the calls to
 * metastore and key management service of the loads that it starts:
 *
 * <pre>{@code
 * session
 *     .encrypt(payload)
 *     .name("orders.encrypt")
 *     .tap(Micrometer.observation(observations));
 * }</pre>
 *
 * <p>No name, tag or key value made here has a partition or the id of a key in it.
 */
@NullMarked
package io.asherah.reactive.micrometer;

import org.jspecify.annotations.NullMarked;
