package io.asherah.reactive.testservers;

import java.time.ZoneId;
import java.util.Optional;

class MariaDbServerIT extends MySqlFamilyContract {
  @Override
  Optional<String> unavailable() {
    return MariaDbServer.unavailable();
  }

  @Override
  MySqlFamily shared() {
    return MariaDbServer.shared();
  }

  @Override
  DatabaseServer start(String... options) {
    return MariaDbServer.start(options);
  }

  @Override
  String strictestSslMode() {
    return "verify-full";
  }

  @Override
  MySqlFamily startInZone(ZoneId zone) {
    return MariaDbServer.startInZone(zone);
  }
}
