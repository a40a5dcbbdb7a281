-- Clocks that can wait and be extended, the watch over them, what they are told to, and what the queue makes of them.

-- What requests were computed by: each text once, found by its digest. The same version never stands for two texts.
CREATE TABLE rule_books (
  digest TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  owner TEXT NOT NULL,
  version TEXT NOT NULL,
  body TEXT NOT NULL,
  first_used_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX rule_books_version ON rule_books(kind, owner, version);

-- The controller's own contract and calendar, JSON.
ALTER TABLE controllers ADD COLUMN terms TEXT;

-- `clock` holds what the dates depend on (digests of the rule books, receipts, pauses, extension; no personal data), `clock_notes` the
-- reasons in people's own words, sealed. `watch_at` is when the watch looks next, `watched` what it has seen.
ALTER TABLE dsrs ADD COLUMN clock TEXT;
ALTER TABLE dsrs ADD COLUMN clock_notes {blob};
ALTER TABLE dsrs ADD COLUMN clock_state TEXT NOT NULL DEFAULT 'running';
ALTER TABLE dsrs ADD COLUMN statutory_due_before BIGINT;
ALTER TABLE dsrs ADD COLUMN extended_at BIGINT;
ALTER TABLE dsrs ADD COLUMN waiting_since BIGINT;
ALTER TABLE dsrs ADD COLUMN attention_since BIGINT;
ALTER TABLE dsrs ADD COLUMN watch_at BIGINT;
ALTER TABLE dsrs ADD COLUMN band TEXT NOT NULL DEFAULT 'on_track';
-- `forecast_at` is since when it has been expected to end late, or else when the forecast was written.
ALTER TABLE dsrs ADD COLUMN forecast TEXT;
ALTER TABLE dsrs ADD COLUMN forecast_at BIGINT;
ALTER TABLE dsrs ADD COLUMN forecast_late BIGINT NOT NULL DEFAULT 0;
CREATE INDEX dsrs_watch ON dsrs(watch_at) WHERE watch_at IS NOT NULL;
CREATE INDEX dsrs_forecast_late ON dsrs(due_before) WHERE forecast_late = 1 AND closed_at IS NULL;
CREATE INDEX dsrs_received ON dsrs(controller_id, instruction_received_at);
CREATE INDEX dsrs_open ON dsrs(controller_id, id) WHERE closed_at IS NULL;
CREATE INDEX dsrs_closed ON dsrs(controller_id, closed_at) WHERE closed_at IS NOT NULL;
UPDATE dsrs SET watch_at = instruction_received_at WHERE closed_at IS NULL;

-- A system that finishes by itself, days after it was asked, is asked that much earlier.
ALTER TABLE systems ADD COLUMN completes_within_days BIGINT NOT NULL DEFAULT 0;
ALTER TABLE systems ADD COLUMN paused_at BIGINT;

-- Since when a step has failed without a success in between, and when the watch looks at that; when its lease began.
ALTER TABLE steps ADD COLUMN silent_since BIGINT;
ALTER TABLE steps ADD COLUMN silent_watch_at BIGINT;
ALTER TABLE steps ADD COLUMN leased_at BIGINT;
CREATE INDEX steps_silent ON steps(silent_watch_at) WHERE silent_watch_at IS NOT NULL;

-- How fast each system was, by the hour in which its calls ended: what was answered, what failed, and for how long it was at
-- work, no moment counted twice: until `busy_until`. `done_at` is its last success, `failing_since` its first failure after that.
CREATE TABLE paces (
  system_id TEXT NOT NULL REFERENCES systems(id),
  hour BIGINT NOT NULL,
  done BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  busy_ms BIGINT NOT NULL,
  busy_until BIGINT NOT NULL,
  done_at BIGINT,
  failing_since BIGINT,
  PRIMARY KEY (system_id, hour)
);
CREATE INDEX steps_wait_lane ON steps(lane, due_at, id) WHERE q = 'wait';

-- Whom the watch tells. Without a controller it is the operator's own, for the `controllers` it names or for all. Without
-- `kinds` its role decides. `target` is sealed: addresses, secret URLs. `told_at` is when people were last told at once.
CREATE TABLE notify_routes (
  id TEXT PRIMARY KEY,
  controller_id TEXT REFERENCES controllers(id),
  controllers TEXT,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  channel TEXT NOT NULL,
  kinds TEXT,
  delivery TEXT NOT NULL,
  timezone TEXT NOT NULL,
  target {blob} NOT NULL,
  told_at BIGINT,
  created_at BIGINT NOT NULL,
  deleted_at BIGINT
);
CREATE UNIQUE INDEX notify_routes_name ON notify_routes(COALESCE(controller_id, ''), name) WHERE deleted_at IS NULL;

-- What the watch saw, once each: `idem` names request, kind and occasion. What is superseded is told by a graver one.
CREATE TABLE notices (
  id TEXT PRIMARY KEY,
  idem TEXT NOT NULL UNIQUE,
  controller_id TEXT NOT NULL REFERENCES controllers(id),
  dsr_id TEXT NOT NULL REFERENCES dsrs(id),
  kind TEXT NOT NULL,
  due_at BIGINT NOT NULL,
  noticed_at BIGINT NOT NULL,
  superseded BIGINT NOT NULL,
  data TEXT NOT NULL
);
CREATE INDEX notices_dsr ON notices(dsr_id);

-- What is sent: one message to one route with one or more notices. `q` as in steps: wait, run, or NULL when it is over. More
-- notices join it while it is `open`, which ends when it is first sent. `reached` has a bit for each address that has it.
CREATE TABLE messages (
  id TEXT PRIMARY KEY,
  route_id TEXT NOT NULL REFERENCES notify_routes(id),
  digest BIGINT NOT NULL,
  open BIGINT NOT NULL,
  notices BIGINT NOT NULL,
  q TEXT,
  not_before BIGINT NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  failures BIGINT NOT NULL DEFAULT 0,
  deaths BIGINT NOT NULL DEFAULT 0,
  reached BIGINT NOT NULL DEFAULT 0,
  lease_until BIGINT,
  token BIGINT NOT NULL DEFAULT 0,
  owner TEXT,
  outcome TEXT,
  sent_at BIGINT,
  created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX messages_open ON messages(route_id, digest) WHERE open = 1;
CREATE INDEX messages_due ON messages(not_before) WHERE q = 'wait';
CREATE INDEX messages_of_route ON messages(route_id, not_before) WHERE q = 'wait';
CREATE INDEX messages_run ON messages(lease_until) WHERE q = 'run';
CREATE INDEX messages_lost ON messages(created_at) WHERE outcome <> 'sent';
CREATE TABLE message_notices (
  message_id TEXT NOT NULL REFERENCES messages(id),
  notice_id TEXT NOT NULL REFERENCES notices(id),
  PRIMARY KEY (message_id, notice_id)
);
