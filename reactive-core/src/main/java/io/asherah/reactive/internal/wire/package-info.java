/** The JSON of records, as all Asherah implementations exchange it. */
package io.asherah.reactive.internal.wire;
