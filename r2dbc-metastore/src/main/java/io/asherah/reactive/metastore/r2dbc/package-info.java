/**
 * The {@linkplain io.asherah.reactive.metastore.r2dbc.R2dbcMetastore metastore} on relational
 * databases, and the {@linkplain io.asherah.reactive.metastore.r2dbc.R2dbcMetastoreSchema table} it
 * needs.
 */
@NullMarked
package io.asherah.reactive.metastore.r2dbc;

import org.jspecify.annotations.NullMarked;
