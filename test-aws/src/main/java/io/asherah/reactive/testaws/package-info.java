/**
 * AWS for tests, on this machine: {@link io.asherah.reactive.testaws.DynamoDbServer} is DynamoDB
 * Local, {@link io.asherah.reactive.testaws.DynamoDbFront} makes it fail, and {@link
 * io.asherah.reactive.testaws.KmsServer} is a key management service that can fail, too.
 */
@NullMarked
package io.asherah.reactive.testaws;

import org.jspecify.annotations.NullMarked;
