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

-- Of a session only the hash of its secret is kept. `glass_until`: the emergency rights are taken up until then.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users(id),
  secret_hash {blob} NOT NULL,
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  ended_at BIGINT,
  glass_until BIGINT,
  glass_reason TEXT
);
CREATE INDEX sessions_user ON sessions(user_id);

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
