package io.asherah.reactive.testaws;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A key management service that speaks the protocol of AWS KMS, on 127.0.0.1. It encrypts for real,
 * with AES-GCM, and knows {@code GenerateDataKey}, {@code Encrypt}, {@code Decrypt} and {@code
 * DescribeKey}. It checks that requests are signed for the region, not the signature.
 */
public final class KmsServer implements AutoCloseable {
  static final String ACCOUNT = "111122223333";

  private final Map<String, KmsRegion> regions = new LinkedHashMap<>();
  // Guarded by itself.
  private final List<KmsRequest> requests = new ArrayList<>();

  private KmsServer() {}

  /**
   * Starts a server.
   *
   * @param regions their names, for instance {@code us-west-2}
   * @return to be closed by the test
   */
  public static KmsServer start(String... regions) {
    KmsServer server = new KmsServer();
    for (String name : regions) {
      KmsRegion region = new KmsRegion(name, server::arrived);
      server.regions.put(name, region);
      region.open();
    }
    return server;
  }

  private void arrived(KmsRequest request) {
    synchronized (requests) {
      requests.add(request);
    }
  }

  /**
   * One of its regions.
   *
   * @param name with which it was started
   * @return the region, with an endpoint of its own
   */
  public KmsRegion region(String name) {
    KmsRegion region = regions.get(name);
    if (region == null) {
      throw new IllegalArgumentException(name);
    }
    return region;
  }

  /**
   * What has arrived, in any region.
   *
   * @return all requests so far, in order
   */
  public List<KmsRequest> requests() {
    synchronized (requests) {
      return List.copyOf(requests);
    }
  }

  /**
   * What has arrived, in any region.
   *
   * @param operation for instance {@code Decrypt}
   * @return how many requests for it
   */
  public int calls(String operation) {
    return regions.values().stream().mapToInt(region -> region.calls(operation)).sum();
  }

  /**
   * How many calls are under way, in any region.
   *
   * @return the number of those that were not answered and whose clients still wait
   */
  public int underWay() {
    return regions.values().stream().mapToInt(KmsRegion::underWay).sum();
  }

  /** Ends all that was programmed in any region. */
  public void healthy() {
    regions.values().forEach(KmsRegion::healthy);
  }

  /** Closes all connections and refuses further ones. */
  @Override
  public void close() {
    regions.values().forEach(KmsRegion::stop);
  }
}
