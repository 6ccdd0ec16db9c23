/**
 * A metastore in Amazon DynamoDB: {@link io.asherah.reactive.metastore.dynamodb.DynamoDbMetastore},
 * on the table that other implementations of Asherah have.
 */
@NullMarked
package io.asherah.reactive.metastore.dynamodb;

import org.jspecify.annotations.NullMarked;
