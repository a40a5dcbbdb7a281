-- Legal holds: what may not be erased or changed until somebody releases it.

-- `scope` is subject, request or controller. `sealed` has the words of people (basis, matter, reasons), under the controller's key.
-- `pending`: it was set or released, and not all of its requests have been seen to since. `in_force_at`: since then every step that
-- it reaches is stopped.
CREATE TABLE holds (
  id TEXT PRIMARY KEY,
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  scope TEXT NOT NULL,
  dsr_id TEXT REFERENCES dsrs(id),
  identifier_types TEXT NOT NULL,
  systems TEXT,
  sealed {blob} NOT NULL,
  starts_at BIGINT NOT NULL,
  review_on TEXT NOT NULL,
  review_at BIGINT NOT NULL,
  gag BIGINT NOT NULL,
  set_by TEXT NOT NULL,
  set_at BIGINT NOT NULL,
  in_force_at BIGINT,
  released_by TEXT,
  released_at BIGINT,
  pending BIGINT NOT NULL,
  key_hash TEXT,
  body_hash TEXT
);
CREATE INDEX holds_of ON holds(controller_id, id);
CREATE UNIQUE INDEX holds_key ON holds(controller_id, key_hash) WHERE key_hash IS NOT NULL;
CREATE INDEX holds_pending ON holds(id) WHERE pending = 1;
CREATE INDEX holds_review ON holds(review_at) WHERE released_at IS NULL;

-- Whom a hold is about: keyed hashes of normalised identifiers, of no use to whoever lacks the controller's key.
CREATE TABLE hold_marks (
  mark TEXT NOT NULL,
  hold_id TEXT NOT NULL REFERENCES holds(id),
  PRIMARY KEY (mark, hold_id)
);

-- What a hold reaches, and since when.
CREATE TABLE held_requests (
  hold_id TEXT NOT NULL REFERENCES holds(id),
  dsr_id TEXT NOT NULL REFERENCES dsrs(id),
  since BIGINT NOT NULL,
  ended_at BIGINT,
  PRIMARY KEY (hold_id, dsr_id)
);
CREATE INDEX held_requests_dsr ON held_requests(dsr_id);

-- How many holds are in force: looked at where a log is locked anyway, so that who has none pays nothing.
ALTER TABLE controllers ADD COLUMN holds BIGINT NOT NULL DEFAULT 0;
-- 0: none; 1: a hold reaches it; 2: only holds of which nobody outside may learn do.
ALTER TABLE dsrs ADD COLUMN held BIGINT NOT NULL DEFAULT 0;
-- The keyed hashes of all its identifiers, those found later too; gone with the purge. NULL: of a release that kept none.
ALTER TABLE dsrs ADD COLUMN subject_marks TEXT;
-- 1: a hold in force stops it from acting. What would be ready or waiting is `hold` in the queue then, see the next migration.
ALTER TABLE steps ADD COLUMN held BIGINT NOT NULL DEFAULT 0;
