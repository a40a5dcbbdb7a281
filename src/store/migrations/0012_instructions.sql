-- What each controller has instructed, version by version: what may be done in which system, and what a person decides.
CREATE TABLE instructions (
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  version BIGINT NOT NULL,
  document TEXT NOT NULL,
  actor TEXT NOT NULL,
  set_at BIGINT NOT NULL,
  PRIMARY KEY (controller_id, version)
);

-- The version in force; 0 until they are changed for the first time after this. What waits for a second person is JSON.
ALTER TABLE controllers ADD COLUMN instructions BIGINT NOT NULL DEFAULT 0;
ALTER TABLE controllers ADD COLUMN instructions_proposed TEXT;
