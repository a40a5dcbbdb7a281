-- People: who they are, what they may see and do, and what they are signed in with.

-- Whoever signed in once. `issuer` and `subject` (SHA-256, hex) are who they are at their identity provider; `sealed` is their name
-- and address, under the master key. `roles` and `controllers` are JSON lists; no controllers (NULL) means every controller. With
-- `given` they were given here by an administrator, else by the provider's groups at the last sign-in.
CREATE TABLE users (
  id TEXT PRIMARY KEY,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  sealed {blob} NOT NULL,
  roles TEXT NOT NULL,
  controllers TEXT,
  given BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  disabled_at BIGINT
);
CREATE UNIQUE INDEX users_identity ON users(issuer, subject);

-- Of a session only the hash of its secret is kept. `glass_until`: the emergency rights are taken up until then. Without a call for
-- `idle_ms` it is over.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users(id),
  secret_hash {blob} NOT NULL,
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  idle_ms BIGINT NOT NULL DEFAULT 28800000,
  ended_at BIGINT,
  glass_until BIGINT,
  glass_reason TEXT
);
CREATE INDEX sessions_user ON sessions(user_id);
CREATE INDEX sessions_glass ON sessions(glass_until) WHERE glass_until IS NOT NULL;

-- A browser that showed an API key once: whoever revokes the key ends it.
CREATE TABLE key_sessions (
  id TEXT PRIMARY KEY,
  key_id TEXT NOT NULL REFERENCES api_keys(id),
  secret_hash {blob} NOT NULL,
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  idle_ms BIGINT NOT NULL,
  ended_at BIGINT
);

-- A sign-in under way, or a link that signs in once: found by the hash of its secret.
CREATE TABLE sign_ins (
  hash TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  sealed {blob} NOT NULL,
  expires_at BIGINT NOT NULL
);

-- Filters that somebody keeps under a name.
CREATE TABLE saved_views (
  owner TEXT NOT NULL,
  name TEXT NOT NULL,
  query TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (owner, name)
);

-- What was done with the installation itself and belongs to no controller: sign-ins, roles, emergency rights. Bound by hashes as
-- the controllers' logs are, and as append-only.
CREATE TABLE staff_events (
  seq BIGINT PRIMARY KEY,
  at TEXT NOT NULL,
  kind TEXT NOT NULL,
  actor TEXT NOT NULL,
  data TEXT NOT NULL,
  prev_hash TEXT NOT NULL,
  hash TEXT NOT NULL
);

-- The desk: what waits for a person, found without reading what does not.
CREATE INDEX dsrs_attention ON dsrs(due_before) WHERE attention IS NOT NULL AND closed_at IS NULL;
CREATE INDEX dsrs_approval ON dsrs(due_before) WHERE stage = 'awaiting_approval' AND closed_at IS NULL;
CREATE INDEX dsrs_review ON dsrs(due_before) WHERE stage = 'review' AND closed_at IS NULL;
CREATE INDEX steps_attention ON steps(controller_id) WHERE attention = 1;
CREATE INDEX steps_external ON steps(controller_id) WHERE state = 'external';
CREATE INDEX steps_untold ON steps(controller_id, created_at) WHERE verb = 'notify' AND state = 'retained';

-- Who paused a system, as the audit log names them.
ALTER TABLE systems ADD COLUMN paused_by TEXT;

-- When each open request is foreseen to end (Unix ms), if that can be foreseen, and else until when somebody can still act so that it
-- ends in time: the same as in `forecast`, as columns that a hundred thousand rows can be counted by.
ALTER TABLE dsrs ADD COLUMN forecast_ends_at BIGINT;
ALTER TABLE dsrs ADD COLUMN forecast_act_by BIGINT;
-- What Today counts, and the first of each of its lists, is read from these alone, whosever requests they are: the controller stands
-- in each, so that no row has to be looked at to know whose it is. What a partial index is for stands first in it: SQLite, which has
-- no statistics, takes it only for an equality.
CREATE INDEX dsrs_open_due_whose ON dsrs(due_before, controller_id, clock_state, id) WHERE closed_at IS NULL;
DROP INDEX dsrs_band;
CREATE INDEX dsrs_band ON dsrs(band, controller_id) WHERE closed_at IS NULL AND band <> 'on_track';
DROP INDEX dsrs_forecast_late;
CREATE INDEX dsrs_forecast_late ON dsrs(forecast_late, due_before, controller_id, id) WHERE forecast_late = 1 AND closed_at IS NULL;
CREATE INDEX dsrs_open_ends ON dsrs(forecast_ends_at, controller_id) WHERE closed_at IS NULL AND forecast_ends_at IS NOT NULL;
CREATE INDEX dsrs_open_act_by ON dsrs(forecast_act_by, controller_id, id) WHERE closed_at IS NULL AND forecast_act_by IS NOT NULL;
CREATE INDEX dsrs_open_age ON dsrs(instruction_received_at, controller_id) WHERE closed_at IS NULL;
CREATE INDEX dsrs_open_status ON dsrs(status, due_before, controller_id, id) WHERE closed_at IS NULL;
CREATE INDEX dsrs_open_paused ON dsrs(clock_state, controller_id) WHERE closed_at IS NULL AND clock_state = 'paused';
-- Whether answers were in time, and how long they took, without looking at the requests themselves.
DROP INDEX dsrs_closed;
CREATE INDEX dsrs_closed ON dsrs(controller_id, closed_at, due_before, stage, instruction_received_at) WHERE closed_at IS NOT NULL;
-- The controller's own name of a request as a keyed hash (HMAC under a key made of the controller's): found by the whole name, read by
-- nobody. Gone with the purge.
ALTER TABLE dsrs ADD COLUMN reference_hash TEXT;
CREATE INDEX dsrs_reference ON dsrs(reference_hash) WHERE reference_hash IS NOT NULL;

-- The orders in which requests are paged through. An id breaks ties, so that a page begins exactly where the one before it ended.
DROP INDEX dsrs_open_due;
CREATE INDEX dsrs_open_due ON dsrs(due_before, id) WHERE closed_at IS NULL;
CREATE INDEX dsrs_open_due_of ON dsrs(controller_id, due_before, id) WHERE closed_at IS NULL;
CREATE INDEX dsrs_ended ON dsrs(closed_at, id) WHERE closed_at IS NOT NULL;

-- What the board looks for: the newest events of everybody, what a route was sent last, and what a controller was told last.
CREATE INDEX events_recent ON events(id);
CREATE INDEX events_of_persons ON events(id) WHERE kind IN ('personal_revealed', 'package_fetched', 'task_seen', 'break_glass');
CREATE INDEX messages_route ON messages(route_id, id);
CREATE INDEX steps_told ON steps(controller_id, id) WHERE verb = 'notify';
