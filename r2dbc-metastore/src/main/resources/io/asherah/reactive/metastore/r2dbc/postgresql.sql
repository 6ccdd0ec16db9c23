CREATE TABLE IF NOT EXISTS ${table} (
  id         VARCHAR(255) NOT NULL,
  created    TIMESTAMPTZ  NOT NULL DEFAULT CURRENT_TIMESTAMP,
  key_record TEXT         NOT NULL,
  PRIMARY KEY (id, created)
)
