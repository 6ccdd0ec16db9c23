IF OBJECT_ID(N'${table}', N'U') IS NULL
CREATE TABLE ${table} (
  id         VARBINARY(1020) NOT NULL,
  created    DATETIME2(0)    NOT NULL,
  key_record NVARCHAR(MAX)   NOT NULL,
  PRIMARY KEY NONCLUSTERED (id, created)
)
