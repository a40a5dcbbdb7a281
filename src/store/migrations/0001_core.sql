-- Every row of Redress. One text for both databases: {blob} is BLOB or BYTEA, instants are Unix milliseconds,
-- JSON is text without personal data, and whatever is personal is in a sealed {blob}.

CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value {blob} NOT NULL
);

CREATE TABLE controllers (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  country TEXT,
  timezone TEXT NOT NULL,
  region TEXT,
  contact TEXT,
  policy TEXT NOT NULL,
  wrapped_key {blob} NOT NULL,
  webhook_secret {blob} NOT NULL,
  event_seq BIGINT NOT NULL DEFAULT 0,
  event_hash TEXT NOT NULL DEFAULT '',
  created_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  role TEXT NOT NULL,
  secret_hash {blob} NOT NULL,
  created_at BIGINT NOT NULL,
  last_used_at BIGINT,
  revoked_at BIGINT
);

CREATE TABLE systems (
  id TEXT PRIMARY KEY,
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  name TEXT NOT NULL,
  family TEXT NOT NULL,
  connector TEXT NOT NULL,
  definition TEXT NOT NULL,
  secrets {blob},
  allow TEXT NOT NULL,
  verbs TEXT NOT NULL,
  identifiers TEXT NOT NULL,
  fields TEXT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1,
  paused BIGINT NOT NULL DEFAULT 0,
  problem_code TEXT,
  problem_detail TEXT,
  checked_at BIGINT,
  created_at BIGINT NOT NULL,
  deleted_at BIGINT
);
CREATE UNIQUE INDEX systems_name ON systems(controller_id, name) WHERE deleted_at IS NULL;

CREATE TABLE dsrs (
  id TEXT PRIMARY KEY,
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  kind TEXT NOT NULL,
  regulation TEXT,
  jurisdiction TEXT,
  stage TEXT NOT NULL,
  status TEXT NOT NULL,
  attention TEXT,
  instruction_received_at BIGINT NOT NULL,
  data_subject_received_at BIGINT,
  deadlines TEXT NOT NULL,
  due_before BIGINT NOT NULL,
  policy TEXT NOT NULL,
  out_of_scope TEXT NOT NULL,
  identifier_types TEXT NOT NULL,
  approved_at BIGINT,
  cooling_off_until BIGINT,
  reviewed_at BIGINT,
  answered_at BIGINT,
  closed_at BIGINT,
  purge_at BIGINT,
  purged_at BIGINT,
  wake_at BIGINT,
  has_callback BIGINT NOT NULL,
  wrapped_key {blob},
  sealed {blob},
  version BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX dsrs_controller ON dsrs(controller_id, id);
CREATE INDEX dsrs_status ON dsrs(controller_id, status, id);
CREATE INDEX dsrs_open_due ON dsrs(due_before) WHERE closed_at IS NULL;
CREATE INDEX dsrs_wake ON dsrs(wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX dsrs_purge ON dsrs(purge_at) WHERE purge_at IS NOT NULL AND purged_at IS NULL;

-- Work: one row per thing a worker does. For a step `system_id` is set; the answer of a request (verb `answer`) and the
-- telling of a status (verb `notify`) are rows of the same kind, so that leases, backoff and quarantine are one mechanism.
-- `q` is the queue's own column: ready, wait, run, or NULL when nothing is to be done.
CREATE TABLE steps (
  id TEXT PRIMARY KEY,
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  dsr_id TEXT NOT NULL REFERENCES dsrs(id),
  system_id TEXT REFERENCES systems(id),
  lane TEXT NOT NULL,
  verb TEXT NOT NULL,
  phase TEXT NOT NULL,
  state TEXT NOT NULL,
  q TEXT,
  due_at BIGINT NOT NULL,
  not_before BIGINT NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  failures BIGINT NOT NULL DEFAULT 0,
  deaths BIGINT NOT NULL DEFAULT 0,
  residues BIGINT NOT NULL DEFAULT 0,
  retained BIGINT NOT NULL DEFAULT 0,
  lease_until BIGINT,
  token BIGINT NOT NULL DEFAULT 0,
  owner TEXT,
  found BIGINT,
  changed BIGINT,
  result TEXT,
  proof TEXT,
  attention BIGINT NOT NULL DEFAULT 0,
  error_code TEXT,
  error_detail TEXT,
  acted_at BIGINT,
  verified_at BIGINT,
  receipt {blob},
  payload TEXT,
  idem TEXT NOT NULL UNIQUE,
  created_at BIGINT NOT NULL
);
CREATE INDEX steps_ready ON steps(due_at, id) WHERE q = 'ready';
CREATE INDEX steps_ready_lane ON steps(lane, due_at, id) WHERE q = 'ready';
CREATE INDEX steps_wait ON steps(not_before) WHERE q = 'wait';
CREATE INDEX steps_run ON steps(lease_until) WHERE q = 'run';
CREATE INDEX steps_dsr ON steps(dsr_id);
CREATE INDEX steps_system_attention ON steps(system_id) WHERE attention = 1;

CREATE TABLE events (
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  seq BIGINT NOT NULL,
  id TEXT NOT NULL,
  at TEXT NOT NULL,
  dsr_id TEXT,
  kind TEXT NOT NULL,
  actor TEXT NOT NULL,
  data TEXT NOT NULL,
  prev_hash TEXT NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (controller_id, seq)
);
CREATE INDEX events_dsr ON events(dsr_id, seq);

CREATE TABLE artifacts (
  step_id TEXT NOT NULL REFERENCES steps(id),
  token BIGINT NOT NULL,
  n BIGINT NOT NULL,
  dsr_id TEXT NOT NULL REFERENCES dsrs(id),
  sealed {blob} NOT NULL,
  PRIMARY KEY (step_id, token, n)
);
CREATE INDEX artifacts_dsr ON artifacts(dsr_id);

CREATE TABLE packages (
  dsr_id TEXT PRIMARY KEY REFERENCES dsrs(id),
  token BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  chunks BIGINT NOT NULL,
  sha256 TEXT NOT NULL,
  records BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE TABLE package_chunks (
  dsr_id TEXT NOT NULL REFERENCES dsrs(id),
  token BIGINT NOT NULL,
  n BIGINT NOT NULL,
  sealed {blob} NOT NULL,
  PRIMARY KEY (dsr_id, token, n)
);

CREATE TABLE certificates (
  dsr_id TEXT PRIMARY KEY REFERENCES dsrs(id),
  document TEXT NOT NULL,
  issued_at BIGINT NOT NULL
);

CREATE TABLE idempotency (
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  key_hash TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  dsr_id TEXT NOT NULL REFERENCES dsrs(id),
  response {blob} NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (controller_id, key_hash)
);
