-- What a fleet needs: fairness between controllers, pauses at three levels, a circuit breaker for each system, batches by
-- system, and spent budgets that outlive Redis.

-- A controller's share of the workers where several wait with work that is equally urgent.
ALTER TABLE controllers ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;
-- 0: works; 1: nothing new is begun for this controller.
ALTER TABLE controllers ADD COLUMN paused BIGINT NOT NULL DEFAULT 0;

-- Most steps that its connector takes in one call.
ALTER TABLE systems ADD COLUMN batch BIGINT NOT NULL DEFAULT 50;
-- The circuit breaker: failures in a row of whole calls, and until when nothing is sent there (Unix ms).
ALTER TABLE systems ADD COLUMN breaker_failures BIGINT NOT NULL DEFAULT 0;
ALTER TABLE systems ADD COLUMN breaker_until BIGINT;

-- The ready rows of one lane, controller, verb and phase, most urgent first: what a claim takes is one range of it, and the
-- heads of all such queues are found by leaping from one to the next. The forecast goes by lane alone (steps_ready_lane).
CREATE INDEX steps_ready_fair ON steps(lane, controller_id, verb, phase, due_at, id) WHERE q = 'ready';
DROP INDEX steps_ready;
-- Where very much is due at once, each controller's share of it is found by these.
CREATE INDEX steps_wait_fair ON steps(controller_id, not_before) WHERE q = 'wait';
CREATE INDEX dsrs_wake_fair ON dsrs(controller_id, wake_at) WHERE wake_at IS NOT NULL;
-- Requests that are not on track are few; the others are counted by what is left.
CREATE INDEX dsrs_band ON dsrs(band) WHERE closed_at IS NULL AND band <> 'on_track';

-- What was spent of a budget in one of its windows: durable, so that losing Redis does not refill it.
CREATE TABLE budgets (
  credential TEXT NOT NULL,
  window_ms BIGINT NOT NULL,
  began_at BIGINT NOT NULL,
  spent BIGINT NOT NULL,
  PRIMARY KEY (credential, window_ms)
);

-- Who uses limits, and since when without Redis (Unix ms, by this database's clock): without it each worker takes its part of a
-- limit, and only when all have lost it.
CREATE TABLE workers (
  owner TEXT PRIMARY KEY,
  seen_at BIGINT NOT NULL,
  alone_since BIGINT
);
