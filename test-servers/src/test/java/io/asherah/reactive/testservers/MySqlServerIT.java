package io.asherah.reactive.testservers;

import java.time.ZoneId;
import java.util.Optional;

class MySqlServerIT extends MySqlFamilyContract {
  @Override
  Optional<String> unavailable() {
    return MySqlServer.unavailable();
  }

  @Override
  MySqlFamily shared() {
    return MySqlServer.shared();
  }

  @Override
  DatabaseServer start(String... options) {
    return MySqlServer.start(options);
  }

  @Override
  String strictestSslMode() {
    return "verify-ca";
  }

  @Override
  MySqlFamily startInZone(ZoneId zone) {
    return MySqlServer.startInZone(zone);
  }
}
