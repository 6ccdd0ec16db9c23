/**
 * Wraps system keys with AWS KMS: {@link io.asherah.reactive.kms.aws.AwsKeyManagementService}, for
 * one region or several.
 */
@NullMarked
package io.asherah.reactive.kms.aws;

import org.jspecify.annotations.NullMarked;
