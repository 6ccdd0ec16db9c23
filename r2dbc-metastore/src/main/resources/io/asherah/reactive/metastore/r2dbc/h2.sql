CREATE TABLE IF NOT EXISTS ${table} (
  id         VARCHAR(255)            NOT NULL,
  created    TIMESTAMP(0)            NOT NULL,
  key_record CHARACTER VARYING(100000) NOT NULL,
  PRIMARY KEY (id, created)
)
