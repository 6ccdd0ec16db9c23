BEGIN
  EXECUTE IMMEDIATE '
    CREATE TABLE ${table} (
      id         VARCHAR2(255 CHAR) NOT NULL,
      created    TIMESTAMP(0)       NOT NULL,
      key_record CLOB               NOT NULL,
      PRIMARY KEY (id, created)
    )';
EXCEPTION
  WHEN OTHERS THEN
    IF SQLCODE != -955 THEN
      RAISE;
    END IF;
END;
